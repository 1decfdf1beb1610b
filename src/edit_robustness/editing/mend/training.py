"""Training of MEND's networks: edits of facts that are asked again in other words, and shall leave the rest alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from edit_robustness.editing.mend.networks import Batch, GradientEditors, Row, asked, token_gradients
from edit_robustness.editing.method import Corpus, Prepared
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import Rendered, prompt_ids
from edit_robustness.models.trace import blocks_recorded, blocks_replayed, output_changed
from edit_robustness.progress import track
from edit_robustness.records import Fact, Relation, fill


@dataclass(frozen=True)
class Schedule:
    """How the networks are trained.

    Attributes:
        steps: Most steps of Adam.
        batch: Independent edits a step.
        editor_lr: Adam's rate for the networks.
        rate_lr: Adam's rate for the rates of the edits.
        edit_weight: Weight of the edits' loss beside the divergence of the rest (c_edit).
        grad_clip: Longest gradient of all the networks together.
        held_out: Subjects whose edits are not trained on but tell when to stop.
        check_every: Steps between two looks at the held-out edits.
        patience: Looks without a lower loss after which training ends.
        seed: Of the networks' start, the split and the draws.
    """

    steps: int
    batch: int
    editor_lr: float
    rate_lr: float
    edit_weight: float
    grad_clip: float
    held_out: int
    check_every: int
    patience: int
    seed: int


def split_by_subject(facts: Sequence[Fact], held_out: int, seed: int) -> tuple[list[Fact], list[Fact]]:
    """Facts to train on, and those of `held_out` other subjects.

    Raises:
        ValueError: If either side has fewer than two subjects: each edit needs another subject to leave alone.
    """
    subjects = sorted({fact.subject for fact in facts})
    if held_out < 2 or len(subjects) - held_out < 2:
        raise ValueError(
            f"mend holds {held_out} subjects out of the {len(subjects)} outside the sample, and needs two or more on "
            "both sides: change held_out, or take a smaller sample"
        )
    Random(f"{seed}/split").shuffle(subjects)
    held = frozenset(subjects[:held_out])
    return [fact for fact in facts if fact.subject not in held], [fact for fact in facts if fact.subject in held]


class Examples:
    """Draws what one edit is trained on; the same draw from the same generator.

    Args:
        lm: The model.
        facts: Facts to edit, and to leave alone when another is edited; of two subjects or more.
        relations: Their wordings.
        texts: Text to leave alone; may be empty.
    """

    def __init__(
        self, lm: LanguageModel, facts: Sequence[Fact], relations: Mapping[str, Relation], texts: Sequence[str]
    ):
        self._lm, self._facts, self._relations = lm, facts, relations
        tokens = [prompt_ids(lm, Rendered(text)) for text in texts]
        self._texts = [ids for ids in tokens if len(ids) > 1]

    def draw(self, random: Random, fact: Fact | None = None) -> list[Row]:
        """The statement, the fact in another wording, another subject's true fact, and a passage of text.

        The new object is any of those that the facts of the relation have, so that a few facts give many edits.
        """
        fact = fact or random.choice(self._facts)
        same = [other for other in self._facts if other.relation == fact.relation]
        objects = {name for other in same for name in (other.target_true, other.target_new)} - {fact.target_true}
        new = random.choice(sorted(objects))
        rows = [asked(self._lm, fact.statement, new), asked(self._lm, self._worded(random, fact), new)]
        others = [other for other in same if other.subject != fact.subject]
        other = random.choice(others or [other for other in self._facts if other.subject != fact.subject])
        rows.append(asked(self._lm, self._worded(random, other), other.target_true))
        return [*rows, self._passage(random)] if self._texts else rows

    def _worded(self, random: Random, fact: Fact) -> str:
        relation = self._relations.get(fact.relation)
        return fill(random.choice([fact.prompt, *(relation.paraphrases if relation else ())]), fact.subject)

    def _passage(self, random: Random) -> Row:
        ids = random.choice(self._texts)
        start = random.randrange(max(1, len(ids) - _PASSAGE + 1))
        passage = ids[start : start + _PASSAGE]
        return passage[: len(passage) // 2], passage[len(passage) // 2 :]


_PASSAGE = 16
"""Tokens of a passage; the second half of them is compared."""


def losses(
    lm: LanguageModel, editors: GradientEditors, sites: Sequence[Site], examples: Sequence[list[Row]], *, see: bool
) -> tuple[Tensor, Tensor]:
    """What the networks are trained to lower (equation 4 of the paper), the mean over independent edits.

    Args:
        lm: The model; it is left alone: edits act by hooks, each on its own rows.
        editors: The networks.
        sites: The edited weights.
        examples: What `Examples.draw` gives for each edit.
        see: Whether the gradients go into the networks' statistics.

    Returns:
        The negative log-likelihood of the new objects after the statements and in other words, both under the edit;
        and the divergence KL(unedited || edited) on the rest.
    """
    edits = len(examples)
    batch = Batch.of(lm, [row for kind in zip(*examples, strict=True) for row in kind])
    # what lies below the lowest edited layer is the same before and after the edit, and runs once
    with blocks_recorded(lm, min(site.layer for site in sites)) as below:
        gradients, before = token_gradients(lm, sites, batch, edits)
    with blocks_replayed(lm, below), ExitStack() as hooks:
        for site, gradient in gradients.items():
            if see:
                editors.see(site, gradient)
            hooks.enter_context(output_changed(lm, site, _edited(*editors.factors(site, gradient))))
        after = batch.logits(lm)
    return batch.losses(after)[: 2 * edits].mean(), batch.divergences(before, after)[2 * edits :].mean()


def _edited(left: Tensor, right: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Adds to the outputs of row i what edit i does, counting edits round and round."""

    def add(inputs: Tensor, output: Tensor) -> Tensor:
        rows = inputs.float().unflatten(0, (-1, len(left)))
        return output + (rows @ right.mT @ left).flatten(0, 1).to(output.dtype)

    return add


class EditorTraining:
    """A training that can stop at any of its states and go on from it, bit for bit.

    Each draw depends on the seed and the step alone, so a state holds no generator.

    Args:
        lm: The model.
        corpus: Facts, wordings and texts.
        sites: The edited weights.
        editors: The networks as they begin.
        schedule: How to train.
        started: A state to go on from.
    """

    def __init__(
        self,
        lm: LanguageModel,
        corpus: Corpus,
        sites: Sequence[Site],
        editors: GradientEditors,
        schedule: Schedule,
        started: Prepared | None = None,
    ):
        self._lm, self._sites, self._editors, self._schedule = lm, sites, editors, schedule
        train, held_out = split_by_subject(corpus.facts, schedule.held_out, schedule.seed)
        self._examples = Examples(lm, train, corpus.relations, corpus.texts)
        unseen = Examples(lm, held_out, corpus.relations, corpus.texts)
        self._held_out = [unseen.draw(Random(f"{schedule.seed}/{fact.id}"), fact) for fact in held_out]
        self._curve: list[dict[str, float]] = []
        self._best: dict[str, Tensor] = {}
        for tensor in editors.learned.values():
            tensor.requires_grad_()
        rates = [tensor for name, tensor in editors.learned.items() if name.endswith(".rate")]
        networks = [tensor for name, tensor in editors.learned.items() if not name.endswith(".rate")]
        groups = [{"params": networks, "lr": schedule.editor_lr}, {"params": rates, "lr": schedule.rate_lr}]
        self._adam = torch.optim.Adam(groups)
        if started is not None:
            self._go_on(started)

    def states(self) -> Iterator[Prepared]:
        """A state after each look at the held-out edits, then what is left when all is done: the best networks."""
        first, steps = self._steps_done, self._schedule.steps
        if not self._enough():
            for step in track(range(first, steps), f"{self._lm.name}: training mend", steps - first):
                self._step(step)
                if (step + 1) % self._schedule.check_every == 0 or step + 1 == steps:
                    self._look(step + 1)
                    yield self._state()
                    if self._enough():
                        break
        yield Prepared(self._best, (json.dumps(self._curve),))

    @property
    def _steps_done(self) -> int:
        return int(self._curve[-1]["step"]) if self._curve else 0

    def _enough(self) -> bool:
        looks = [look["loss"] for look in self._curve]
        waited = len(looks) - 1 - looks.index(min(looks)) if looks else 0
        return waited >= self._schedule.patience or self._steps_done >= self._schedule.steps

    def _step(self, step: int) -> None:
        examples = [
            self._examples.draw(Random(f"{self._schedule.seed}/{step}/{number}"))
            for number in range(self._schedule.batch)
        ]
        edit, rest = losses(self._lm, self._editors, self._sites, examples, see=True)
        learned = list(self._editors.learned.values())
        gradients = torch.autograd.grad(self._schedule.edit_weight * edit + rest, learned)
        for tensor, gradient in zip(learned, gradients, strict=True):
            tensor.grad = gradient
        torch.nn.utils.clip_grad_norm_(learned, self._schedule.grad_clip)
        self._adam.step()

    def _look(self, step: int) -> None:
        """The held-out loss, and the networks kept if it is the lowest so far."""
        size, total = self._schedule.batch, torch.zeros(2, dtype=torch.float64)
        for start in range(0, len(self._held_out), size):
            examples = self._held_out[start : start + size]
            found = losses(self._lm, self._editors, self._sites, examples, see=False)
            total += torch.stack(found).detach().double().cpu() * len(examples)
        edit, rest = (total / len(self._held_out)).tolist()
        loss = self._schedule.edit_weight * edit + rest
        if not self._curve or loss < min(look["loss"] for look in self._curve):
            self._best = _copied(self._editors.tensors)
        self._curve.append({"step": step, "loss": loss, "edit": edit, "rest": rest})

    def _state(self) -> Prepared:
        tensors = dict(self._best)
        for name, tensor in self._editors.tensors.items():
            moments = {f"{_MOMENTS}{key}/{name}": value for key, value in self._adam.state.get(tensor, {}).items()}
            tensors.update(_copied({f"{_NOW}{name}": tensor, **moments}))
        return Prepared(tensors, (json.dumps(self._curve),))

    def _go_on(self, started: Prepared) -> None:
        self._curve = json.loads(started.texts[0])
        self._best = {name: tensor for name, tensor in started.tensors.items() if not name.startswith((_NOW, _MOMENTS))}
        with torch.no_grad():
            for name, tensor in self._editors.tensors.items():
                tensor.copy_(started.tensors[f"{_NOW}{name}"])
        for name, kept in started.tensors.items():
            if name.startswith(_MOMENTS):
                key, _, of = name.removeprefix(_MOMENTS).partition("/")
                # Adam counts its steps on the CPU
                place = torch.device("cpu") if key == "step" else self._lm.device
                self._adam.state[self._editors.tensors[of]][key] = kept.clone().to(place)


_NOW, _MOMENTS = "now/", "adam/"


def is_finished(state: Prepared) -> bool:
    """Whether a state of the training is its last."""
    return not any(name.startswith(_NOW) for name in state.tensors)


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
