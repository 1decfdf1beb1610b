"""Sample: the facts of a run, chosen from all facts by the model's prior knowledge."""

from edit_robustness.pipelines.sample.pipeline import (
    create_checking_pipeline,
    create_pipeline,
    create_sequence_pipeline,
)

__all__ = ["create_checking_pipeline", "create_pipeline", "create_sequence_pipeline"]
