"""Fine-tuning of one weight on the new fact: FT-M, with its loss on the object's tokens, and FT-L, with a bound."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass as standard_dataclass
from typing import ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import cross_entropy

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import Adam, AdamTrace
from edit_robustness.editing.method import Method
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import RenderedPrompt, pad, positions, prompt_ids, target_ids
from edit_robustness.models.trace import blocks_recorded, blocks_replayed, output_changed
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT


@dataclass(frozen=True, config=STRICT)
class FineTuning(Method):
    """Adam on the MLP's output weight of one layer, until the new object is likely enough.

    Attributes:
        layer: The layer whose MLP output weight is tuned.
        lr: Adam's learning rate.
        steps: Maximum number of steps.
        stop_loss: Stop if the mean negative log-likelihood of the object's tokens is below this. Further steps damage
            neighbours without making the object more likely.
        loss_mean: The unit with equal weight in the loss of several facts: each of the objects' `tokens`, or each fact,
            whatever the number of its object's tokens (`rows`, as in EasyEdit). No difference for one fact.
    """

    name: ClassVar[str] = "ft"
    batch_size: ClassVar[int | None] = None

    layer: NonNegativeInt
    lr: PositiveFloat
    steps: PositiveInt
    stop_loss: NonNegativeFloat
    loss_mean: Literal["tokens", "rows"] = "tokens"

    @property
    def bound(self) -> float | None:
        """Return the largest change of an entry of the weight; None for no bound."""
        return None

    def batch(self, lm: LanguageModel, facts: Sequence[Fact]) -> Batch:
        """Build the batch on which the loss is taken."""
        return object_batch(lm, facts, even=self.loss_mean == "rows")

    def increment(
        self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory
    ) -> AdamTrace:
        """Tune on all the facts at once, one batch per step.

        The weight itself does not change. A hook adds the product of the change so far to the site's output, and the
        gradient of the weight is that of the output times the input. The input and the outputs of the blocks below are
        the same at every step, so the blocks below run once.
        """
        site = Site(self.layer, "mlp_out")
        batch = self.batch(lm, facts)
        optimiser = Adam(self.lr, self.bound).run(
            torch.zeros_like(lm.weight(site), dtype=torch.float32, device=lm.device)
        )
        change = next(optimiser)
        gradients: list[Tensor] = []
        with ExitStack() as stack:
            for step in range(self.steps):
                with blocks_recorded(lm, self.layer if step == 0 else 0) as below:
                    loss, inputs, output = batch.loss(lm, site, change)
                is_met = bool(gradients) and loss.item() < self.stop_loss
                if is_met:
                    break
                gradients.append(torch.autograd.grad(loss, output)[0][batch.real].float())
                change = optimiser.send(gradients[-1].T @ inputs)
                stack.enter_context(blocks_replayed(lm, below))
        # that of the last step is not computed, because it would cost another pass
        unmet_losses = {} if is_met or not self.stop_loss else dict.fromkeys((fact.id for fact in facts), loss.item())
        trace = torch.stack(gradients).cpu()
        return AdamTrace(site, inputs.cpu(), trace, self.lr, self.bound, unmet_losses=unmet_losses)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ConstrainedFineTuning(FineTuning):
    """FT-L: Adam under a constraint |W' - W| <= e on every entry (Zhu et al. 2020, eq. 4, the L-infinity norm).

    This is ROME's baseline FT+L as its authors run it (Meng et al. 2022, appendix). The loss is the mean -log p(token |
    prompt) over the object's tokens, all predicted from the prompt's last token and none from the object's own
    beginning. The literature compares this variant under the name FT-L. It is weak for objects of several tokens. After
    each step of Adam the weight is clamped to the constraint.

    Attributes:
        norm_constraint: The bound e.
    """

    name: ClassVar[str] = "ft_l"

    norm_constraint: PositiveFloat
    loss_mean: Literal["tokens", "rows"] = "rows"

    @property
    def bound(self) -> float:
        """Return the constraint e."""
        return self.norm_constraint

    def batch(self, lm: LanguageModel, facts: Sequence[Fact]) -> Batch:
        """Build the batch of FT-L, in which the prompt's last token predicts all of the object's tokens."""
        return last_token_batch(lm, facts, even=self.loss_mean == "rows")


@standard_dataclass(frozen=True)
class Batch:
    """Rows of tokens, and the labels that the loss is taken on.

    Attributes:
        ids: (rows, tokens), padded.
        mask: (rows, tokens), 0 where padded.
        columns: (places,) the columns whose logits are needed.
        row: (labels,) the row of each label.
        place: (labels,) its column, as an index into `columns`.
        label: (labels,) the token to predict there.
        share: (labels,) its weight in the loss.
    """

    ids: Tensor
    mask: Tensor
    columns: Tensor
    row: Tensor
    place: Tensor
    label: Tensor
    share: Tensor

    @property
    def real(self) -> Tensor:
        """Return the mask as truth values, (rows, tokens), false where padded."""
        return self.mask.bool()

    def loss(self, lm: LanguageModel, site: Site, change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the loss under a change of the weight.

        The graph of the loss begins at the site's output.

        Returns:
            The loss, the site's inputs at real tokens (tokens, d_in), and its output (rows, tokens, d_out).
        """
        records: list[tuple[Tensor, Tensor]] = []

        def add(inputs: Tensor, output: Tensor) -> Tensor:
            leaf = (output + (inputs.float() @ change.T).to(output.dtype)).detach().requires_grad_()
            records.append((inputs[self.real].float(), leaf))
            return leaf

        with output_changed(lm, site, add):
            return self.present_loss(lm), *records[0]

    def present_loss(self, lm: LanguageModel) -> Tensor:
        """Compute the loss of the model as it is."""
        logits = lm.model(
            input_ids=self.ids,
            attention_mask=self.mask,
            position_ids=positions(self.mask),
            use_cache=False,
            logits_to_keep=self.columns,
        ).logits
        losses = cross_entropy(logits[self.row, self.place].float(), self.label, reduction="none")
        return (losses * self.share).sum()


def object_batch(
    lm: LanguageModel,
    facts: Sequence[Fact],
    *,
    even: bool,
    suffix: Sequence[int] = (),
    contexts: Sequence[str] = ("",),
) -> Batch:
    """Build the batch of statements with their new objects, each token of an object predicted from those before it.

    Args:
        lm: The model.
        facts: The facts.
        even: Whether each row has the same weight in the loss; else each token does.
        suffix: Token ids that follow each object and are predicted, too.
        contexts: Texts before each statement, one row each; the empty text for the bare statement.
    """
    pairs = [(RenderedPrompt(text + fact.statement, join=fact.join), fact) for fact in facts for text in contexts]
    before = [prompt_ids(lm, prompt) for prompt, _ in pairs]
    targets = [[*target_ids(lm, prompt, fact.target_new), *suffix] for prompt, fact in pairs]
    rows = [[*ids, *target[:-1]] for ids, target in zip(before, targets, strict=True)]
    ids, mask = pad(rows, lm.pad_id, side="right", device=lm.device)
    places = [
        len(ids) - 1 + number for ids, target in zip(before, targets, strict=True) for number in range(len(target))
    ]
    columns = sorted(set(places))
    return _label(ids, mask, columns, [columns.index(place) for place in places], targets, even=even)


def last_token_batch(lm: LanguageModel, facts: Sequence[Fact], *, even: bool) -> Batch:
    """Build the batch of bare statements, whose last token predicts all of the object's tokens.

    Args:
        lm: The model.
        facts: The facts.
        even: Whether each fact has the same weight in the loss; else each token does.
    """
    prompts = [RenderedPrompt(fact.statement, join=fact.join) for fact in facts]
    targets = [target_ids(lm, prompt, fact.target_new) for prompt, fact in zip(prompts, facts, strict=True)]
    ids, mask = pad([prompt_ids(lm, prompt) for prompt in prompts], lm.pad_id, side="left", device=lm.device)
    return _label(ids, mask, [ids.shape[1] - 1], [0] * sum(map(len, targets)), targets, even=even)


def _label(
    ids: Tensor, mask: Tensor, columns: list[int], places: list[int], targets: list[list[int]], *, even: bool
) -> Batch:
    """Build a batch in which each row has the tokens of one target as its labels."""
    labels = [token for target in targets for token in target]
    rows = [row for row, target in enumerate(targets) for _ in target]
    shares = [1 / (len(targets) * len(targets[row])) if even else 1 / len(labels) for row in rows]
    column, row, place, label = (
        torch.tensor(numbers, device=ids.device) for numbers in (columns, rows, places, labels)
    )
    return Batch(ids, mask, column, row, place, label, torch.tensor(shares, device=ids.device))
