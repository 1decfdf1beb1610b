"""Training shared by methods with networks: held-out subjects, objects to draw from, and a resumable loop.

A training is resumable bit for bit, because every draw depends only on the seed and the step, and everything else is in
its state.
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
    """Split facts into those to train on, and those of `held_out` other subjects.

    Raises:
        ValueError: If either side has fewer than two subjects: each edit needs another subject that should not change.
    """
    subjects = sorted({fact.subject for fact in facts})
    if held_out < 2 or len(subjects) - held_out < 2:
        raise ValueError(
            f"{method} holds {held_out} subjects out of the {len(subjects)} outside the sample, and needs at least two "
            "on both sides: change held_out, or take a smaller sample"
        )
    Random(f"{seed}/split").shuffle(subjects)
    held_out_subjects = frozenset(subjects[:held_out])
    return [fact for fact in facts if fact.subject not in held_out_subjects], [
        fact for fact in facts if fact.subject in held_out_subjects
    ]


def other_objects(fact: Fact, facts: Sequence[Fact]) -> list[str]:
    """Return the true and new objects of the facts of its relation, except the subject's true one; sorted.

    Training draws from them, so that a few facts give many edits.
    """
    same_relation = [candidate for candidate in facts if candidate.relation == fact.relation]
    return sorted(
        {name for candidate in same_relation for name in (candidate.target_true, candidate.target_new)}
        - {fact.target_true}
    )


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without the prefix."""
    mark = f"{name}."
    return {key.removeprefix(mark): tensor for key, tensor in tensors.items() if key.startswith(mark)}


def with_prefix(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with a prefix before their names: the inverse of `part`."""
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}


@dataclass(frozen=True)
class Pace:
    """Length of a training.

    Attributes:
        steps: Maximum number of steps of Adam.
        check_every: Steps between two evaluations of the held-out loss.
        patience: Stop after this many evaluations without a lower held-out loss.
        grad_clip: Maximum norm of the gradient of all parameters together; None for no limit.
    """

    steps: int
    check_every: int
    patience: int
    grad_clip: float | None = None


class Course:
    """Training of networks.

    Args:
        tensors: All tensors that training changes, by name: the parameters, and statistics that the loss itself
            updates.
        rates: Adam's learning rate for each parameter.
        loss: The loss of a step's batch, given the number of the step. The batch must depend on nothing else.
        held_out: The held-out loss, followed by anything else that the curve should record.
        pace: Length of the training.
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
        self._parameters = {name: self._tensors[name].requires_grad_() for name in rates}
        self._adam = torch.optim.Adam([{"params": [self._parameters[name]], "lr": lr} for name, lr in rates.items()])
        self._best: dict[str, Tensor] = {}
        self._curve: list[list[float]] = []

    def states(self, label: str, start: Mapping[str, Tensor] | None = None) -> Iterator[dict[str, Tensor]]:
        """Train to the end, from a state if one is given.

        Args:
            label: Name of the training, for the progress bar.
            start: A state to resume from.

        Yields:
            The state after each evaluation, or the final state again if the training is complete: of every tensor
                `now.<name>` and `best.<name>`, Adam's moments, and `curve` (evaluations, 3 or more), which has for each
                evaluation the number of steps, the mean loss since the previous evaluation, and the values of
                `held_out`.
        """
        if start:
            self._resume(start)
        if self._is_finished:
            yield self._state()
            return
        first_step, losses = int(self._curve[-1][0]) if self._curve else 0, []
        for step in track(range(first_step, self._pace.steps), label, self._pace.steps - first_step):
            losses.append(self._step(step))
            if (step + 1) % self._pace.check_every == 0 or step + 1 == self._pace.steps:
                self._evaluate(step + 1, sum(losses) / len(losses))
                losses = []
                yield self._state()
                if self._is_finished:
                    return

    @property
    def _is_finished(self) -> bool:
        if not self._curve:
            return False
        held_out = [look[_HELD_OUT] for look in self._curve]
        looks_since_best = len(held_out) - 1 - held_out.index(min(held_out))
        return self._curve[-1][0] >= self._pace.steps or looks_since_best >= self._pace.patience

    def _step(self, step: int) -> float:
        self._adam.zero_grad()
        with torch.enable_grad():
            loss = self._loss(step)
            loss.backward()  # type: ignore[no-untyped-call]
        if self._pace.grad_clip is not None:
            clip_grad_norm_(self._parameters.values(), self._pace.grad_clip)
        self._adam.step()
        return loss.item()

    def _evaluate(self, steps: int, loss: float) -> None:
        """Compute the held-out loss, and store the networks if it is the lowest so far."""
        values = list(self._held_out())
        if not self._curve or values[0] < min(look[_HELD_OUT] for look in self._curve):
            self._best = _copy(self._tensors)
        self._curve.append([steps, loss, *values])

    def _state(self) -> dict[str, Tensor]:
        """Return everything that resuming needs."""
        moments = {
            f"adam.{key}.{name}": value
            for name, tensor in self._parameters.items()
            for key, value in self._adam.state[tensor].items()
        }
        current = {f"now.{name}": tensor for name, tensor in self._tensors.items()}
        best = {f"best.{name}": tensor for name, tensor in self._best.items()}
        return {"curve": torch.tensor(self._curve, dtype=torch.float64), **_copy({**current, **best, **moments})}

    def _resume(self, state: Mapping[str, Tensor]) -> None:
        """Resume from a state; the next steps are those that would have followed it."""
        self._curve = state["curve"].tolist()
        self._best = {name: state[f"best.{name}"].clone() for name in self._tensors}
        with torch.no_grad():
            for name, tensor in self._tensors.items():
                tensor.copy_(state[f"now.{name}"])
        for name, tensor in self._parameters.items():
            for key in ("step", "exp_avg", "exp_avg_sq"):
                # Adam stores its step count on the CPU
                device = torch.device("cpu") if key == "step" else tensor.device
                self._adam.state[tensor][key] = state[f"adam.{key}.{name}"].clone().to(device)


_HELD_OUT = 2
"""The column of the curve by which networks are compared."""


def _copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
