"""Sequence: one edit after another on the same model; what holds of all edits so far, and of what was never edited."""

from edit_robustness.pipelines.sequence.pipeline import (
    create_gathering_pipeline,
    create_pipeline,
    create_probes_pipeline,
)

__all__ = ["create_gathering_pipeline", "create_pipeline", "create_probes_pipeline"]
