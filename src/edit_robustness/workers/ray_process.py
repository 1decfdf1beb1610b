"""The process of a worker: what runs inside a Ray actor, with one model."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from edit_robustness.datasets.failures import Attempt, reason_of, run_attempts
from edit_robustness.datasets.language_model import LanguageModelDataset
from edit_robustness.machine import cpu_seconds
from edit_robustness.models.language_model import LanguageModel, RemoteWeights
from edit_robustness.workers.pool import ThisProcess
from edit_robustness.workers.work import Task, UnusableWorkers

Message = tuple[str, int, str]
"""The name of a logger, a level and a text."""


class _Messages(logging.Handler):
    """Collects what a worker warns of, for the log of the driver. Failures are left out: the driver reports them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._messages: list[Message] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        if record.name != run_attempts.__module__:
            self._messages.append((record.name, record.levelno, record.getMessage()))

    def take(self) -> list[Message]:
        """Return the messages since the last call."""
        messages, self._messages = self._messages, []
        return messages


class WorkerProcess:
    """Makes the items that it is asked for, with the model that it was asked for last.

    Args:
        threads: Compute threads.
        folder: The working folder of the process that starts the run.
    """

    def __init__(self, threads: int, folder: str):
        torch.set_num_threads(threads)
        # paths of settings may be relative
        if os.path.isdir(folder):
            os.chdir(folder)
        self._name, self._shared, self._cpu_seconds = "", (), 0.0
        self._messages, root = _Messages(), logging.getLogger("edit_robustness")
        root.addHandler(self._messages)
        root.setLevel(logging.WARNING)

    def confirm(self) -> None:
        """Answer once the worker has started."""

    def tell(self, entry: Mapping[str, Any]) -> tuple[RemoteWeights, float]:
        """Load a model, and return what the process that starts the run must know of it, and CPU seconds."""
        lm = _load(entry)
        return RemoteWeights(lm.fingerprint, lm.environment, lm.finite, lm.size), self._spend()

    def make(
        self, model: tuple[Mapping[str, Any], str], part: Task[Any], shared: list[Any]
    ) -> Iterator[tuple[Attempt[Any], str, list[Message], float] | None]:
        """Yield None once the model is loaded, and then the attempts.

        With each attempt, which is without its error, come the reason of its failure (empty for none), messages, and
        CPU seconds.

        Args:
            model: The settings of the model, and its fingerprint.
            part: The items, without what all items share.
            shared: A reference to that.
        """
        import ray

        entry, name = model
        lm = _load(entry)
        if lm.fingerprint != name:
            raise UnusableWorkers("a worker loads another model than this process: the model's files differ")
        # the driver has loaded the model, too, and has said this
        self._messages.take()
        task = part.with_shared(self._receive(shared[0]))
        # from here on a death may be the fault of an item
        yield None
        for attempt in ThisProcess().attempts(lm, task):
            reason = "" if attempt.error is None else reason_of(attempt.error)
            yield replace(attempt, error=None), reason, self._messages.take(), self._spend()
            if ray.get_runtime_context().is_canceled():
                return

    def _spend(self) -> float:
        """Return the CPU seconds of this process since the last call; at first since it began."""
        before, self._cpu_seconds = self._cpu_seconds, cpu_seconds()
        return self._cpu_seconds - before

    def _receive(self, ref: Any) -> tuple[Any, ...]:
        """Return what all items share; it is received once."""
        import ray

        if self._name != ref.hex():
            self._name, self._shared = "", ()
            self._shared = ray.get(ref)
            self._name = ref.hex()
        return self._shared


def _load(entry: Mapping[str, Any]) -> LanguageModel:
    """Load a model in a worker.

    Raises:
        UnusableWorkers: If it cannot be loaded.
    """
    try:
        return LanguageModelDataset(**entry).load()
    except Exception as error:  # noqa: BLE001 - whatever it is, the run ends with its text
        # its own class may have no name in the other process
        raise UnusableWorkers(f"a worker cannot load the model: {reason_of(error)}") from None
