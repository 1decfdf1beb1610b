"""Fine-tuning of one weight in epochs over batches of facts: LocFT-BF (arXiv 2509.22072)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from random import Random
from typing import ClassVar

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import Adam, AdamTrace, Dense, Edit
from edit_robustness.editing.method import Method
from edit_robustness.editing.methods.ft import Batch, object_batch
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.trace import blocks_recorded, blocks_replayed
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EpochFineTuning(Method):
    """Adam on the MLP's output weight of one layer, in epochs over reshuffled batches of the facts of an edit.

    The loss is that of the released code: the mean over facts of the mean negative log-likelihood of the object's
    tokens and of the end of text after them, so that the model learns to stop there. A batch whose loss is below
    `stop_loss` is skipped, and the training ends with an epoch whose mean loss is below it.

    Attributes:
        layer: The layer whose MLP output weight is tuned.
        lr: Adam's learning rate.
        epochs: Maximum number of epochs.
        step_facts: Maximum number of facts per step.
        stop_loss: Loss below which a batch is skipped, and an epoch is the last.
        seed: Seed of the order of facts in each epoch.
    """

    name: ClassVar[str] = "ft_epochs"
    batch_size: ClassVar[int | None] = None

    layer: NonNegativeInt
    lr: PositiveFloat
    epochs: PositiveInt
    step_facts: PositiveInt
    stop_loss: NonNegativeFloat
    seed: NonNegativeInt = 0

    @property
    def site(self) -> Site:
        """Return the tuned weight."""
        return Site(self.layer, "mlp_out")

    def increment(self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory) -> Edit:
        """Tune on all the facts.

        Returns:
            What the optimiser saw, if all steps are of one batch and this takes less room than the change, which it
            gives bit for bit (`AdamTrace`). Otherwise the change itself (`Dense`).

        Raises:
            ValueError: If the tokenizer has no token for the end of a text.
        """
        if lm.tokenizer.eos_token_id is None:
            raise ValueError(f"{lm.name}: ft_epochs appends the end of text to each object; the tokenizer has no token")
        start = torch.zeros_like(lm.weight(self.site), dtype=torch.float32, device=lm.device)
        optimiser = Adam(self.lr).run(start)
        change = next(optimiser)
        gradients: list[Tensor] = []
        with ExitStack() as stack:
            is_first = True
            for epoch in range(self.epochs):
                total = 0.0
                for batch in self._batches(lm, facts, epoch):
                    # of one batch the blocks below the layer run once
                    with blocks_recorded(lm, self.layer if is_first and self._has_one_batch(facts) else 0) as below:
                        loss, inputs, output = batch.loss(lm, self.site, change)
                    stack.enter_context(blocks_replayed(lm, below))
                    is_first, total = False, total + loss.item() * len(batch.ids)
                    if loss.item() >= self.stop_loss:
                        gradients.append(torch.autograd.grad(loss, output)[0][batch.real].float())
                        change = optimiser.send(gradients[-1].T @ inputs)
                mean_loss = total / len(facts)
                if mean_loss < self.stop_loss:
                    break
        # the loss after the last step is not computed, because it would cost another epoch
        unmet = {} if mean_loss < self.stop_loss or not self.stop_loss else {fact.id: mean_loss for fact in facts}
        if self._has_one_batch(facts) and gradients and _count(gradients) + inputs.numel() < change.numel():
            trace = torch.stack(gradients).cpu()
            return AdamTrace(self.site, inputs.cpu(), trace, self.lr, None, unmet_losses=unmet)
        return Dense({self.site: change.cpu()}, unmet_losses=unmet)

    def _has_one_batch(self, facts: Sequence[Fact]) -> bool:
        return len(facts) <= self.step_facts

    def _batches(self, lm: LanguageModel, facts: Sequence[Fact], epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch. The order inside of a batch makes no difference, so that one batch stays."""
        end = [int(lm.tokenizer.eos_token_id)]
        for part in shuffled_parts(facts, self.step_facts, f"{self.seed}/{epoch}"):
            yield object_batch(lm, part, even=True, suffix=end)


def shuffled_parts(facts: Sequence[Fact], size: int, seed: str) -> Iterator[list[Fact]]:
    """Yield the facts in parts of a size, in an order that the seed determines; in their own order if one part does."""
    order = list(facts)
    if len(order) > size:
        Random(seed).shuffle(order)
    for first in range(0, len(order), size):
        yield order[first : first + size]


def _count(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)
