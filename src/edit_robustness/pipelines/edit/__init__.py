"""Edit: makes the edits of facts, one file each, after the model's corpus and the artefact that a method prepares."""

from edit_robustness.pipelines.edit.pipeline import (
    create_corpus_pipeline,
    create_pipeline,
    create_preparing_pipeline,
)

__all__ = ["create_corpus_pipeline", "create_pipeline", "create_preparing_pipeline"]
