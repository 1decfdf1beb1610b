"""Work: the items of a node as a value, which another process can do with a model of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from edit_robustness.models.language_model import LanguageModel

T = TypeVar("T")


class NoWorkers(Exception):
    """Base of the errors that end a run because no worker makes its items, whatever items these are."""


class UnusableWorkers(NoWorkers, ValueError):
    """Workers that cannot do the work as the settings say."""


class WorkerDied(RuntimeError):
    """Error of an item whose worker died each time that it was made."""


@dataclass(frozen=True)
class Work(Generic[T]):
    """Items that one function makes on a model.

    Attributes:
        function: ``function(lm, inputs, *shared)`` yields the item of each input, in order. It is a function of a
            module, so that it has a name in another process.
        inputs: For each key what its item is made from.
        shared: What all items are made from. It is sent to each worker once.
    """

    function: Callable[..., Iterable[T]]
    inputs: Mapping[str, Any]
    shared: tuple[Any, ...] = field(default=(), repr=False)

    def make(self, lm: LanguageModel, keys: Sequence[str]) -> Iterable[T]:
        """Return the items of some keys, in order."""
        return self.function(lm, [self.inputs[key] for key in keys], *self.shared)


@dataclass(frozen=True)
class Task(Generic[T]):
    """Items of a work that a node wants.

    Attributes:
        work: The items.
        keys: Which of them are wanted.
        name: What is made, for the log.
        batches: All items of the run, if results depend on which of them are made together
            (`datasets.failures.run_batches`).
        in_batches: Whether several items share work. If not, each is handed out alone and tried once.
        advance: Given if each key is a stream: the function yields any number of values for its one input.
            ``advance(input, value)`` returns the input that makes the values after this one, so that a worker that dies
            costs the value in hand. For the error of a value over which workers died too often it returns the input
            that makes the values after that, or None if the stream ends there. Errors are left for the node to report.
        check: Raises an error for an item that must not be kept.
        patience: As in `datasets.failures.run_attempts`; failures are counted in the order in which items come.
    """

    work: Work[T]
    keys: Sequence[str]
    name: str
    batches: Sequence[Sequence[str]] | None = None
    in_batches: bool = True
    advance: Callable[[Any, T | WorkerDied], Any] | None = None
    check: Callable[[T], None] | None = None
    patience: int | None = None

    def part(self, keys: Sequence[str]) -> Task[T]:
        """Return the task of making some keys together, without what all share, and without a limit of failures.

        Failures in a row are those of the whole task, which only the process that hands it out sees.
        """
        work = replace(self.work, inputs={key: self.work.inputs[key] for key in keys}, shared=())
        return replace(self, work=work, keys=keys, batches=None, patience=None)

    def with_shared(self, shared: tuple[Any, ...]) -> Task[T]:
        """Return the task with what all items are made from."""
        return replace(self, work=replace(self.work, shared=shared))
