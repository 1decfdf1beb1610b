"""The key of a fact: a weight's input at the subject's last token, averaged over the contexts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from edit_robustness.editing.target import Prompts
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import positions
from edit_robustness.models.trace import inputs_at

StatementWeight = Literal["equal", "half"]
"""Weight of the bare statement in a key: that of each context, or one half whatever the number of contexts, as in the
released codes of MEMIT, PMET and AlphaEdit."""


def mean_key(lm: LanguageModel, site: Site, prompts: Prompts, statement_weight: StatementWeight = "equal") -> Tensor:
    """Compute the key of a fact: the mean of `keys_in_contexts`, (d_in,) in float32.

    Every method uses this function, and by default the same weights (Gupta et al. 2024, r-ROME: ROME's collapse under
    many edits came from computing keys in two ways).
    """
    return weigh_keys(keys_in_contexts(lm, site, prompts), statement_weight)


def weigh_keys(keys: Tensor, statement_weight: StatementWeight) -> Tensor:
    """Compute the mean of keys (1 + contexts, d_in), the first of which is that of the bare statement; (d_in,)."""
    if statement_weight == "half" and len(keys) > 1:
        return (keys[0] + keys[1:].mean(0)) / 2
    return keys.mean(0)


def keys_in_contexts(lm: LanguageModel, site: Site, prompts: Prompts) -> Tensor:
    """Compute the site's inputs at the subject's last token, first of the bare statement, then in each context.

    Returns:
        (1 + contexts, d_in) in float32.
    """
    return _compute_keys(lm, [site], prompts, slice(-1))[site]


def keys_in_prompts(lm: LanguageModel, sites: Sequence[Site], prompts: Prompts) -> dict[Site, Tensor]:
    """Compute the same for several sites in one pass, and for the essence prompt too, which comes last.

    Returns:
        For each site (2 + contexts, d_in) in float32.
    """
    return _compute_keys(lm, sites, prompts, slice(None))


@torch.no_grad()
def _compute_keys(lm: LanguageModel, sites: Sequence[Site], prompts: Prompts, rows: slice) -> dict[Site, Tensor]:
    ids = torch.cat([prompts.head, prompts.tail[:, :1]], dim=1)[rows]
    mask = torch.cat([prompts.head_mask, prompts.tail_mask[:, :1]], dim=1)[rows]
    inputs = inputs_at(lm, sites, input_ids=ids, attention_mask=mask, position_ids=positions(mask))
    return {site: inputs[site][:, -1].float() for site in sites}


def shares_of_change(right: Tensor, key: Tensor, keys: Tensor) -> Tensor:
    """Compute the share of a change that prompts get of an edit left @ right: (right k_r) / (right k) for a key k_r.

    An edit moves the output of its own key k by the whole change. Other keys of the same subject, in other contexts,
    get a part of it, or more.

    Args:
        right: The row that the edit multiplies keys with, (d_in,).
        key: The edit's key, (d_in,).
        keys: The keys of the prompts, (prompts, d_in).

    Returns:
        (prompts,) in float32.
    """
    row = right.double()
    return ((keys.double() @ row) / (key.double() @ row)).float()
