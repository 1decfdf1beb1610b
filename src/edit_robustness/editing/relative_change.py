"""RECT: only the entries of a change that are large beside the weight's own (Gu et al. 2024, arXiv 2401.04700)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from edit_robustness.editing.edits import Dense, LowRank
from edit_robustness.models.language_model import LanguageModel

Share = Annotated[float, Field(gt=0, le=1)]
"""A setting that is a share of the entries of a change."""


def keep_largest(change: Tensor, weight: Tensor, share: float) -> Tensor:
    """Set all entries of a change to 0 but those with the largest |change / weight|.

    Entries as large as the smallest one that is kept are kept, too. A change of a weight of 0 is larger than any other.

    Args:
        change: (d_out, d_in), float32.
        weight: The weight before the change, of the same shape.
        share: The share of the entries that are kept.
    """
    n_zeros = change.numel() - round(share * change.numel())
    if not n_zeros:
        return change
    # where both are 0 there is no change to keep; a change that is no number is kept, so that the edit is refused
    relative_change = (change / weight).abs().nan_to_num(nan=torch.inf, posinf=torch.inf).where(change != 0, 0.0)
    if n_zeros == change.numel():
        return torch.zeros_like(change)
    minimum = relative_change.flatten().kthvalue(n_zeros + 1).values
    return change.where(relative_change >= minimum, 0.0)


def keep_top(edit: LowRank, lm: LanguageModel, share: float) -> LowRank | Dense:
    """Return an edit with the share of entries per weight that change the weight the most, relative to its own entries.

    Args:
        edit: The edit.
        lm: The model, with any earlier edits applied, that the edit was made for.
        share: The share of entries that are kept; 1 for the edit itself.

    Returns:
        The whole change of each weight, which has no low rank any more, with the keys of the edit.
    """
    if share == 1:
        return edit
    changes = {
        site: keep_largest(change, lm.weight(site).float().to(change.device), share)
        for site, change in edit.dense().items()
    }
    return Dense(changes, edit.keys, unmet_losses=edit.unmet_losses)
