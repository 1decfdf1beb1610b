"""Sequence: edits one after another on the same model, evaluated at checkpoints."""

from edit_robustness.pipelines.sequence.pipeline import (
    create_gathering_pipeline,
    create_pipeline,
    create_probes_pipeline,
)

__all__ = ["create_gathering_pipeline", "create_pipeline", "create_probes_pipeline"]
