"""GRACE: a codebook beside one layer that answers known inputs with fitted outputs (Hartvigsen et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import cross_entropy

from edit_robustness.editing.edits import Codebook
from edit_robustness.editing.last_token import split_at_last_token
from edit_robustness.editing.method import Method, Prepared
from edit_robustness.editing.past import Past
from edit_robustness.editing.target import Prompts
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import Rendered, target_ids
from edit_robustness.models.trace import blocks_recorded, blocks_replayed, output_changed
from edit_robustness.records import Fact

_SAME = 1e-4
"""Inputs whose distance is this share of a key's norm are one input, computed twice."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Grace(Method):
    """Keys are what enters the site at a statement's last token; values are fitted to make the new object follow.

    A value starts as the site's own output, so that no edit depends on chance.

    Attributes:
        layer: The layer whose module is answered for.
        part: Which of its weights.
        eps_init: Radius of a new entry.
        lr: Adam's rate for a value.
        steps: Most steps for a value.
        stop_loss: Stop when the mean negative log-likelihood of the object's tokens is below this.
    """

    name: ClassVar[str] = "grace"

    layer: NonNegativeInt
    part: Literal["mlp_in", "mlp_out", "attention_out"]
    eps_init: PositiveFloat
    lr: PositiveFloat
    steps: PositiveInt
    stop_loss: NonNegativeFloat

    @property
    def site(self) -> Site:
        """Where the codebook stands."""
        return Site(self.layer, self.part)

    def increment(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared, past: Past) -> Codebook:
        """The entries set for one fact: its own, and the neighbour whose radius it splits."""
        fact = facts[0]
        target = target_ids(lm, Rendered(fact.statement, join=fact.join), fact.target_new)
        prompts = split_at_last_token(lm, [fact.statement], target)
        key, output, below = _run(lm, self.site, prompts)
        new = Codebook(self.site, key.cpu(), output.cpu(), torch.tensor([self.eps_init]), (fact.target_new,))
        earlier = past.hooked.get(Codebook.kind)
        book = entries_set(earlier, new) if isinstance(earlier, Codebook) else new
        value = self._fitted(lm, prompts, below, book.values[-1:].to(lm.device))
        return replace(book, values=torch.cat([book.values[:-1], value.cpu()]))

    def _fitted(self, lm: LanguageModel, prompts: Prompts, below: Sequence[Any], start: Tensor) -> Tensor:
        """The value (1, d_out) that makes the target follow, by Adam from `start`."""
        value = start.clone().requires_grad_()
        adam = torch.optim.Adam([value], lr=self.lr)
        replaced = _replaced(value, prompts.subject_column)
        with output_changed(lm, self.site, replaced), blocks_replayed(lm, below):
            for _ in range(self.steps):
                loss = cross_entropy(prompts.logits(lm)[0].float(), prompts.target)
                if loss.item() < self.stop_loss:
                    break
                (value.grad,) = torch.autograd.grad(loss, [value])
                adam.step()
        return value.detach()


def entries_set(book: Codebook, new: Codebook) -> Codebook:
    """What a new entry sets in a codebook, the entry whose value is to be fitted last (algorithm 1).

    Far from every key it is added. Near an entry of the same label, that entry's radius grows to take the new key in,
    and its value is fitted further. Near an entry of another label, both get half the distance as radius. An input
    that has an entry already (a fact edited anew) takes that entry over: halves of no distance would answer nothing.

    Args:
        book: The codebook so far.
        new: A codebook of one entry, with the first radius.
    """
    distances, number = book.nearest(new.keys)
    distance, old = distances[0], book.entry(int(number[0]))
    if distance > old.radii[0] + new.radii[0]:
        return new
    if old.labels == new.labels:
        return replace(old, radii=old.radii.clamp(min=distance))
    if distance <= _SAME * old.keys.norm():
        return replace(new, keys=old.keys, radii=old.radii)
    half = (distance / 2)[None]
    return replace(old, radii=half).then(replace(new, radii=half))


@torch.no_grad()
def _run(lm: LanguageModel, site: Site, prompts: Prompts) -> tuple[Tensor, Tensor, list[Any]]:
    """At the prompt's last token the site's input and output, (1, d) in float32; and what the blocks below put out.

    The output is the module's own, whatever entry answers there: a value fitted for another object is far from all.
    """
    seen: list[Tensor] = []
    here = slice(prompts.subject_column, prompts.subject_column + 1)

    def keep(inputs: Tensor, output: Tensor) -> Tensor:
        seen.extend((inputs[0, here].float(), lm.module(site).forward(inputs[0, here]).float()))
        return output

    with output_changed(lm, site, keep), blocks_recorded(lm, site.layer) as below:
        prompts.logits(lm)
    return seen[0], seen[1], below


def _replaced(value: Tensor, column: int) -> Callable[[Tensor, Tensor], Tensor]:
    def change(_: Tensor, output: Tensor) -> Tensor:
        here = value.to(output.dtype)[None]
        return torch.cat([output[:, :column], here, output[:, column + 1 :]], dim=1)

    return change
