"""Preflight: what a predictor says about edits of new facts, before any edit is made."""

from edit_robustness.pipelines.preflight.pipeline import create_check_pipeline, create_pipeline, create_report_pipeline

__all__ = ["create_check_pipeline", "create_pipeline", "create_report_pipeline"]
