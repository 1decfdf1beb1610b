"""From a table as its author wrote it to facts that can be edited, and from all facts to those of this run."""

from edit_robustness.pipelines.ingest.pipeline import (
    create_checking_pipeline,
    create_features_pipeline,
    create_pipeline,
    create_sample_pipeline,
    create_sequence_pipeline,
)

__all__ = [
    "create_checking_pipeline",
    "create_features_pipeline",
    "create_pipeline",
    "create_sample_pipeline",
    "create_sequence_pipeline",
]
