"""Sample: the facts of a run, chosen out of all facts by what the model knows of them."""

from edit_robustness.pipelines.sample.pipeline import (
    create_checking_pipeline,
    create_pipeline,
    create_sequence_pipeline,
)

__all__ = ["create_checking_pipeline", "create_pipeline", "create_sequence_pipeline"]
