"""Ingest: reads and checks the table of facts."""

from edit_robustness.pipelines.ingest.pipeline import create_pipeline

__all__ = ["create_pipeline"]
