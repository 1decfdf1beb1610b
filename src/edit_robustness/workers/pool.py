"""The workers of a run, and the default: this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

from edit_robustness.datasets.failures import Attempt, run_attempts, run_batches
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.workers.work import Work

T = TypeVar("T")


class Workers(ABC):
    """Processes that make items."""

    @abstractmethod
    def attempts(
        self,
        lm: LanguageModel,
        work: Work[T],
        keys: Sequence[str],
        task: str,
        *,
        batches: Sequence[Sequence[str]] | None = None,
        check: Callable[[T], None] | None = None,
        patience: int | None = None,
    ) -> Iterator[Attempt[T]]:
        """Make items, and yield each one or its error as soon as it is there.

        Args:
            lm: The model.
            work: The items.
            keys: Which of them are wanted.
            task: What is made, for the log.
            batches: All items of the run, if results depend on which of them are made together (`run_batches`).
            check: Raises an error for an item that must not be kept.
            patience: As in `run_attempts`.
        """

    @abstractmethod
    def close(self) -> None:
        """End the processes."""


class ThisProcess(Workers):
    """No other process: items are made here, one after another."""

    def attempts(
        self,
        lm: LanguageModel,
        work: Work[T],
        keys: Sequence[str],
        task: str,
        *,
        batches: Sequence[Sequence[str]] | None = None,
        check: Callable[[T], None] | None = None,
        patience: int | None = None,
    ) -> Iterator[Attempt[T]]:
        """Make items in order."""
        make: Any = partial(work.make, lm)
        if batches is None:
            return run_attempts(keys, make, task, check=check, patience=patience)
        return run_batches(batches, keys, make, task, check=check, patience=patience)

    def close(self) -> None:
        """Do nothing: there is no process to end."""


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
