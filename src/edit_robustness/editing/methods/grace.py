"""GRACE: a codebook at one layer that replaces its output for known inputs (Hartvigsen et al. 2023)."""

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

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import Codebook
from edit_robustness.editing.last_token import split_at_last_token
from edit_robustness.editing.method import Method
from edit_robustness.editing.target import Prompts, with_cached_head
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import RenderedPrompt, target_ids
from edit_robustness.models.trace import blocks_recorded, blocks_replayed, output_changed, output_of
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT

_SAME = 1e-4
"""Inputs whose distance is this share of a key's norm are one input, computed twice."""

_ROUNDING = 1e-5
"""A radius that must reach an input exceeds its distance by this share of the key's norm.

Without it, rounding would decide whether an input computed in another batch is within the radius.
"""


@dataclass(frozen=True, config=STRICT)
class Grace(Method):
    """Codebook entries with the site's input at a statement's last token as key, and a value fitted to the new object.

    A value starts as the site's own output, so that no edit depends on chance.

    Attributes:
        layer: The layer whose output is replaced.
        part: The weight within the layer.
        eps_init: Radius of a new entry.
        lr: Adam's learning rate for a value.
        steps: Maximum number of steps for a value.
        stop_loss: Stop if the mean negative log-likelihood of the object's tokens is below this.
        fit_position: The tokens at which the output is replaced while a value is fitted. `every_token`: all tokens
            within a radius that holds after the edit, as in use. `prompt_end`: only the statement's last token, as in
            EasyEdit.
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
        """Return the site of the codebook."""
        return Site(self.layer, self.part)

    def increment(
        self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory
    ) -> Codebook:
        """Compute the entries set for one fact: its own, and the neighbour whose radius it splits."""
        fact = facts[0]
        target = target_ids(lm, RenderedPrompt(fact.statement, join=fact.join), fact.target_new)
        prompts = split_at_last_token(lm, [fact.statement], target, use_cache=False)
        inputs, output = _read_site(lm, self.site, prompts)
        key = inputs[:, prompts.subject_column].float()
        new = Codebook(self.site, key.cpu(), output.cpu(), torch.tensor([self.eps_init]), (fact.target_new,))
        earlier = history.combined_edits.get(Codebook.kind)
        increment, book = new, new
        if isinstance(earlier, Codebook):
            increment = entries_set(earlier, new)
            book = earlier.then(increment)
        value, loss = self._fit(lm, prompts, inputs, book.on(lm))
        unmet_losses = {fact.id: loss} if loss >= self.stop_loss > 0 else {}
        values = torch.cat([increment.values[:-1], value.cpu()])
        return replace(increment, values=values, unmet_losses=unmet_losses)

    def _fit(self, lm: LanguageModel, prompts: Prompts, inputs: Tensor, book: Codebook) -> tuple[Tensor, float]:
        """Fit the value (1, d_out) of a codebook's last entry by Adam, with the whole codebook applied.

        Returns it with the last loss that was computed.

        The codebook is the one after the edit, because a radius that the edit changes decides which other tokens of the
        prompt are replaced too.
        """
        if self.fit_position == "prompt_end":
            book = replace(book, radii=torch.full_like(book.radii, -1))  # a negative radius matches no input
        in_radius, entry = book.select_entries(inputs[:, : prompts.subject_column])
        if not (in_radius & (entry == len(book.keys) - 1)).any():
            # the value changes nothing before the last token, so the tokens before it run once
            with output_changed(lm, self.site, _answer_with(lm, book, book.values)):
                prompts = with_cached_head(lm, prompts)
        value = book.values[-1:].clone().requires_grad_()
        adam = torch.optim.Adam([value], lr=self.lr)
        with ExitStack() as hooks:
            for step in range(self.steps):
                values = torch.cat([book.values[:-1], value])
                hook = _answer_with(lm, book, values, prompts.subject_column)
                with output_changed(lm, self.site, hook), blocks_recorded(lm, 0 if step else self.layer) as below:
                    loss = cross_entropy(prompts.logits(lm)[0].float(), prompts.target)
                if loss.item() < self.stop_loss:
                    break
                (value.grad,) = torch.autograd.grad(loss, [value])
                adam.step()
                if step == 0:
                    hooks.enter_context(blocks_replayed(lm, below))
        return value.detach(), loss.item()


def entries_set(book: Codebook, new: Codebook) -> Codebook:
    """Return the entries that a new entry sets in a codebook, the one whose value is to be fitted last (algorithm 1).

    Far from every key the new entry is added. Near an entry of the same label, that entry's radius grows to include the
    new key, and its value is fitted further. Near an entry of another label, both get half the distance as radius. An
    input that already has an entry (a fact edited again) replaces that entry, because a radius of half of zero would
    match nothing.

    Args:
        book: The codebook so far.
        new: A codebook of one entry, with the initial radius.
    """
    distances, number = book.nearest(new.keys)
    distance, nearest_entry = distances[0], book.entry(int(number[0]))
    if distance > nearest_entry.radii[0] + new.radii[0]:
        return new
    if nearest_entry.labels == new.labels:
        return replace(
            nearest_entry, radii=nearest_entry.radii.clamp(min=distance + _ROUNDING * nearest_entry.keys.norm())
        )
    if distance <= _SAME * nearest_entry.keys.norm():
        return replace(new, keys=nearest_entry.keys, radii=nearest_entry.radii)
    half_distance = (distance / 2)[None]
    return replace(nearest_entry, radii=half_distance).then(replace(new, radii=half_distance))


@torch.no_grad()
def _read_site(lm: LanguageModel, site: Site, prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Read the site's input at every token, (1, tokens, d_in), and its output at the last token, (1, d_out) float32.

    The output is the module's own, whichever entry applies there: a value fitted for another object is far from it.
    """
    records: list[Tensor] = []
    last_token = slice(prompts.subject_column, prompts.subject_column + 1)

    def keep(inputs: Tensor, output: Tensor) -> Tensor:
        records.extend((inputs, output_of(lm, site, inputs[0, last_token]).float()))
        return output

    with output_changed(lm, site, keep):
        prompts.logits(lm)
    return records[0], records[1]


def _answer_with(
    lm: LanguageModel, book: Codebook, values: Tensor, column: int | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a hook that replaces the site's output by a codebook's, also where an earlier codebook applies.

    Args:
        lm: The model.
        book: The codebook, on the model's device.
        values: Its values, (entries, d_out).
        column: A token at which the last entry applies, even if rounding puts its input outside the radius.
    """

    def change(inputs: Tensor, _: Tensor) -> Tensor:
        output = output_of(lm, book.site, inputs)
        in_radius, entry = book.select_entries(inputs)
        if column is not None:
            in_radius[:, column], entry[:, column] = True, len(book.keys) - 1
        return torch.where(in_radius[..., None], values[entry].to(output.dtype), output)

    return change
