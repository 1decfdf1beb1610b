"""The workers of a run, and the default: this process."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any, ClassVar, TypeVar

from edit_robustness.datasets.failures import Attempt, run_attempts, run_batches
from edit_robustness.datasets.language_model import LanguageModelDataset
from edit_robustness.models.language_model import LanguageModel, RemoteWeights
from edit_robustness.workers.work import Task

T = TypeVar("T")


class Workers(ABC):
    """Processes that make items."""

    @abstractmethod
    def attempts(self, lm: LanguageModel, task: Task[T]) -> Iterator[Attempt[T]]:
        """Make items, and yield each one or its error as soon as it is there."""

    @abstractmethod
    def close(self) -> None:
        """End the processes."""

    @property
    def hold(self) -> Callable[[Mapping[str, Any]], RemoteWeights] | None:
        """Return the function by which a worker loads a model; None if this process holds it."""
        return None

    @abstractmethod
    def stop(self) -> None:
        """Let the threads that wait for items end with an error."""


class ThisProcess(Workers):
    """No other process: items are made here, one after another."""

    _turn: ClassVar[Lock] = Lock()
    """Held by the thread that uses the model whose weights are here although the run has other workers."""

    def attempts(self, lm: LanguageModel, task: Task[T]) -> Iterator[Attempt[T]]:
        """Make items in order. If another process holds the weights of the model, they are loaded here, too."""
        with nullcontext() if lm.has_weights else self._turn:
            lm = LanguageModelDataset.with_weights(lm)
            environment = lm.environment
            for attempt in self._attempts(lm, task):
                yield replace(attempt, environment=environment)

    def _attempts(self, lm: LanguageModel, task: Task[T]) -> Iterator[Attempt[T]]:
        if task.advance is not None:
            return _stream(lm, task)
        make: Any = partial(task.work.make, lm)
        options: dict[str, Any] = {"check": task.check, "patience": task.patience}
        if task.batches is None:
            return run_attempts(task.keys, make, task.name, in_batches=task.in_batches, **options)
        return run_batches(task.batches, task.keys, make, task.name, **options)

    def close(self) -> None:
        """Do nothing: there is no process to end."""

    def stop(self) -> None:
        """Do nothing: no other thread waits."""


def _stream(lm: LanguageModel, task: Task[T]) -> Iterator[Attempt[T]]:
    """Yield the values of one stream after another; an error ends its stream."""
    for key in task.keys:
        start = time.perf_counter()
        values = iter(task.work.make(lm, [key]))
        while True:
            try:
                value = next(values)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - the node decides what an error costs
                yield Attempt(key, None, time.perf_counter() - start, error)
                break
            yield Attempt(key, value, time.perf_counter() - start)
            start = time.perf_counter()


class _Holder:
    """The workers of the run in this process."""

    workers: ClassVar[Workers] = ThisProcess()


def current_workers() -> Workers:
    """Return the workers of the run."""
    return _Holder.workers


def use_workers(workers: Workers) -> None:
    """Let nodes hand their items to these workers, and end those before."""
    _Holder.workers.close()
    _Holder.workers = workers
    LanguageModelDataset.hold = workers.hold
    LanguageModelDataset.forget_outlines()
