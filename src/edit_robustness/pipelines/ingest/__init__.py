"""From a table as its author wrote it to facts that can be edited."""

from edit_robustness.pipelines.ingest.pipeline import create_pipeline

__all__ = ["create_pipeline"]
