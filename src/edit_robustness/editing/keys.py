"""The key of a fact: a weight's input at the subject's last token, averaged over the contexts."""

from __future__ import annotations

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
    statement, *contexts = keys_in_contexts(lm, site, prompts).unbind()
    if statement_weight == "half" and contexts:
        return (statement + torch.stack(contexts).mean(0)) / 2
    return torch.stack([statement, *contexts]).mean(0)


@torch.no_grad()
def keys_in_contexts(lm: LanguageModel, site: Site, prompts: Prompts) -> Tensor:
    """Compute the site's inputs at the subject's last token, first of the bare statement, then in each context.

    Returns:
        (1 + contexts, d_in) in float32.
    """
    ids = torch.cat([prompts.head, prompts.tail[:, :1]], dim=1)[:-1]
    mask = torch.cat([prompts.head_mask, prompts.tail_mask[:, :1]], dim=1)[:-1]
    inputs = inputs_at(lm, [site], input_ids=ids, attention_mask=mask, position_ids=positions(mask))
    return inputs[site][:, -1].float()
