"""Parity: this project's methods beside those of a clone of EasyEdit, on the same facts, model and settings."""

from edit_robustness.pipelines.parity.pipeline import create_check_pipeline, create_pipeline, create_report_pipeline

__all__ = ["create_check_pipeline", "create_pipeline", "create_report_pipeline"]
