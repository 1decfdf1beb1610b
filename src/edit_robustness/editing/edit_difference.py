"""How far two edits of one fact are from each other, before any model is asked."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor

from edit_robustness.editing.edits import Codebook, Edit


@dataclass(frozen=True)
class EditDifference:
    """A comparison of two edits; NaN where they cannot be compared.

    Attributes:
        cosine: Cosine of the two changes.
        relative: Norm of their difference, in units of the second one's norm.
    """

    cosine: float = nan
    relative: float = nan


def compare_edits(edit: Edit, reference: Edit) -> EditDifference:
    """Compare two changes as vectors of all changed weights; of codebooks, the values.

    A weight that one edit changes and the other does not counts as a change of zero. A codebook's keys are inputs of
    the model and no result of the edit, and would hide its values.

    Args:
        edit: An edit.
        reference: The edit that it is compared with.

    Returns:
        The comparison, with NaN if the edits are of kinds that cannot be compared or change nothing.
    """
    if isinstance(edit, Codebook) and isinstance(reference, Codebook):
        if edit.site != reference.site or edit.values.shape != reference.values.shape:
            return EditDifference()
        pairs = [(edit.values, reference.values)]
    else:
        changes, reference_changes = edit.dense(), reference.dense()
        sites = sorted(changes.keys() | reference_changes.keys())
        pairs = [_pair(changes.get(site), reference_changes.get(site)) for site in sites]
    # in float64 and site by site, because a change of full rank is as large as its weight
    product, square, reference_square, difference_square = (
        (sum(float(term) for term in terms) for terms in zip(*map(_sums, pairs), strict=True))
        if pairs
        else (0.0, 0.0, 0.0, 0.0)
    )
    if not square or not reference_square:
        return EditDifference()
    return EditDifference(product / (square * reference_square) ** 0.5, (difference_square / reference_square) ** 0.5)


def _pair(first: Tensor | None, second: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return two changes of one site, of which at least one is given."""
    if first is None:
        assert second is not None
        return torch.zeros_like(second), second
    return first, torch.zeros_like(first) if second is None else second


def _sums(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    first, second = (tensor.double().flatten() for tensor in pair)
    return first @ second, first @ first, second @ second, (first - second).square().sum()
