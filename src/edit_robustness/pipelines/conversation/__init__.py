"""Conversation: a tester talks with each edited model, and what was said is judged by rules and by a judge model."""

from edit_robustness.pipelines.conversation.pipeline import (
    create_pipeline,
    create_report_pipeline,
    create_verdict_pipeline,
)

__all__ = ["create_pipeline", "create_report_pipeline", "create_verdict_pipeline"]
