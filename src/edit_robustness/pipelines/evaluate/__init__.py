"""Evaluate: edits and probes to answers, and answers to scores."""

from edit_robustness.pipelines.evaluate.pipeline import (
    create_pipeline,
    create_rescore_pipeline,
    create_scoring_pipeline,
)

__all__ = ["create_pipeline", "create_rescore_pipeline", "create_scoring_pipeline"]
