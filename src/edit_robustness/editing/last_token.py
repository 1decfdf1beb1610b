"""Prompts split at their last token, for methods that change a site's output there (GRACE, KN)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from edit_robustness.editing.target import Prompts, with_cached_head
from edit_robustness.models.decode import select_rows
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tokens import RenderedPrompt, pad, prompt_ids


def split_at_last_token(
    lm: LanguageModel, texts: Sequence[str], target: Sequence[int], *, use_cache: bool = True
) -> Prompts:
    """Split prompts at their last token, each followed by the same target without its last token.

    Args:
        lm: The model.
        texts: The prompts.
        target: Token ids of the target.
        use_cache: Whether to run the tokens before the last one only once; False for methods that may change their
            outputs.
    """
    rows = [prompt_ids(lm, RenderedPrompt(text)) for text in texts]
    head, head_mask = pad([row[:-1] for row in rows], lm.pad_id, side="left", device=lm.device)
    tail = torch.tensor([[row[-1], *target[:-1]] for row in rows], device=lm.device)
    prompts = Prompts(head, head_mask, tail, torch.ones_like(tail), torch.tensor(target, device=lm.device))
    return with_cached_head(lm, prompts) if use_cache else prompts


def rows_of(prompts: Prompts, index: Tensor) -> Prompts:
    """Select rows of the prompts; an index may repeat."""
    return replace(
        prompts,
        head=prompts.head[index],
        head_mask=prompts.head_mask[index],
        tail=prompts.tail[index],
        tail_mask=prompts.tail_mask[index],
        states=prompts.states and select_rows(prompts.states, index),
    )
