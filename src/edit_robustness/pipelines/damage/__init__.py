"""Damage: the cost of many edits, as estimates, figures and a page, from the sequences of all models."""

from edit_robustness.pipelines.damage.pipeline import create_pipeline

__all__ = ["create_pipeline"]
