"""Evaluate: edits and probes to answers, and answers to scores; and what the unedited model knows."""

from edit_robustness.pipelines.evaluate.pipeline import (
    create_completion_pipeline,
    create_familiarity_pipeline,
    create_features_pipeline,
    create_pipeline,
    create_rescoring_pipeline,
    create_scoring_pipeline,
)

__all__ = [
    "create_completion_pipeline",
    "create_familiarity_pipeline",
    "create_features_pipeline",
    "create_pipeline",
    "create_rescoring_pipeline",
    "create_scoring_pipeline",
]
