"""From facts to all that is asked about them."""

from edit_robustness.pipelines.rephrase.pipeline import create_pipeline

__all__ = ["create_pipeline"]
