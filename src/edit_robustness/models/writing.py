"""Text that the model itself generates: the corpus of its second moments if the catalog names no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tokens import RenderedPrompt, pad, prompt_ids

OPENINGS = (
    "The", "In", "When", "A", "Many", "She", "He", "If", "After", "This", "Our", "On", "They", "Before", "It", "Some",
    "While", "At", "During", "You", "We", "As", "Most", "For", "Although", "One", "By", "There", "People", "Since",
    "From", "I",
)  # fmt: skip
"""First words of the texts, in turn: one word each, so that the rest comes from the model."""

CONTEXT_OPENINGS = ("The", "Therefore", "Because", "I", "You")
"""First words of the contexts that the model generates, in turn: those of the released codes of ROME and MEMIT."""

_ROWS = 96
_CONTEXT_TOP_K = 5


def sample_texts(
    lm: LanguageModel,
    *,
    texts: int,
    tokens: int,
    seed: int,
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> list[str]:
    """Sample texts from the model's own distribution (temperature 1, the 50 most probable tokens).

    Args:
        lm: The model.
        texts: Number of texts.
        tokens: Number of tokens per text.
        seed: Seed of the sampling; the state of torch's generators does not change.
        progress: Wraps the batches, to show progress.
    """
    openings = [OPENINGS[i % len(OPENINGS)] for i in range(texts)]
    rows: list[list[int]] = []
    with generators_seeded(lm, seed):
        for first in progress(range(0, texts, _ROWS)):
            rows += _sample(lm, openings[first : first + _ROWS], tokens, top_k=50)
    return [text.strip() for text in lm.tokenizer.batch_decode(rows, skip_special_tokens=True)]


def sample_beginnings(lm: LanguageModel, lengths: Sequence[int], *, seed: int) -> list[str]:
    """Sample beginnings of texts, one of each length in tokens, from the 5 most probable tokens at temperature 1.

    The released codes of ROME, MEMIT, PMET and AlphaEdit write their contexts in this way. A length counts all tokens,
    with those of the opening and the tokenizer's start token. The opening is never cut.

    Args:
        lm: The model.
        lengths: Number of tokens of each; empty for none.
        seed: Seed of the sampling; the state of torch's generators does not change.
    """
    if not lengths:
        return []
    openings = [CONTEXT_OPENINGS[i % len(CONTEXT_OPENINGS)] for i in range(len(lengths))]
    with generators_seeded(lm, seed):
        rows = _sample(lm, openings, max(lengths), top_k=_CONTEXT_TOP_K)
    minimums = [len(prompt_ids(lm, RenderedPrompt(word))) for word in openings]
    beginnings = [ids[: max(length, minimum)] for ids, length, minimum in zip(rows, lengths, minimums, strict=True)]
    texts: list[str] = lm.tokenizer.batch_decode(beginnings, skip_special_tokens=True)
    return texts


@contextmanager
def generators_seeded(lm: LanguageModel, seed: int) -> Iterator[None]:
    """Seed torch's generators inside the block, and restore their state afterwards."""
    with torch.random.fork_rng(devices=[lm.device] if lm.device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@torch.no_grad()
def _sample(lm: LanguageModel, openings: Sequence[str], tokens: int, *, top_k: int) -> list[list[int]]:
    """Return the ids of each opening with so many sampled tokens after it."""
    rows = [prompt_ids(lm, RenderedPrompt(word)) for word in openings]
    ids, mask = pad(rows, lm.pad_id, side="left", device=lm.device)
    # the model's own generation settings, if any, would make the texts less diverse
    options = {"do_sample": True, "top_k": top_k, "top_p": 1.0, "temperature": 1.0}
    output = lm.model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=tokens, pad_token_id=lm.pad_id, **options
    )
    return [row[ids.shape[1] - len(opening_ids) :] for row, opening_ids in zip(output.tolist(), rows, strict=True)]
