"""Time and memory of edits, taken in the same way on both sides.

It knows nothing of this project, for it also runs where only torch is installed.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

_STATUS = Path("/proc/self/status")
_PEAK = Path("/proc/self/clear_refs")


class MeasuredOnce(RuntimeError):
    """A model that is watched already."""


@dataclass
class Lap:
    """Time since the last lap, in seconds.

    Attributes:
        wall: By the clock.
        cpu: Of the processor, all threads and child processes that have ended.
        forward: Of `cpu`, in the model's forward passes.
        backward: Of `cpu`, in backward passes.
        steps: How many backward passes.
        tokens: How many tokens went through forward passes that kept a graph, padding included.
    """

    wall: float = 0.0
    cpu: float = 0.0
    forward: float = 0.0
    backward: float = 0.0
    steps: int = 0
    tokens: int = 0

    def since(self, before: Lap) -> Lap:
        """Return the difference to an earlier reading."""
        return Lap(*(getattr(self, f.name) - getattr(before, f.name) for f in fields(self)))


@dataclass
class Meter:
    """Reads the clocks; counts the passes of a model while it is watching."""

    spent: Lap = field(default_factory=Lap)
    last: Lap = field(default_factory=Lap)

    def lap(self) -> Lap:
        """Return the time since the last call; the first call starts the clocks."""
        total = Lap(
            time.perf_counter(), cpu_seconds(), self.spent.forward, self.spent.backward, self.spent.steps,
            self.spent.tokens,
        )  # fmt: skip
        lap, self.last = total.since(self.last), total
        return lap

    @contextmanager
    def watch(self, model: Any) -> Iterator[Meter]:
        """Time, inside a `with` block, the forward passes of this model and all backward passes.

        Raises:
            MeasuredOnce: If another meter watches the model.
        """
        if "forward" in vars(model):
            raise MeasuredOnce("the model's forward is wrapped already: one meter at a time")
        forward, grad, backward = model.forward, torch.autograd.grad, torch.Tensor.backward
        model.forward = self._time_calls(forward, "forward", self._count_tokens)
        torch.autograd.grad = self._time_calls(grad, "backward", self._count_step)
        torch.Tensor.backward = self._time_calls(backward, "backward", self._count_step)  # type: ignore[method-assign]
        try:
            yield self
        finally:
            torch.autograd.grad, torch.Tensor.backward = grad, backward  # type: ignore[method-assign]
            del model.forward

    def _time_calls(self, call: Callable[..., Any], name: str, count: Callable[..., None]) -> Callable[..., Any]:
        def timed_call(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            count(args, kwargs)
            try:
                return call(*args, **kwargs)
            finally:
                setattr(self.spent, name, getattr(self.spent, name) + time.process_time() - start)

        return timed_call

    def _count_tokens(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        if torch.is_grad_enabled() and ids is not None:
            self.spent.tokens += ids.numel()

    def _count_step(self, *_: Any) -> None:
        self.spent.steps += 1


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def forget_peak() -> None:
    """Begin the peak memory anew, where the system can; elsewhere it is that of the process's whole life."""
    if _PEAK.exists():
        _PEAK.write_text("5")


def peak_memory() -> int:
    """Return the largest resident memory in bytes since `forget_peak`."""
    if _STATUS.exists():
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """So many threads in this process, for the length of the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
