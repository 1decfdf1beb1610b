"""Fine-tuning of one weight on the new fact, its loss on the object's tokens only (FT-M)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import cross_entropy

from edit_robustness.editing.edits import Adam, AdamTrace
from edit_robustness.editing.method import Method, Prepared
from edit_robustness.editing.past import Past
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import Rendered, pad, positions, prompt_ids, target_ids
from edit_robustness.models.trace import output_changed
from edit_robustness.records import Fact


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FineTuning(Method):
    """Adam on the MLP's output weight of one layer, until the new object is likely enough.

    Attributes:
        layer: The layer whose MLP output weight is tuned.
        lr: Adam's rate.
        steps: Most steps.
        stop_loss: Stop when the mean negative log-likelihood of the object's tokens is below this; more steps go on
            to damage neighbours without making the object likelier.
    """

    name: ClassVar[str] = "ft"
    at_once: ClassVar[int | None] = None

    layer: NonNegativeInt
    lr: PositiveFloat
    steps: PositiveInt
    stop_loss: NonNegativeFloat

    def edit(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared, past: Past) -> AdamTrace:
        """Tune on all the facts at once, one batch a step.

        The weight is not touched: what the change so far adds to the site's output is added by a hook, and the
        gradient of the weight is that of the output times the input, which is the same at every step.
        """
        site = Site(self.layer, "mlp_out")
        batch = _Batch(lm, facts)
        run = Adam(self.lr).run(torch.zeros_like(lm.weight(site), dtype=torch.float32))
        change = next(run)
        gradients: list[Tensor] = []
        for _ in range(self.steps):
            loss, inputs, gradient = batch.loss_and_gradient(lm, site, change)
            if loss < self.stop_loss and gradients:
                break
            gradients.append(gradient)
            change = run.send(gradient.T @ inputs)
        return AdamTrace(site, inputs.cpu(), torch.stack(gradients).cpu(), self.lr)


class _Batch:
    """Statements followed by their new objects, and where the objects' tokens are predicted."""

    def __init__(self, lm: LanguageModel, facts: Sequence[Fact]):
        rows, labels = [], []
        for fact in facts:
            prompt = Rendered(fact.statement)
            before, target = prompt_ids(lm, prompt), target_ids(lm, prompt, fact.target_new)
            rows.append([*before, *target[:-1]])
            labels.append([_NOT_A_TARGET] * (len(before) - 1) + target)
        self._ids, self._mask = pad(rows, lm.pad_id, side="right", device=lm.device)
        padded, _ = pad(labels, _NOT_A_TARGET, side="right", device=lm.device)
        self._columns = (padded != _NOT_A_TARGET).any(0).nonzero().squeeze(-1)
        self._labels = padded[:, self._columns]

    def loss_and_gradient(self, lm: LanguageModel, site: Site, change: Tensor) -> tuple[float, Tensor, Tensor]:
        """The loss under a change, the site's inputs (tokens, d_in), and its outputs' gradients (tokens, d_out)."""
        seen: list[tuple[Tensor, Tensor]] = []

        def add(inputs: Tensor, output: Tensor) -> Tensor:
            edited = (output + (inputs.float() @ change.T).to(output.dtype)).detach().requires_grad_()
            seen.append((inputs, edited))
            return edited

        with output_changed(lm, site, add):
            logits = lm.model(
                input_ids=self._ids,
                attention_mask=self._mask,
                position_ids=positions(self._mask),
                use_cache=False,
                logits_to_keep=self._columns,
            ).logits
        loss = cross_entropy(logits.flatten(0, 1).float(), self._labels.flatten())
        inputs, output = seen[0]
        (gradient,) = torch.autograd.grad(loss, output)
        real = self._mask.bool()
        return loss.item(), inputs[real].float(), gradient[real].float()


_NOT_A_TARGET = -100
"""The label that cross-entropy skips."""
