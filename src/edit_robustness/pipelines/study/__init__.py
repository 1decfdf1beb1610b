"""The tables of a finished study: written from its run, and analysed without a model."""

from edit_robustness.pipelines.study.pipeline import create_export_pipeline, create_pipeline

__all__ = ["create_export_pipeline", "create_pipeline"]
