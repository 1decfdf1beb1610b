"""Contexts: texts put before a statement, so that an edit does not depend on what the statement follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from edit_robustness.editing.method import Corpus
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.writing import sample_beginnings
from edit_robustness.records import SLOT

ContextSource = Literal["corpus", "model"]
"""Source of the contexts: beginnings of the corpus's texts, or text that the model generates, as in the released codes
of ROME, MEMIT, PMET and AlphaEdit."""


def context_texts(
    lm: LanguageModel, corpus: Corpus, source: ContextSource, lengths: Sequence[int], *, seed: int
) -> tuple[str, ...]:
    """Return the texts that are put before every statement, one of each length in tokens.

    Args:
        lm: The model.
        corpus: Its texts, if they are the source.
        source: Where the texts are from.
        lengths: Tokens of each text.
        seed: Seed of the sampling, if the model generates them.
    """
    if source == "corpus":
        return statement_contexts(lm, corpus.texts, lengths)
    return tuple(map(_end_as_sentence, sample_beginnings(lm, lengths, seed=seed)))


def statement_contexts(lm: LanguageModel, texts: Sequence[str], lengths: Sequence[int]) -> tuple[str, ...]:
    """Return beginnings of texts to put before a statement, one of each length in tokens, ending like a sentence.

    Raises:
        ValueError: If there are fewer texts than lengths.
    """
    if len(texts) < len(lengths):
        raise ValueError(
            f"context_lengths asks for {len(lengths)} contexts, and the corpus has {len(texts)} texts: shorten it, or "
            "give corpus_source more texts"
        )
    beginnings = [lm.encode(text, special=False)[:length] for text, length in zip(texts, lengths, strict=False)]
    return tuple(_end_as_sentence(lm.tokenizer.decode(ids)) for ids in beginnings)


def _end_as_sentence(text: str) -> str:
    """Return a text on one line that ends like a sentence and has no slot for a subject."""
    words = " ".join(text.replace(SLOT, " ").split())
    return words.rstrip(".") + ". "
