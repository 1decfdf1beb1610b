"""SERAC: a memory of edits, a scope classifier, and a small model that answers in scope (Mitchell et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from edit_robustness.editing.edits.scoped import Scoped
from edit_robustness.editing.method import Corpus, Prepared, Trained
from edit_robustness.editing.past import Past
from edit_robustness.editing.serac.lessons import (
    RUNNING_TEXT,
    Lesson,
    View,
    copying_loss,
    exercise,
    lessons,
    memorised,
    scope_loss,
    views,
)
from edit_robustness.editing.serac.networks import Embedding, Scope, untaught
from edit_robustness.editing.training import Course, Pace, named, part
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT, Listed

_TEXTS = 32
"""How many running texts the scope sees as out of scope, in training and held out."""
_HELD_OUT, _EACH = 64, 4
"""On how many prompts the small model's held-out loss is taken at most, and on how many of each fact."""
_SCOPE, _SMALL = "training-scope", "training-small"
"""Where a state that can be gone on from keeps either network."""
_NEVER = -1
"""The step of the held-out batch: no step has this number."""


@dataclass(frozen=True, config=STRICT)
class Serac(Trained):
    """Keeps facts in words; only the two networks are trained, and on other subjects than those it edits.

    Unlike the paper's, which are other pretrained models, both networks are made of the edited model: the scope reads
    its states, and the small model is some of its blocks, in which the attention alone is trained, to copy.

    Attributes:
        subject_layer: The block whose output at a token tells what the token is about.
        layer: The block whose output tells what it asks for.
        blocks: The base model's blocks that the small model is made of, in order.
        facts: Most facts to train on.
        held_out: How many subjects are held out, for stopping early.
        width: Width of the scope's embeddings.
        threshold: A token is in the scope of an edit where p is greater; the paper's is 0.5.
        scope_lr: Adam's rate for the scope.
        scope_steps: Most steps for it.
        lr: Adam's rate for the small model.
        steps: Most steps for it.
        scope_batch: Facts of one step of the scope: the memory among which it must find the right one.
        batch: Prompts of one step of the small model.
        check_every: Steps between two looks at the held-out loss.
        patience: Stop after this many looks without a lower held-out loss.
        seed: Of every choice.
    """

    name: ClassVar[str] = "serac"
    learns_from: ClassVar[tuple[str, ...]] = ("texts", "facts")
    at_once: ClassVar[int | None] = None
    edits_need_prepared: ClassVar[bool] = True

    subject_layer: NonNegativeInt
    layer: NonNegativeInt
    blocks: Annotated[Listed[NonNegativeInt], Field(min_length=1)]
    facts: PositiveInt
    held_out: PositiveInt
    width: PositiveInt
    threshold: Annotated[float, Field(gt=0, lt=1)]
    scope_lr: PositiveFloat
    scope_steps: PositiveInt
    scope_batch: PositiveInt
    lr: PositiveFloat
    steps: PositiveInt
    batch: PositiveInt
    check_every: PositiveInt
    patience: PositiveInt
    seed: NonNegativeInt

    def increment(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared, past: Past) -> Scoped:
        """A memory of these facts; nothing is computed.

        Raises:
            ValueError: If the networks have not been trained.
        """
        if "places" not in prepared.tensors:
            raise ValueError(f"serac edits with trained networks, and got none for {lm.name}: prepare the method first")
        memory = tuple((fact.prompt, fact.subject, fact.target_new, fact.join) for fact in facts)
        return Scoped(memory, prepared.fingerprint, prepared)

    def train(self, lm: LanguageModel, corpus: Corpus, *, started: Prepared | None = None) -> Iterator[Prepared]:
        """One state a round, first of the scope, then of the small model; the last holds the best of both."""
        state = dict(started.tensors) if started else {}
        if "places" in state:  # finished before
            yield Prepared(state)
            return
        known, unseen = lessons(lm, corpus, most=self.facts, held_out=self.held_out, seed=self.seed)
        scope, small = part(state, _SCOPE), part(state, _SMALL)
        if not small:
            for now in self._scope_states(lm, corpus, known, unseen, scope):
                scope = now
                yield Prepared(named(_SCOPE, scope))
        for now in self._small_states(lm, corpus, known, unseen, small):
            small = now
            yield Prepared({**named(_SCOPE, scope), **named(_SMALL, small)})
        yield self._artefact(lm, scope, small)

    def _artefact(self, lm: LanguageModel, scope: dict[str, Tensor], small: dict[str, Tensor]) -> Prepared:
        """The best of both networks, the small model in the base model's precision, and the curves of the training."""
        dtype = lm.model.get_input_embeddings().weight.dtype
        return Prepared(
            {
                "places": torch.tensor([self.subject_layer, self.layer, *self.blocks]),
                "threshold": torch.tensor(self.threshold, dtype=torch.float64),
                **named("scope", {**part(scope, "fixed"), **part(scope, "best")}),
                **named("counterfactual", {name: best.to(dtype) for name, best in part(small, "best").items()}),
                "curve.scope": scope["curve"],
                "curve.counterfactual": small["curve"],
            }
        )

    def _scope_states(
        self,
        lm: LanguageModel,
        corpus: Corpus,
        known: Sequence[Lesson],
        unseen: Sequence[Lesson],
        state: dict[str, Tensor],
    ) -> Iterator[dict[str, Tensor]]:
        """States of the scope's training, on states of the base model that are computed once."""
        layers, rng = (self.subject_layer, self.layer), Random(self.seed)
        texts, others = _halves(corpus.texts)
        seen = views(lm, layers, known, texts[:_TEXTS], rng)
        kept = memorised(views(lm, layers, unseen, others[:_TEXTS], rng), rng)
        scope = self._untrained_scope(seen)

        def loss(step: int) -> Tensor:
            rng = Random(f"{self.seed}/{step}")
            chosen = {RUNNING_TEXT, *rng.sample(range(len(known)), min(self.scope_batch, len(known)))}
            return scope_loss(scope, memorised([view for view in seen if view.lesson in chosen], rng))

        def held_out() -> list[float]:
            with torch.no_grad():
                return [scope_loss(scope, kept).item()]

        heads = dict(scope.named_parameters())
        pace = Pace(self.scope_steps, self.check_every, self.patience)
        course = Course(heads, dict.fromkeys(heads, self.scope_lr), loss, held_out, pace)
        fixed = named("fixed", {name: buffer.cpu() for name, buffer in scope.named_buffers()})
        for now in course.states(f"{lm.name}: training serac's scope", state):
            yield {**now, **fixed}

    def _untrained_scope(self, seen: Sequence[View]) -> Scope:
        """Random directions of standardised states, so short that unlike tokens are a few radii apart."""
        generator = torch.Generator().manual_seed(self.seed)

        def embedding(states: Tensor) -> Embedding:
            hidden = states.shape[1]
            head = torch.randn(self.width, hidden, generator=generator) * 2 / (self.width * hidden) ** 0.5
            return Embedding(states.mean(0), states.std(0).clamp_min(1e-6), head.to(states.device))

        # without first tokens, whose states are outliers in most models
        low = torch.cat([view.subjects[1:] for view in seen])
        return Scope(embedding(low), embedding(torch.cat([view.states for view in seen])))

    def _small_states(
        self,
        lm: LanguageModel,
        corpus: Corpus,
        known: Sequence[Lesson],
        unseen: Sequence[Lesson],
        state: dict[str, Tensor],
    ) -> Iterator[dict[str, Tensor]]:
        """States of the small model's training."""
        model, taught = untaught(lm, self.blocks)
        texts, others = _halves(corpus.texts)

        def loss(step: int) -> Tensor:
            rng = Random(f"{self.seed}/{step}")
            return copying_loss(model, exercise(lm, rng.choices(known, k=self.batch), texts, rng))

        rng = Random(f"{self.seed}/{_NEVER}")
        kept = exercise(lm, (list(unseen) * _EACH)[:_HELD_OUT], others, rng)

        def held_out() -> list[float]:
            with torch.no_grad():
                return [copying_loss(model, kept).item()]

        pace = Pace(self.steps, self.check_every, self.patience)
        course = Course(taught, dict.fromkeys(taught, self.lr), loss, held_out, pace)
        yield from course.states(f"{lm.name}: training serac's small model", state)


def _halves(texts: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Texts to train with, and texts held out."""
    return texts[: len(texts) // 2], texts[len(texts) // 2 :]
