"""SERAC: a memory of edits, a scope classifier, and a small model that answers in scope (Mitchell et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits.scoped import ScopedMemory
from edit_robustness.editing.method import Corpus, TrainedMethod
from edit_robustness.editing.serac.networks import Embedding, Scope, build_small_model
from edit_robustness.editing.serac.training_examples import (
    RUNNING_TEXT,
    TrainingExample,
    View,
    choose_statements,
    copying_loss,
    exercise,
    scope_loss,
    training_examples,
    views,
)
from edit_robustness.editing.training import Course, Pace, part, with_prefix
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT, ListSetting

_TEXTS = 32
"""Number of running texts that the scope is trained on as out of scope, and the same number held out."""
_HELD_OUT, _EACH = 64, 4
"""Maximum number of prompts of the small model's held-out loss, and number of prompts per fact."""
_SCOPE, _SMALL = "training-scope", "training-small"
"""Prefixes of the two networks in a state from which training can resume."""
_NEVER = -1
"""The number of the held-out batch in its seed: no step has this number."""


@dataclass(frozen=True, config=STRICT)
class Serac(TrainedMethod):
    """A memory of facts as text; only the two networks are trained, on other subjects than those that are edited.

    In the paper both networks are other pretrained models. Here both are made from the edited model: the scope reads
    its states, and the small model consists of some of its blocks, of which only the attention is trained, to copy.

    Attributes:
        subject_layer: The block whose output at a token represents the subject that the token is about.
        layer: The block whose output represents what the token asks for.
        blocks: The base model's blocks that the small model consists of, in order.
        facts: Maximum number of facts to train on.
        held_out: Number of held-out subjects, for early stopping.
        width: Width of the scope's embeddings.
        threshold: A token is in the scope of an edit if p is greater; the paper's is 0.5.
        scope_lr: Adam's learning rate for the scope.
        scope_steps: Maximum number of steps for the scope.
        lr: Adam's learning rate for the small model.
        steps: Maximum number of steps for the small model.
        scope_batch: Facts per step of the scope: the memory in which it must find the right one.
        batch: Prompts per step of the small model.
        check_every: Steps between two evaluations of the held-out loss.
        patience: Stop after this many evaluations without a lower held-out loss.
        seed: Seed of every choice.
    """

    name: ClassVar[str] = "serac"
    learns_from: ClassVar[tuple[str, ...]] = ("texts", "facts")
    batch_size: ClassVar[int | None] = None
    edits_need_artefact: ClassVar[bool] = True

    subject_layer: NonNegativeInt
    layer: NonNegativeInt
    blocks: Annotated[ListSetting[NonNegativeInt], Field(min_length=1)]
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

    def increment(
        self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory
    ) -> ScopedMemory:
        """Return a memory of these facts; nothing is computed.

        Raises:
            ValueError: If the networks have not been trained.
        """
        if "places" not in artefact.tensors:
            raise ValueError(f"serac edits with trained networks, and got none for {lm.name}: prepare the method first")
        memory = tuple((fact.prompt, fact.subject, fact.target_new, fact.join) for fact in facts)
        return ScopedMemory(memory, artefact.fingerprint, artefact)

    def train(self, lm: LanguageModel, corpus: Corpus, *, start: Artefact | None = None) -> Iterator[Artefact]:
        """Train first the scope, then the small model; the last state has the best of both."""
        state = dict(start.tensors) if start else {}
        if "places" in state:  # the training is complete
            yield Artefact(state)
            return
        train_examples, held_out_examples = training_examples(
            lm, corpus, limit=self.facts, held_out=self.held_out, seed=self.seed
        )
        scope, small = part(state, _SCOPE), part(state, _SMALL)
        if not small:
            for tensors in self._train_scope(lm, corpus, train_examples, held_out_examples, scope):
                scope = tensors
                yield Artefact(with_prefix(_SCOPE, scope))
        for tensors in self._train_small(lm, corpus, train_examples, held_out_examples, small):
            small = tensors
            yield Artefact({**with_prefix(_SCOPE, scope), **with_prefix(_SMALL, small)})
        yield self._build_artefact(lm, scope, small)

    def _build_artefact(self, lm: LanguageModel, scope: dict[str, Tensor], small: dict[str, Tensor]) -> Artefact:
        """Collect the best networks, with the small model in the base model's dtype, and the training curves."""
        dtype = lm.model.get_input_embeddings().weight.dtype
        return Artefact(
            {
                "places": torch.tensor([self.subject_layer, self.layer, *self.blocks]),
                "threshold": torch.tensor(self.threshold, dtype=torch.float64),
                **with_prefix("scope", {**part(scope, "fixed"), **part(scope, "best")}),
                **with_prefix("counterfactual", {name: best.to(dtype) for name, best in part(small, "best").items()}),
                "curve.scope": scope["curve"],
                "curve.counterfactual": small["curve"],
            }
        )

    def _train_scope(
        self,
        lm: LanguageModel,
        corpus: Corpus,
        train_examples: Sequence[TrainingExample],
        held_out_examples: Sequence[TrainingExample],
        state: dict[str, Tensor],
    ) -> Iterator[dict[str, Tensor]]:
        """Yield states of the scope's training, on states of the base model that are computed once."""
        layers, rng = (self.subject_layer, self.layer), Random(self.seed)
        texts, held_out_texts = _halve(corpus.texts)
        train_views = views(lm, layers, train_examples, texts[:_TEXTS], rng)
        held_out_views = choose_statements(views(lm, layers, held_out_examples, held_out_texts[:_TEXTS], rng), rng)
        scope = self._build_scope(train_views)

        def loss(step: int) -> Tensor:
            rng = Random(f"{self.seed}/{step}")
            numbers = {
                RUNNING_TEXT,
                *rng.sample(range(len(train_examples)), min(self.scope_batch, len(train_examples))),
            }
            return scope_loss(scope, choose_statements([view for view in train_views if view.example in numbers], rng))

        def held_out() -> list[float]:
            with torch.no_grad():
                return [scope_loss(scope, held_out_views).item()]

        heads = dict(scope.named_parameters())
        pace = Pace(self.scope_steps, self.check_every, self.patience)
        course = Course(heads, dict.fromkeys(heads, self.scope_lr), loss, held_out, pace)
        buffers = with_prefix("fixed", {name: buffer.cpu() for name, buffer in scope.named_buffers()})
        for tensors in course.states(f"{lm.name}: training serac's scope", state):
            yield {**tensors, **buffers}

    def _build_scope(self, train_views: Sequence[View]) -> Scope:
        """Build a scope with random directions, short enough that unlike tokens are a few radii apart."""
        generator = torch.Generator().manual_seed(self.seed)

        def embedding(states: Tensor) -> Embedding:
            state_width = states.shape[1]
            head = torch.randn(self.width, state_width, generator=generator) * 2 / (self.width * state_width) ** 0.5
            return Embedding(states.mean(0), states.std(0).clamp_min(1e-6), head.to(states.device))

        # first tokens are left out, because their states are outliers in most models
        low = torch.cat([view.subjects[1:] for view in train_views])
        return Scope(embedding(low), embedding(torch.cat([view.states for view in train_views])))

    def _train_small(
        self,
        lm: LanguageModel,
        corpus: Corpus,
        train_examples: Sequence[TrainingExample],
        held_out_examples: Sequence[TrainingExample],
        state: dict[str, Tensor],
    ) -> Iterator[dict[str, Tensor]]:
        """Yield states of the small model's training."""
        model, parameters = build_small_model(lm, self.blocks)
        texts, held_out_texts = _halve(corpus.texts)

        def loss(step: int) -> Tensor:
            rng = Random(f"{self.seed}/{step}")
            return copying_loss(model, exercise(lm, rng.choices(train_examples, k=self.batch), texts, rng))

        rng = Random(f"{self.seed}/{_NEVER}")
        held_out_exercise = exercise(lm, (list(held_out_examples) * _EACH)[:_HELD_OUT], held_out_texts, rng)

        def held_out() -> list[float]:
            with torch.no_grad():
                return [copying_loss(model, held_out_exercise).item()]

        pace = Pace(self.steps, self.check_every, self.patience)
        course = Course(parameters, dict.fromkeys(parameters, self.lr), loss, held_out, pace)
        yield from course.states(f"{lm.name}: training serac's small model", state)


def _halve(texts: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Split texts into those to train with and held-out ones."""
    return texts[: len(texts) // 2], texts[len(texts) // 2 :]
