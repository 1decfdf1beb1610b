"""MEND: trained networks turn a fact's fine-tuning gradient into an edit (Mitchell et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from edit_robustness.editing.edits import LowRank
from edit_robustness.editing.mend.networks import Batch, GradientEditors, asked, token_gradients
from edit_robustness.editing.mend.training import Schedule, artefact, editor_course, is_finished
from edit_robustness.editing.method import Corpus, Prepared, Trained
from edit_robustness.editing.past import Past
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT, Listed


def _not_zero(rate: float) -> float:
    if not isfinite(rate) or rate == 0:
        raise ValueError(f"rate must be a finite number other than 0: it is {rate}")
    return rate


@dataclass(frozen=True, config=STRICT)
class Mend(Trained):
    """The gradient of the new object's likelihood, token by token through `GradientEditors`: a low-rank change.

    An edit is one forward and one backward of the statement. Several facts are edited by the sum of what each gives
    by itself (the paper's sum over a batch), and a sequence of edits accumulates.

    Attributes:
        layers: The layers whose weights are edited.
        parts: Which weights of each.
        rank: Of the networks' matrices.
        rate: What the rates of the edits begin at; they are learned. A positive rate begins as gradient descent, as in
            the paper. A negative one begins as EasyEdit does, whose code adds what the paper subtracts.
        editor_lr: See `Schedule`, as all below.
        rate_lr: See `Schedule`.
        edit_weight: See `Schedule`.
        grad_clip: See `Schedule`.
        steps: See `Schedule`.
        batch: See `Schedule`.
        held_out: See `Schedule`.
        check_every: See `Schedule`.
        patience: See `Schedule`.
        seed: See `Schedule`.
        edit_loss: See `Schedule`.
    """

    name: ClassVar[str] = "mend"
    learns_from: ClassVar[tuple[str, ...]] = ("facts", "texts")
    at_once: ClassVar[int | None] = None

    layers: Listed[NonNegativeInt]
    parts: Listed[Literal["mlp_in", "mlp_out", "mlp_gate", "attention_out"]]
    rank: PositiveInt
    rate: Annotated[float, AfterValidator(_not_zero)]
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
        """The edited weights."""
        return tuple(Site(layer, part) for layer in self.layers for part in self.parts)

    @property
    def schedule(self) -> Schedule:
        """How the networks are trained."""
        return Schedule(**{name: getattr(self, name) for name in Schedule.__dataclass_fields__})

    def train(self, lm: LanguageModel, corpus: Corpus, *, started: Prepared | None = None) -> Iterator[Prepared]:
        """See `Trained.train`; an artefact holds the networks of the lowest held-out loss, and its curve as JSON."""
        if started is not None and is_finished(started):
            yield started
            return
        untrained = GradientEditors.untrained(lm, self.sites, rank=self.rank, rate=self.rate, seed=self.seed)
        course = editor_course(lm, corpus, self.sites, untrained, self.schedule)
        for state in course.states(f"{lm.name}: training mend", started.tensors if started else None):
            yield Prepared(state)
        yield artefact(state)

    def increment(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared, past: Past) -> LowRank:
        """The edit of one fact or several, of as many ranks as tokens carry gradient."""
        return self._edit(lm, facts, _loaded(prepared, lm))

    def increments(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared) -> Iterator[LowRank]:
        """Independent edits; the networks are loaded once."""
        editors = _loaded(prepared, lm)
        for fact in facts:
            yield self._edit(lm, [fact], editors)

    def _edit(self, lm: LanguageModel, facts: Sequence[Fact], editors: GradientEditors) -> LowRank:
        batch = Batch.of(lm, [asked(lm, fact.statement, fact.target_new, fact.join) for fact in facts])
        gradients, _ = token_gradients(lm, self.sites, batch)
        factors = {}
        for site, gradient in gradients.items():
            left, right = (part[gradient.carries].cpu() for part in editors.factors(site, gradient))
            factors[site] = (left.T.contiguous(), right.contiguous())
        return LowRank(factors)


def _loaded(prepared: Prepared, lm: LanguageModel) -> GradientEditors:
    """The trained networks; cloned, so that their place in memory, which may change the last bit, is torch's own."""
    return GradientEditors({name: tensor.clone().to(lm.device) for name, tensor in prepared.tensors.items()})
