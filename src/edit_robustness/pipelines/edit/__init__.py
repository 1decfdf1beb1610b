"""Edit: facts to edits, one file each; before them, once a model, the corpus and what a method prepares."""

from edit_robustness.pipelines.edit.pipeline import (
    create_corpus_pipeline,
    create_pipeline,
    create_preparing_pipeline,
)

__all__ = ["create_corpus_pipeline", "create_pipeline", "create_preparing_pipeline"]
