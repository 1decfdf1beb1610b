"""Prior knowledge: what the unedited model knows of each fact, before facts are chosen and edited."""

from edit_robustness.pipelines.prior_knowledge.pipeline import (
    create_completion_pipeline,
    create_features_pipeline,
    create_recall_pipeline,
)

__all__ = ["create_completion_pipeline", "create_features_pipeline", "create_recall_pipeline"]
