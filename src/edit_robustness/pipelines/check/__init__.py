"""Checks of a loaded model before it is asked anything, and of all prompts before edits are asked."""

from edit_robustness.pipelines.check.pipeline import (
    create_lengths_pipeline,
    create_model_pipeline,
    create_sequences_pipeline,
)

__all__ = ["create_lengths_pipeline", "create_model_pipeline", "create_sequences_pipeline"]
