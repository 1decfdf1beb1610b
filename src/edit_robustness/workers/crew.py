"""The crew: which worker may make the items of which model."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition
from typing import Any

from edit_robustness.workers.work import NoWorkers

_GAP_SECONDS = 2.0
"""For so long a worker without work waits for the next node of its model before it loads another one."""

_LOOK_SECONDS = 0.25
"""How often a thread looks whether a worker has become free for its model."""


class Stopped(NoWorkers, RuntimeError):
    """Error of work that goes on while its run ends."""


class NobodyLeft(NoWorkers, ValueError):
    """Error of work whose last worker is lost."""

    def __init__(self) -> None:
        super().__init__(
            "workers: the last worker died, and no machine has room for another; what is done is kept, and the same "
            "command goes on with it"
        )


@dataclass
class _Member:
    """A worker, the model that it has or will have, whether it has work, and since when it has none."""

    worker: Any
    model: str = ""
    is_busy: bool = False
    idle_since: float = 0.0


class Crew:
    """Workers that the threads of several models take and give back.

    The models with parts that nobody makes yet have equal shares of the workers. A worker keeps its model as long as
    that has such parts, and for a moment longer, since a node of it often follows. If there are more models than
    workers, the first that came are served first.
    """

    def __init__(self) -> None:
        self._members: list[_Member] = []
        # of each model that has work, in the order in which they came: the parts that nobody makes yet, by thread
        self._queues: dict[str, list[Sized]] = {}
        self._change = Condition()
        self._is_stopped = False

    @property
    def workers(self) -> list[Any]:
        """Return the workers that are alive."""
        return [member.worker for member in self._members]

    def join(self, workers: Iterable[Any]) -> None:
        """Let workers belong to the crew."""
        with self._change:
            self._members += [_Member(worker) for worker in workers]
            self._change.notify_all()

    def stop(self) -> None:
        """End the work of all threads: each gets an error when it next wants a worker or looks."""
        with self._change:
            self._is_stopped = True
            self._change.notify_all()

    @contextmanager
    def working_for(self, model: str, queue: Sized) -> Iterator[None]:
        """Count a thread among those that have work for a model.

        Args:
            model: The model.
            queue: What no worker makes yet, as it is at any time.
        """
        with self._change:
            self._queues.setdefault(model, []).append(queue)
        try:
            yield
        finally:
            with self._change:
                # queues are equal when they are empty
                queues = [entry for entry in self._queues[model] if entry is not queue]
                if queues:
                    self._queues[model] = queues
                else:
                    del self._queues[model]
                self._change.notify_all()

    def look_for_end(self) -> None:
        """Raise an error if the run ends.

        Raises:
            Stopped: If the run ends.
        """
        if self._is_stopped:
            raise Stopped("the run ends")

    def look(self) -> None:
        """Raise an error if the run ends or nobody is left.

        Raises:
            Stopped: If the run ends.
            NobodyLeft: If all workers are lost.
        """
        self.look_for_end()
        if not self._members:
            raise NobodyLeft

    def take(self, model: str, *, wait: bool = False) -> Any | None:
        """Return a free worker for a model.

        Args:
            model: The model.
            wait: Whether to wait until one is free. If not, None is returned if there is none now.

        Raises:
            Stopped: If the run ends.
            NobodyLeft: If all workers are lost.
        """
        while True:
            with self._change:
                self.look()
                member = self._choose(model)
                if member is not None:
                    member.model, member.is_busy = model, True
                    return member.worker
                if not wait:
                    return None
                self._change.wait(_LOOK_SECONDS)

    def give_back(self, worker: Any) -> None:
        """Let others take a worker."""
        with self._change:
            for member in self._members:
                if member.worker is worker:
                    member.is_busy, member.idle_since = False, time.monotonic()
            self._change.notify_all()

    def replace(self, worker: Any, successor: Any | None) -> None:
        """Put a new worker, which has no model yet, in the place of one that died; None if there is none."""
        with self._change:
            place = self.workers.index(worker)
            self._members[place : place + 1] = [] if successor is None else [_Member(successor)]
            self._change.notify_all()

    def _choose(self, model: str) -> _Member | None:
        """Return the free worker that costs the fewest loads of a model; None if others have a right to it.

        If a worker is free, at least one model that wants it gets it: all shares together are all workers.
        """
        free = [member for member in self._members if not member.is_busy]
        counts = Counter(member.model for member in self._members if member.is_busy)
        shares = self._share(counts, model)
        models_below_share = {name for name, share in shares.items() if counts[name] < share}
        if models_below_share and model not in models_below_share:
            return None
        same_model = [member for member in free if member.model == model]
        without_model = [member for member in free if not member.model]
        without_work = [
            member
            for member in free
            if member.model not in shares and time.monotonic() - member.idle_since >= _GAP_SECONDS
        ]
        beyond_share = [member for member in free if member.model in shares and member.model not in models_below_share]
        return next(iter([*same_model, *without_model, *without_work, *beyond_share]), None)

    def _share(self, counts: Mapping[str, int], model: str) -> dict[str, int]:
        """Return how many workers each model may have that wants another one, as `model` does.

        Args:
            counts: For each model its busy workers. Those of a model that wants no other one are not shared.
            model: The model that wants a worker.
        """
        names = dict.fromkeys(name for name, queues in self._queues.items() if name == model or any(map(len, queues)))
        names.setdefault(model)
        n_shared = len(self._members) - sum(count for name, count in counts.items() if name not in names)
        share, n_larger = divmod(n_shared, len(names))
        return {name: share + (place < n_larger) for place, name in enumerate(names)}
