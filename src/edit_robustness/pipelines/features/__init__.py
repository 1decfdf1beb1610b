"""Features: all that is known of each fact before its edit, by the model and elsewhere, in one table."""

from edit_robustness.pipelines.features.pipeline import create_pipeline

__all__ = ["create_pipeline"]
