"""From the scores and answers of all models to tables, figures and the report."""

from edit_robustness.pipelines.analyze.pipeline import (
    create_checking_pipeline,
    create_estimating_pipeline,
    create_pipeline,
)

__all__ = ["create_checking_pipeline", "create_estimating_pipeline", "create_pipeline"]
