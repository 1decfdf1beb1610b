"""Measures of the next token's distribution beside its argmax: the margin, and the divergence caused by an edit."""

from __future__ import annotations

import torch
from torch import Tensor


def margins(logits: Tensor) -> Tensor:
    """Compute by how much log-probability the most probable token leads the second, (rows,); 0 for a tie.

    Args:
        logits: (rows, vocabulary); their differences are those of the log-probabilities.
    """
    best = logits.float().topk(2).values
    return best[:, 0] - best[:, 1]


def divergence(unedited_logits: Tensor, edited_logits: Tensor) -> Tensor:
    """Compute KL(unedited

    edited) in nats over the whole vocabulary, (rows,).

    Rounding would give equal distributions a value slightly below or above 0. Values below are clamped to 0; values
    above are about 1e-7 in float32 and 1e-3 in bfloat16.

    Args:
        unedited_logits: Logits of the unedited model, (rows, vocabulary).
        edited_logits: Logits of the edited model, (rows, vocabulary).
    """
    before, after = unedited_logits.float().log_softmax(-1), edited_logits.float().log_softmax(-1)
    weight = before.exp()
    # a token of probability 0 adds nothing; 0 times its difference of infinities would be NaN. Other NaN are kept
    return torch.where(weight != 0, weight * (before - after), 0.0).sum(-1).clamp(min=0)
