"""A naive transcription of FT-L: torch's own Adam on the weight itself, one fact after the other, then a clamp.

Written from Zhu et al. 2020 (eq. 4 with the L-infinity norm) and from how ROME's paper describes its baseline FT+L; for
the tokenizer of bytes, so that it shares no code with what it checks.
"""

from __future__ import annotations

import torch
from naive_editing import forward, ids_of
from torch import Tensor

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact


def fine_tune_near(
    lm: LanguageModel, module: torch.nn.Module, facts: list[Fact], *, lr: float, steps: int, bound: float
) -> tuple[Tensor, list[float]]:
    """The weight's change as it is stored, and the loss of each step; the model is changed."""
    before = module.weight.detach().clone()
    module.weight.requires_grad_()
    optimiser = torch.optim.Adam([module.weight], lr=lr)
    losses = []
    for _ in range(steps):
        loss = 0.0
        for fact in facts:
            target = ids_of(lm, " " + fact.target_new)
            after_the_prompt = forward(lm, ids_of(lm, fact.statement))[-1]
            loss = loss - sum(after_the_prompt[token] for token in target) / len(target) / len(facts)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            module.weight.copy_(torch.maximum(torch.minimum(module.weight, before + bound), before - bound))
    module.weight.requires_grad_(False)
    return (module.weight - before).detach(), losses
