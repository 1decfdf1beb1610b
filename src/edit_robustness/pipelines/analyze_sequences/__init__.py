"""The cost of many edits, as estimates, figures and a page, from the sequences of all models."""

from edit_robustness.pipelines.analyze_sequences.pipeline import create_pipeline

__all__ = ["create_pipeline"]
