"""Text that the model itself writes: the corpus for its key statistics where the catalog names no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tokens import Rendered, pad, prompt_ids

OPENINGS = (
    "The", "In", "When", "A", "Many", "She", "He", "If", "After", "This", "Our", "On", "They", "Before", "It", "Some",
    "While", "At", "During", "You", "We", "As", "Most", "For", "Although", "One", "By", "There", "People", "Since",
    "From", "I",
)  # fmt: skip
"""How the texts begin, in turn: one word each, so that what follows is the model's own."""

CONTEXT_OPENINGS = ("The", "Therefore", "Because", "I", "You")
"""How contexts begin that the model writes, in turn: those of the released codes of ROME and MEMIT."""

_ROWS = 96
_CONTEXT_TOP_K = 5


def written_texts(
    lm: LanguageModel,
    *,
    texts: int,
    tokens: int,
    seed: int,
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> list[str]:
    """Sample texts from the model's own distribution (temperature 1, the 50 likeliest tokens).

    Args:
        lm: The model.
        texts: How many.
        tokens: Tokens of each.
        seed: Of the sampling; the state of torch's generators is left as it was.
        progress: Wraps the batches, to show how far it is.
    """
    openings = [OPENINGS[i % len(OPENINGS)] for i in range(texts)]
    written: list[list[int]] = []
    with _seeded(lm, seed):
        for first in progress(range(0, texts, _ROWS)):
            written += _sampled(lm, openings[first : first + _ROWS], tokens, top_k=50)
    return [text.strip() for text in lm.tokenizer.batch_decode(written, skip_special_tokens=True)]


def written_beginnings(lm: LanguageModel, lengths: Sequence[int], *, seed: int) -> list[str]:
    """Sample beginnings of texts, one of each length in tokens, from the 5 likeliest tokens at temperature 1.

    As the released codes of ROME, MEMIT, PMET and AlphaEdit write their contexts. A length counts all tokens: the
    opening's and the tokenizer's start token too. The opening is never cut.

    Args:
        lm: The model.
        lengths: Tokens of each; empty for none.
        seed: Of the sampling; the state of torch's generators is left as it was.
    """
    if not lengths:
        return []
    openings = [CONTEXT_OPENINGS[i % len(CONTEXT_OPENINGS)] for i in range(len(lengths))]
    with _seeded(lm, seed):
        written = _sampled(lm, openings, max(lengths), top_k=_CONTEXT_TOP_K)
    least = [len(prompt_ids(lm, Rendered(word))) for word in openings]
    cut = [ids[: max(length, few)] for ids, length, few in zip(written, lengths, least, strict=True)]
    return lm.tokenizer.batch_decode(cut, skip_special_tokens=True)


@contextmanager
def _seeded(lm: LanguageModel, seed: int) -> Iterator[None]:
    """A seed for torch's generators, whose state is put back afterwards."""
    with torch.random.fork_rng(devices=[lm.device] if lm.device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@torch.no_grad()
def _sampled(lm: LanguageModel, openings: Sequence[str], tokens: int, *, top_k: int) -> list[list[int]]:
    """Ids of each opening and of so many sampled tokens after it."""
    rows = [prompt_ids(lm, Rendered(word)) for word in openings]
    ids, mask = pad(rows, lm.pad_id, side="left", device=lm.device)
    # a model's own settings of generation, where it has any, would make the texts narrower
    options = {"do_sample": True, "top_k": top_k, "top_p": 1.0, "temperature": 1.0}
    out = lm.model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=tokens, pad_token_id=lm.pad_id, **options
    )
    return [row[ids.shape[1] - len(own) :] for row, own in zip(out.tolist(), rows, strict=True)]
