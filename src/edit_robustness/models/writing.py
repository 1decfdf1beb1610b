"""Text that the model itself writes: the corpus for its key statistics where the catalog names no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tokens import Rendered, pad, prompt_ids

OPENINGS = (
    "The", "In", "When", "A", "Many", "She", "He", "If", "After", "This", "Our", "On", "They", "Before", "It", "Some",
    "While", "At", "During", "You", "We", "As", "Most", "For", "Although", "One", "By", "There", "People", "Since",
    "From", "I",
)  # fmt: skip
"""How the texts begin, in turn: one word each, so that what follows is the model's own."""

_ROWS = 96


@torch.no_grad()
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
    written: list[str] = []
    with torch.random.fork_rng(devices=[lm.device] if lm.device.type == "cuda" else []):
        torch.manual_seed(seed)
        for first in progress(range(0, texts, _ROWS)):
            rows = [prompt_ids(lm, Rendered(word)) for word in openings[first : first + _ROWS]]
            ids, mask = pad(rows, lm.pad_id, side="left", device=lm.device)
            out = lm.model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                top_k=50,
                max_new_tokens=tokens,
                pad_token_id=lm.pad_id,
            )
            written += lm.tokenizer.batch_decode(out, skip_special_tokens=True)
    return [text.strip() for text in written]
