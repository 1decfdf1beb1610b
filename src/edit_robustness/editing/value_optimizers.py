"""Optimisers of a value: how a search moves to the change of an output with which the model says the new object.

All have one interface, `minimise`. A search (`ValueProblem`) gives the loss at its present changes, and decides when it
has reached its goal. Adam is the optimiser of the published methods. Polyak's step and L-BFGS choose the length of
their steps themselves, so that they need fewer passes of the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import expm1, log
from types import MappingProxyType
from typing import Literal, Protocol

import torch
from torch import Tensor

OptimizerName = Literal["adam", "polyak", "lbfgs"]
"""Names of the optimisers in settings."""

_GOAL = 0.5
"""Polyak's step aims at this share of the loss at which a search stops: it comes close to its aim from above."""

_SMALLEST_RISE = 1e-30
"""Squared gradients below this give no direction."""


class ValueProblem(Protocol):
    """Loss of some changes, each of which stays inside a ball around the output that it changes."""

    @property
    def changes(self) -> Sequence[Tensor]:
        """Return the changes, (hidden,) each, which an optimiser moves in place."""

    @property
    def norms(self) -> Sequence[Tensor]:
        """Return the norm of the output that each change changes; known after the first loss."""

    @property
    def stop_loss(self) -> float:
        """Return the loss below which the search stops."""

    def loss(self) -> Tensor:
        """Compute the loss at the present changes by a forward pass."""

    def is_met(self, loss: float) -> bool:
        """Return whether the search has reached its goal at this loss."""

    def project(self) -> None:
        """Shorten changes that are outside of their balls."""


@dataclass(frozen=True)
class ValueOptimizer(ABC):
    """A way to move the changes of a search.

    Attributes:
        rate: Size of a step, by optimiser.
        steps: Maximum number of losses, the first of which is that without a change. After the last no step is taken.
    """

    rate: float
    steps: int

    @abstractmethod
    def minimise(self, problem: ValueProblem) -> Iterator[float]:
        """Yield each loss, and move the changes after it, until the goal is reached or the steps are used up."""


class Adam(ValueOptimizer):
    """Adam with `rate` as its learning rate, as in ROME (Meng et al. 2022, arXiv 2202.05262) and its successors."""

    def minimise(self, problem: ValueProblem) -> Iterator[float]:
        """Yield each loss, and take a step of Adam after it."""
        changes = list(problem.changes)
        adam = torch.optim.Adam(changes, lr=self.rate)
        for step in range(self.steps):
            loss = problem.loss()
            yield loss.item()
            if problem.is_met(loss.item()) or step == self.steps - 1:
                return
            for change, gradient in zip(changes, torch.autograd.grad(loss, changes), strict=True):
                change.grad = gradient
            adam.step()
            problem.project()


class Polyak(ValueOptimizer):
    """Polyak's step (Polyak 1969) on the log-odds of saying the new object.

    Of a loss L the log-odds are m = log(p / (1 - p)) with p = e^-L. Near the optimum they are closer to linear in the
    change than L, whose gradient vanishes. With g their gradient, -grad L / (1 - p), the step to the log-odds m* of
    the aim is g (m* - m) / |g|^2. The aim is half of the loss at which the search stops. No step is longer than `rate`
    times the norm of the output that it changes.
    """

    def minimise(self, problem: ValueProblem) -> Iterator[float]:
        """Yield each loss, and take Polyak's step after it.

        Raises:
            ValueError: If the search stops at no loss above 0, so that the aim is infinitely far away.
        """
        if problem.stop_loss <= 0:
            raise ValueError(
                f"v_optimizer: polyak aims at half of v_stop_loss, and that is {problem.stop_loss}: set it above 0"
            )
        aim = log_odds(_GOAL * problem.stop_loss)
        for step in range(self.steps):
            loss = problem.loss()
            yield loss.item()
            if problem.is_met(loss.item()) or step == self.steps - 1:
                return
            gradients = torch.autograd.grad(loss, list(problem.changes))
            slope_squared = float(sum(gradient.square().sum() for gradient in gradients))
            if slope_squared <= _SMALLEST_RISE:
                return  # flat: there is nowhere to go
            # d m / d L is -1 / (1 - p), and 1 - p is -expm1(-L)
            factor = (aim - log_odds(loss.item())) * -expm1(-loss.item()) / slope_squared
            with torch.no_grad():
                for change, gradient, norm in zip(problem.changes, gradients, problem.norms, strict=True):
                    move = -factor * gradient
                    change += move * (self.rate * norm / move.norm()).clamp(max=1)
            problem.project()


class LBFGS(ValueOptimizer):
    """L-BFGS with a line search by the strong Wolfe conditions (Nocedal and Wright 2006, algorithms 7.5 and 3.5).

    The first trial step has `rate` times the norm of the outputs. Every loss of a line search counts as a step.
    """

    def minimise(self, problem: ValueProblem) -> Iterator[float]:
        """Yield each loss, those of the line searches included."""
        loss = problem.loss()
        yield loss.item()
        if problem.is_met(loss.item()) or self.steps == 1:
            return
        gradient = _flat_gradient(loss, problem.changes)
        norm = torch.stack(list(problem.norms)).norm()
        # torch's first trial step has the length |g| / |g|_1, so the unit is chosen in which that is `rate` norms
        unit = float(self.rate * norm * gradient.norm(p=1) / gradient.norm())
        walk = _Walk(problem, self.steps, unit, loss.detach(), gradient)
        search = torch.optim.LBFGS(
            [walk.point], max_iter=self.steps, max_eval=self.steps, line_search_fn="strong_wolfe"
        )
        with suppress(_Stopped):
            search.step(walk.evaluate)
        _put(problem.changes, walk.best)
        problem.project()
        yield from walk.losses[1:]


class _Walk:
    """The losses that L-BFGS has asked for, in a scaled space.

    Attributes:
        point: Where the next loss is asked for, in units of the changes.
        losses: All losses so far.
        best: The changes with the smallest loss, as one vector.
    """

    def __init__(self, problem: ValueProblem, steps: int, unit: float, loss: Tensor, gradient: Tensor):
        self._problem, self._steps, self._unit = problem, steps, unit
        self._first: tuple[Tensor, Tensor] | None = (loss, gradient)
        self.point = torch.zeros_like(gradient, requires_grad=True)
        self.losses = [loss.item()]
        self.best = torch.zeros_like(gradient)

    def evaluate(self) -> Tensor:
        """Compute the loss at the point, and its gradient there.

        Raises:
            _Stopped: If the search has reached its goal, or the losses are used up.
        """
        if self._first is not None:  # at no change, where the loss is known
            (loss, gradient), self._first = self._first, None
        else:
            changes = self._unit * self.point.detach()
            _put(self._problem.changes, changes)
            trial_loss = self._problem.loss()
            value = trial_loss.item()
            if not value >= min(self.losses):  # also if it is not finite, so that the edit is refused
                self.best = changes
            self.losses.append(value)
            if self._problem.is_met(value) or len(self.losses) == self._steps:
                raise _Stopped
            loss, gradient = trial_loss.detach(), _flat_gradient(trial_loss, self._problem.changes)
        self.point.grad = self._unit * gradient
        return loss


OPTIMIZERS: Mapping[OptimizerName, Callable[[float, int], ValueOptimizer]] = MappingProxyType(
    {"adam": Adam, "polyak": Polyak, "lbfgs": LBFGS}
)


def log_odds(loss: float) -> float:
    """Return log(p / (1 - p)) of the probability p = e^-loss."""
    return -loss - log(-expm1(-loss))


class _Stopped(Exception):
    """Ends a line search whose goal is reached; torch's search has no other way to end early."""


def _flat_gradient(loss: Tensor, changes: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(changes))])


@torch.no_grad()
def _put(changes: Sequence[Tensor], point: Tensor) -> None:
    """Set the changes to the parts of one vector."""
    for change, part in zip(changes, point.split([change.numel() for change in changes]), strict=True):
        change.copy_(part.reshape(change.shape))
