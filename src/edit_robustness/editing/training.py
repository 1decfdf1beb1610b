"""What methods that train networks share: subjects held out, objects to draw from, a loop that can be stopped anywhere.

A training is resumable bit for bit, because every draw depends on the seed and the step alone and everything else is
in its state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from edit_robustness.progress import track
from edit_robustness.records import Fact


def split_by_subject(facts: Sequence[Fact], held_out: int, seed: int, *, method: str) -> tuple[list[Fact], list[Fact]]:
    """Facts to train on, and those of `held_out` other subjects.

    Raises:
        ValueError: If either side has fewer than two subjects: each edit needs another subject to leave alone.
    """
    subjects = sorted({fact.subject for fact in facts})
    if held_out < 2 or len(subjects) - held_out < 2:
        raise ValueError(
            f"{method} holds {held_out} subjects out of the {len(subjects)} outside the sample, and needs two or more "
            "on both sides: change held_out, or take a smaller sample"
        )
    Random(f"{seed}/split").shuffle(subjects)
    held = frozenset(subjects[:held_out])
    return [fact for fact in facts if fact.subject not in held], [fact for fact in facts if fact.subject in held]


def other_objects(fact: Fact, facts: Sequence[Fact]) -> list[str]:
    """The objects, true or new, of the facts of its relation, but the one that is true of its subject; sorted.

    Drawn from in training, so that a few facts give many edits.
    """
    same = [other for other in facts if other.relation == fact.relation]
    return sorted({name for other in same for name in (other.target_true, other.target_new)} - {fact.target_true})


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors under a name, without it."""
    mark = f"{name}."
    return {key.removeprefix(mark): tensor for key, tensor in tensors.items() if key.startswith(mark)}


def named(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `part`."""
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}


@dataclass(frozen=True)
class Pace:
    """How long networks are trained.

    Attributes:
        steps: Most steps of Adam.
        check_every: Steps between two looks at the held-out loss.
        patience: Stop after this many looks without a lower held-out loss.
        grad_clip: Longest gradient of all that is learned together; None for any length.
    """

    steps: int
    check_every: int
    patience: int
    grad_clip: float | None = None


class Course:
    """Networks in training.

    Args:
        tensors: All that training changes, by name: what is learned, and statistics that the loss itself updates.
        rates: Adam's rate for each tensor that is learned.
        loss: The loss of a step's batch, by the number of the step; the batch depends on nothing else.
        held_out: The loss on what is held out, and after it whatever else the curve shall record.
        pace: How long.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        rates: Mapping[str, float],
        loss: Callable[[int], Tensor],
        held_out: Callable[[], Sequence[float]],
        pace: Pace,
    ):
        self._tensors, self._loss, self._held_out, self._pace = dict(tensors), loss, held_out, pace
        self._learned = {name: self._tensors[name].requires_grad_() for name in rates}
        self._adam = torch.optim.Adam([{"params": [self._learned[name]], "lr": lr} for name, lr in rates.items()])
        self._best: dict[str, Tensor] = {}
        self._curve: list[list[float]] = []

    def states(self, what: str, started: Mapping[str, Tensor] | None = None) -> Iterator[dict[str, Tensor]]:
        """Train to the end, from a state if one is given.

        Args:
            what: What is trained, for the progress bar.
            started: A state to go on from.

        Yields:
            The state after each look, or the finished one again: of every tensor `now.<name>` and `best.<name>`,
            Adam's moments, and `curve` (looks, 3 or more), of each look the steps so far, the mean loss since the look
            before, and what `held_out` gave.
        """
        if started:
            self._resume(started)
        if self._finished:
            yield self._state()
            return
        done, losses = int(self._curve[-1][0]) if self._curve else 0, []
        for step in track(range(done, self._pace.steps), what, self._pace.steps - done):
            losses.append(self._step(step))
            if (step + 1) % self._pace.check_every == 0 or step + 1 == self._pace.steps:
                self._look(step + 1, sum(losses) / len(losses))
                losses = []
                yield self._state()
                if self._finished:
                    return

    @property
    def _finished(self) -> bool:
        if not self._curve:
            return False
        held_out = [look[_HELD_OUT] for look in self._curve]
        waited = len(held_out) - 1 - held_out.index(min(held_out))
        return self._curve[-1][0] >= self._pace.steps or waited >= self._pace.patience

    def _step(self, step: int) -> float:
        self._adam.zero_grad()
        with torch.enable_grad():
            loss = self._loss(step)
            loss.backward()  # type: ignore[no-untyped-call]
        if self._pace.grad_clip is not None:
            clip_grad_norm_(self._learned.values(), self._pace.grad_clip)
        self._adam.step()
        return loss.item()

    def _look(self, steps: int, loss: float) -> None:
        """The held-out loss, and the networks kept if it is the lowest so far."""
        found = list(self._held_out())
        if not self._curve or found[0] < min(look[_HELD_OUT] for look in self._curve):
            self._best = _copied(self._tensors)
        self._curve.append([steps, loss, *found])

    def _state(self) -> dict[str, Tensor]:
        """All that going on needs."""
        moments = {
            f"adam.{key}.{name}": value
            for name, tensor in self._learned.items()
            for key, value in self._adam.state[tensor].items()
        }
        now = {f"now.{name}": tensor for name, tensor in self._tensors.items()}
        best = {f"best.{name}": tensor for name, tensor in self._best.items()}
        return {"curve": torch.tensor(self._curve, dtype=torch.float64), **_copied({**now, **best, **moments})}

    def _resume(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state; the steps that follow are those that would have followed there."""
        self._curve = state["curve"].tolist()
        self._best = {name: state[f"best.{name}"].clone() for name in self._tensors}
        with torch.no_grad():
            for name, tensor in self._tensors.items():
                tensor.copy_(state[f"now.{name}"])
        for name, tensor in self._learned.items():
            for key in ("step", "exp_avg", "exp_avg_sq"):
                # Adam counts its steps on the CPU
                place = torch.device("cpu") if key == "step" else tensor.device
                self._adam.state[tensor][key] = state[f"adam.{key}.{name}"].clone().to(place)


_HELD_OUT = 2
"""The column of the curve by which networks are compared."""


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
