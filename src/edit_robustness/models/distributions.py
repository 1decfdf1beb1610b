"""What the next token's distribution says besides which token leads: by how much, and how far an edit moved it."""

from __future__ import annotations

import torch
from torch import Tensor


def margins(logits: Tensor) -> Tensor:
    """(rows,) by how much log-probability the most probable token leads the second best; 0 where they tie.

    Args:
        logits: (rows, vocabulary); their differences are those of the log-probabilities.
    """
    best = logits.float().topk(2).values
    return best[:, 0] - best[:, 1]


def divergence(unedited: Tensor, edited: Tensor) -> Tensor:
    """(rows,) KL(unedited || edited) in nats, over the whole vocabulary.

    Rounding would leave distributions that are the same a little below or above 0: below is cut off, above is about
    1e-7 in float32 and 1e-3 where a model computes in bfloat16.

    Args:
        unedited: (rows, vocabulary) logits.
        edited: The same of the edited model.
    """
    before, after = unedited.float().log_softmax(-1), edited.float().log_softmax(-1)
    weight = before.exp()
    # a token that was impossible adds nothing, where 0 times its difference of infinities would be NaN; NaN stays
    return torch.where(weight != 0, weight * (before - after), 0.0).sum(-1).clamp(min=0)
