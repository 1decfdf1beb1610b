"""From the tables of sequences of all models to what many edits cost: estimates, figures and a page."""

from edit_robustness.pipelines.damage.pipeline import create_pipeline

__all__ = ["create_pipeline"]
