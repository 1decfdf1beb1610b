"""Training of one network in rounds: resumable bit for bit, stopped early, the best kept."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edit_robustness.progress import track


@dataclass(frozen=True)
class Pace:
    """How long a network is trained.

    Attributes:
        lr: Adam's rate.
        steps: Most steps.
        per_round: Steps between two looks at the held-out loss.
        patience: Stop after this many rounds without a better held-out loss.
    """

    lr: float
    steps: int
    per_round: int
    patience: int


class Course:
    """A network in training.

    Args:
        parameters: What is trained, by name.
        loss: The loss of a step's batch, by the number of the step; the batch depends on nothing else.
        held_out: The loss on what is held out.
        pace: How long.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[int], Tensor],
        held_out: Callable[[], Tensor],
        pace: Pace,
    ):
        self._parameters, self._loss, self._held_out, self._pace = dict(parameters), loss, held_out, pace
        for parameter in self._parameters.values():
            parameter.requires_grad_()
        self._optimiser = torch.optim.Adam(self._parameters.values(), lr=pace.lr)
        self.best = self._weights()
        self.curve = torch.zeros(0, 3)
        """(rounds, 3): steps so far, mean loss of the round, held-out loss."""

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or the held-out loss has not improved for too long."""
        if not len(self.curve):
            return False
        waited = len(self.curve) - 1 - int(self.curve[:, 2].argmin())
        return int(self.curve[-1, 0]) >= self._pace.steps or waited >= self._pace.patience

    def states(self, what: str, started: Mapping[str, Tensor] | None = None) -> Iterator[dict[str, Tensor]]:
        """Train to the end, from a state if one is given; the state after each round, or the finished one again."""
        if started:
            self._resume(started)
        if self.finished:
            yield self._state()
            return
        done, losses = int(self.curve[-1, 0]) if len(self.curve) else 0, []
        for step in track(range(done, self._pace.steps), what, self._pace.steps - done):
            losses.append(self._step(step))
            if (step + 1) % self._pace.per_round == 0 or step + 1 == self._pace.steps:
                self._look(step + 1, losses)
                losses = []
                yield self._state()
                if self.finished:
                    return

    def _step(self, step: int) -> float:
        self._optimiser.zero_grad()
        with torch.enable_grad():
            loss = self._loss(step)
            loss.backward()
        self._optimiser.step()
        return loss.item()

    def _look(self, steps: int, losses: list[float]) -> None:
        with torch.no_grad():
            held_out = self._held_out().item()
        if not len(self.curve) or held_out < self.curve[:, 2].min():
            self.best = self._weights()
        row = torch.tensor([[steps, sum(losses) / len(losses), held_out]])
        self.curve = torch.cat([self.curve, row])

    def _weights(self) -> dict[str, Tensor]:
        return {name: parameter.detach().cpu().clone() for name, parameter in self._parameters.items()}

    def _state(self) -> dict[str, Tensor]:
        """All that going on needs."""
        moments = {
            f"adam.{key}.{name}": value.cpu().clone()
            for name, parameter in self._parameters.items()
            for key, value in self._optimiser.state[parameter].items()
        }
        weights = {f"now.{name}": tensor for name, tensor in self._weights().items()}
        best = {f"best.{name}": tensor for name, tensor in self.best.items()}
        return {"curve": self.curve, **weights, **best, **moments}

    def _resume(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state; the steps that follow are those that would have followed there."""
        self.curve = state["curve"].clone()
        for name, parameter in self._parameters.items():
            parameter.data.copy_(state[f"now.{name}"])
            self.best[name] = state[f"best.{name}"].clone()
            for key in ("step", "exp_avg", "exp_avg_sq"):
                moment = state[f"adam.{key}.{name}"]
                own = moment if key == "step" else moment.to(parameter.device)
                self._optimiser.state[parameter][key] = copy.deepcopy(own)
