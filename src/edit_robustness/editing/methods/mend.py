"""MEND: trained networks turn a fact's fine-tuning gradient into an edit (Mitchell et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import LowRank
from edit_robustness.editing.mend.networks import Batch, GradientEditors, prompt_and_answer_ids, token_gradients
from edit_robustness.editing.mend.training import Schedule, artefact, editor_course, is_finished
from edit_robustness.editing.method import Corpus, TrainedMethod
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT, ListSetting


def _check_not_zero(rate: float) -> float:
    if not isfinite(rate) or rate == 0:
        raise ValueError(f"rate must be a finite number other than 0: it is {rate}")
    return rate


@dataclass(frozen=True, config=STRICT)
class Mend(TrainedMethod):
    """A low-rank change that `GradientEditors` compute token by token from the gradient of the new object's likelihood.

    An edit takes one forward and one backward pass of the statement. An edit of several facts is the sum of their edits
    (the paper's sum over a batch), and a sequence of edits accumulates.

    Attributes:
        layers: The layers whose weights are edited.
        parts: The edited weights of each layer.
        rank: Rank of the networks' matrices.
        rate: Initial value of the rates of the edits, which are learned. A positive rate starts as gradient descent, as
            in the paper. A negative one starts as EasyEdit does, whose code adds where the paper subtracts.
        editor_lr: Adam's learning rate for the networks.
        rate_lr: Adam's learning rate for the rates of the edits.
        edit_weight: Weight of the edits' loss relative to the divergence of other outputs (c_edit).
        grad_clip: Maximum norm of the gradient of all the networks together.
        steps: Maximum number of steps of Adam.
        batch: Independent edits per step.
        held_out: Number of subjects that are not trained on; the loss of their edits decides when to stop.
        check_every: Steps between two evaluations of the held-out edits.
        patience: Evaluations without a lower loss after which training stops.
        seed: Seed of the networks' initial weights, of the split and of the draws.
        edit_loss: Prompts on which the edits' loss is taken (`Schedule.edit_loss`).
    """

    name: ClassVar[str] = "mend"
    learns_from: ClassVar[tuple[str, ...]] = ("facts", "texts")
    batch_size: ClassVar[int | None] = None

    layers: ListSetting[NonNegativeInt]
    parts: ListSetting[Literal["mlp_in", "mlp_out", "mlp_gate", "attention_out"]]
    rank: PositiveInt
    rate: Annotated[float, AfterValidator(_check_not_zero)]
    editor_lr: PositiveFloat
    rate_lr: PositiveFloat
    edit_weight: NonNegativeFloat
    grad_clip: PositiveFloat
    steps: PositiveInt
    batch: PositiveInt
    held_out: PositiveInt
    check_every: PositiveInt
    patience: PositiveInt
    seed: NonNegativeInt
    edit_loss: Literal["both", "statement", "rewording"] = "both"

    @property
    def sites(self) -> tuple[Site, ...]:
        """Return the edited weights."""
        return tuple(Site(layer, part) for layer in self.layers for part in self.parts)

    @property
    def schedule(self) -> Schedule:
        """Return the settings of the training."""
        return Schedule(**{name: getattr(self, name) for name in Schedule.__dataclass_fields__})

    def train(self, lm: LanguageModel, corpus: Corpus, *, start: Artefact | None = None) -> Iterator[Artefact]:
        """Train the networks; the artefact has those of the lowest held-out loss, and the curve as JSON."""
        if start is not None and is_finished(start):
            yield start
            return
        editors = GradientEditors.build_identity(lm, self.sites, rank=self.rank, rate=self.rate, seed=self.seed)
        course = editor_course(lm, corpus, self.sites, editors, self.schedule)
        for state in course.states(f"{lm.name}: training mend", start.tensors if start else None):
            yield Artefact(state)
        yield artefact(state)

    def increment(
        self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory
    ) -> LowRank:
        """Compute the edit of one or several facts; its rank is the number of tokens with a gradient."""
        return self._edit(lm, facts, _load_editors(artefact, lm))

    def increments(self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact) -> Iterator[LowRank]:
        """Yield independent edits; the networks are loaded once."""
        editors = _load_editors(artefact, lm)
        for fact in facts:
            yield self._edit(lm, [fact], editors)

    def _edit(self, lm: LanguageModel, facts: Sequence[Fact], editors: GradientEditors) -> LowRank:
        batch = Batch.of(lm, [prompt_and_answer_ids(lm, fact.statement, fact.target_new, fact.join) for fact in facts])
        gradients, _ = token_gradients(lm, self.sites, batch)
        factors = {}
        for site, gradient in gradients.items():
            left_factor, right_factor = (part[gradient.carries].cpu() for part in editors.factors(site, gradient))
            factors[site] = (left_factor.T.contiguous(), right_factor.contiguous())
        return LowRank(factors)


def _load_editors(artefact: Artefact, lm: LanguageModel) -> GradientEditors:
    """Load the trained networks.

    They are cloned, so that torch allocates their memory: its alignment may change the last bit of a product.
    """
    return GradientEditors({name: tensor.clone().to(lm.device) for name, tensor in artefact.tensors.items()})
