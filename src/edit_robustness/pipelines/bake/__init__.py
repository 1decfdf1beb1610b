"""Bake: the edits of a run that held, put together and written as a model of its own."""

from edit_robustness.pipelines.bake.pipeline import create_pipeline

__all__ = ["create_pipeline"]
