"""Answers of an edited model to probes, asked in the same plain way on both sides: one prompt at a time, no cache.

It knows nothing of this project, for it also runs where only torch is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch


@torch.no_grad()
def score_target(model: Any, tokenizer: Any, prompt: str, target: str) -> tuple[float, bool]:
    """Return a target's summed log-probability after a prompt, and whether each of its tokens is the most probable one.

    The target comes with what stands before it: " Paris".
    """
    before = tokenizer(prompt)["input_ids"]
    ids = tokenizer(prompt + target)["input_ids"]
    target_ids = torch.tensor(ids[len(before) :])
    logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, len(before) - 1 : -1]
    logprobs = logits.float().log_softmax(-1)
    return float(logprobs.gather(1, target_ids[:, None]).sum()), bool((logprobs.argmax(-1) == target_ids).all())


def scores(
    model: Any,
    tokenizer: Any,
    probes: Sequence[Mapping[str, str]],
    text_before: Callable[[str], str] = lambda prompt: "",
) -> list[dict[str, Any]]:
    """Return for each probe whether p(new) > p(true), and whether `new` is the argmax.

    A probe has its `kind`, its `text`, and `new` and `true` as they follow that. `text_before` returns the text that an
    in-context edit puts before a prompt.
    """
    rows = []
    for probe in probes:
        prompt = text_before(probe["text"]) + probe["text"]
        new, match = score_target(model, tokenizer, prompt, probe["new"])
        true, _ = score_target(model, tokenizer, prompt, probe["true"])
        rows.append({"kind": probe["kind"], "new_over_true": new > true, "match_new": match})
    return rows
