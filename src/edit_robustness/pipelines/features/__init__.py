"""Features: what the model and other sources know of each fact before its edit, in one table."""

from edit_robustness.pipelines.features.pipeline import create_pipeline

__all__ = ["create_pipeline"]
