"""GRACE: a codebook beside one layer that answers known inputs with fitted outputs (Hartvigsen et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import cross_entropy

from edit_robustness.editing.edits import Codebook
from edit_robustness.editing.last_token import split_at_last_token
from edit_robustness.editing.method import Method, Prepared
from edit_robustness.editing.past import Past
from edit_robustness.editing.target import Prompts, with_cached_head
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import Rendered, target_ids
from edit_robustness.models.trace import blocks_recorded, blocks_replayed, output_changed
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT

_SAME = 1e-4
"""Inputs whose distance is this share of a key's norm are one input, computed twice."""

_ROUNDING = 1e-5
"""A radius that must reach an input exceeds its distance by this share of the key's norm.

Without it, rounding decides whether the input is answered when it is computed in another batch.
"""


@dataclass(frozen=True, config=STRICT)
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
        fit_position: Which tokens the codebook answers while a value is fitted. `every_token`: all within a radius
            that holds after the edit, as in use. `prompt_end`: the statement's last one only, as in EasyEdit.
    """

    name: ClassVar[str] = "grace"

    layer: NonNegativeInt
    part: Literal["mlp_in", "mlp_out", "attention_out"]
    eps_init: PositiveFloat
    lr: PositiveFloat
    steps: PositiveInt
    stop_loss: NonNegativeFloat
    fit_position: Literal["every_token", "prompt_end"] = "every_token"

    @property
    def site(self) -> Site:
        """Where the codebook stands."""
        return Site(self.layer, self.part)

    def increment(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared, past: Past) -> Codebook:
        """The entries set for one fact: its own, and the neighbour whose radius it splits."""
        fact = facts[0]
        target = target_ids(lm, Rendered(fact.statement, join=fact.join), fact.target_new)
        prompts = split_at_last_token(lm, [fact.statement], target, cached=False)
        inputs, output = _seen(lm, self.site, prompts)
        key = inputs[:, prompts.subject_column].float()
        new = Codebook(self.site, key.cpu(), output.cpu(), torch.tensor([self.eps_init]), (fact.target_new,))
        earlier = past.hooked.get(Codebook.kind)
        increment, book = new, new
        if isinstance(earlier, Codebook):
            increment = entries_set(earlier, new)
            book = earlier.then(increment)
        value = self._fitted(lm, prompts, inputs, book.on(lm))
        return replace(increment, values=torch.cat([increment.values[:-1], value.cpu()]))

    def _fitted(self, lm: LanguageModel, prompts: Prompts, inputs: Tensor, book: Codebook) -> Tensor:
        """Fit the value (1, d_out) of a codebook's last entry, by Adam, while the whole codebook answers.

        The codebook is the one that holds after the edit, because a radius that the edit changes decides which other
        tokens of the prompt are answered too.
        """
        if self.fit_position == "prompt_end":
            book = replace(book, radii=torch.full_like(book.radii, -1))  # answers nothing but the token it must
        answered, entry = book.chosen(inputs[:, : prompts.subject_column])
        if not (answered & (entry == len(book.keys) - 1)).any():
            # the value changes nothing before the last token, so that the rest is run once
            with output_changed(lm, self.site, _answering(lm, book, book.values)):
                prompts = with_cached_head(lm, prompts)
        value = book.values[-1:].clone().requires_grad_()
        adam = torch.optim.Adam([value], lr=self.lr)
        with ExitStack() as hooks:
            for step in range(self.steps):
                values = torch.cat([book.values[:-1], value])
                answering = _answering(lm, book, values, prompts.subject_column)
                with output_changed(lm, self.site, answering), blocks_recorded(lm, 0 if step else self.layer) as below:
                    loss = cross_entropy(prompts.logits(lm)[0].float(), prompts.target)
                if loss.item() < self.stop_loss:
                    break
                (value.grad,) = torch.autograd.grad(loss, [value])
                adam.step()
                if step == 0:
                    hooks.enter_context(blocks_replayed(lm, below))
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
        return replace(old, radii=old.radii.clamp(min=distance + _ROUNDING * old.keys.norm()))
    if distance <= _SAME * old.keys.norm():
        return replace(new, keys=old.keys, radii=old.radii)
    half = (distance / 2)[None]
    return replace(old, radii=half).then(replace(new, radii=half))


@torch.no_grad()
def _seen(lm: LanguageModel, site: Site, prompts: Prompts) -> tuple[Tensor, Tensor]:
    """The site's input at every token, (1, tokens, d_in), and its output at the prompt's last one, (1, d_out) float32.

    The output is the module's own, whatever entry answers there: a value fitted for another object is far from all.
    """
    seen: list[Tensor] = []
    here = slice(prompts.subject_column, prompts.subject_column + 1)

    def keep(inputs: Tensor, output: Tensor) -> Tensor:
        seen.extend((inputs, lm.module(site).forward(inputs[0, here]).float()))
        return output

    with output_changed(lm, site, keep):
        prompts.logits(lm)
    return seen[0], seen[1]


def _answering(
    lm: LanguageModel, book: Codebook, values: Tensor, column: int | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """What the site puts out under a codebook, in place of what an earlier codebook answers.

    Args:
        lm: The model.
        book: The codebook, where the model is.
        values: Its values, (entries, d_out).
        column: A token that the last entry answers, also where rounding puts its input outside the radius.
    """

    def change(inputs: Tensor, _: Tensor) -> Tensor:
        output = lm.module(book.site).forward(inputs)
        answered, entry = book.chosen(inputs)
        if column is not None:
            answered[:, column], entry[:, column] = True, len(book.keys) - 1
        return torch.where(answered[..., None], values[entry].to(output.dtype), output)

    return change
