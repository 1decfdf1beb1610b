"""Parts of a task: what one worker is handed at a time, and what of it is made again after its death.

It is counted how often an item was in the hands of a worker that died. A suspect is made alone before it is given up,
because the death of a process does not say which of its items was guilty.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from edit_robustness.datasets.failures import Attempt, reason_of, select_batches
from edit_robustness.workers.work import Task, WorkerDied

logger = logging.getLogger(__name__)

_MOST = 8
"""Items of a part, if they need not be made together."""

_PARTS_PER_WORKER = 4


@dataclass
class Part:
    """Items that one worker makes, and how often a worker died over them.

    Attributes:
        keys: The items, in the order in which they are made.
        deaths: How often a worker died over it; of several items that are made in order, over the first.
        whole: Whether they are made together.
    """

    keys: list[str]
    deaths: int = 0
    whole: bool = False


@dataclass
class Running:
    """A part in the hands of a worker, which begins it when it has loaded the model."""

    part: Part
    worker: Any
    has_begun: bool = False
    made_keys: set[str] = field(default_factory=set)


def cut(task: Task[Any], n_workers: int) -> list[Part]:
    """Return the parts of a task: the batches of the run, or parts so small that every worker has some."""
    if task.batches is not None:
        return [Part(batch, whole=True) for batch in select_batches(task.batches, task.keys)]
    keys, size = task.keys, 1
    if task.in_batches and task.advance is None:
        size = max(1, min(_MOST, len(keys) // (n_workers * _PARTS_PER_WORKER)))
    return [Part(list(keys[start : start + size])) for start in range(0, len(keys), size)]


def requeue(
    task: Task[Any], inputs: dict[str, Any], state: Running, queue: deque[Part], death: Exception, retries: int
) -> Iterator[Attempt[Any]]:
    """Queue again what a worker that died had not yet made, and yield what is given up.

    Only an item that was alone is given up. What is made together is made together again as often as retries allow,
    and then each item alone. Of items that are made in order, the first that is not yet made is under suspicion.

    Args:
        task: The task.
        inputs: For each stream of the task, what is still to be made.
        state: The part in the hands of the worker.
        queue: The parts that no worker makes yet.
        death: The error of the worker.
        retries: How often an item is made again.
    """
    part = state.part
    if not state.has_begun:
        # no item was in its hands: it died beforehand, or over the model
        logger.warning("a worker died before it had loaded the model: %s", reason_of(death).split(".")[0])
        queue.appendleft(part)
        return
    left_keys = part.keys if task.advance else [key for key in part.keys if key not in state.made_keys]
    logger.warning("a worker died with %d items in hand: %s", len(left_keys), reason_of(death).split(".")[0])
    # a stream that came on has another value in hand
    deaths = 1 if task.advance and state.made_keys else part.deaths + 1
    is_over, is_alone = deaths > retries, len(part.keys) == 1
    if not left_keys:
        return
    if is_alone and is_over:
        (key,), error = left_keys, WorkerDied(f"the worker died {deaths} times over it")
        yield Attempt(key, None, 0.0, error)
        if task.advance is not None and (rest := task.advance(inputs[key], error)) is not None:
            inputs[key] = rest
            queue.append(Part([key]))
    elif is_alone or (part.whole and not is_over):
        queue.append(replace(part, deaths=deaths))
    elif part.whole:
        queue.extend(Part([key], deaths) for key in left_keys)
    else:
        suspect, *innocent_keys = left_keys
        queue.append(Part([suspect], deaths))
        if innocent_keys:
            queue.append(Part(innocent_keys))
