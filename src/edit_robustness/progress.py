"""Progress of long work: a bar with an estimate on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import ClassVar, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edit_robustness.logs import CONSOLE

T = TypeVar("T")
logger = logging.getLogger(__name__)

_EVERY = 15.0
"""Seconds between lines, at least."""

_GAP = 1.0
"""Items with fewer seconds between them came together."""


class _Display:
    """The bars of all threads, in one display: a terminal can have one only."""

    _lock: ClassVar[Lock] = Lock()
    _progress: ClassVar[Progress | None] = None
    _users: ClassVar[int] = 0

    @classmethod
    @contextmanager
    def shared(cls) -> Iterator[Progress]:
        """Show the display as long as somebody uses it."""
        with cls._lock:
            if cls._progress is None:
                columns = (
                    TextColumn("{task.description}"),
                    BarColumn(),
                    MofNCompleteColumn(),
                    TextColumn("{task.fields[state]}"),
                )
                rest = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
                cls._progress = Progress(*columns, *rest, console=CONSOLE)
                cls._progress.start()
            cls._users += 1
            progress = cls._progress
        try:
            yield progress
        finally:
            with cls._lock:
                cls._users -= 1
                if not cls._users:
                    cls._progress = None
                    progress.stop()


def track(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """Pass items on, and show how many of `total` are done or failed, their rate, and how long the rest will take.

    Args:
        items: The items, from however many processes they come. One with an `error` counts as failed, and so does one
            whose `value` has an `error`, such as an increment of a sequence.
        label: What they are.
        total: Their number.
    """
    if CONSOLE.is_terminal:
        with _Display.shared() as display:
            task = display.add_task(label, total=total, state="")
            for number, failures, seconds, item in _count(items):
                yield item
                display.update(task, completed=number, state=_state(number, failures, seconds))
        return
    start, last_line, last_time, burst_start, state_before = time.monotonic(), 0.0, 0.0, 0.0, ""
    number = failures = 0
    for number, failures, seconds, item in _count(items):
        yield item
        # a batch comes at once, and its first items say nothing of the rate
        begins_burst = seconds - last_time >= _GAP
        burst_start = seconds if begins_burst else burst_start
        state = _line(label, number, total, failures, seconds)
        line = state_before if begins_burst else state if seconds - burst_start >= _GAP else ""
        if line and seconds - last_line > _EVERY and number < total:
            last_line = seconds
            logger.info("%s", line)
        last_time, state_before = seconds, state
    seconds = time.monotonic() - start
    failed = f", {failures} failed" if failures else ""
    logger.info("%s: %d of %d in %.0f s%s", label, number, total, seconds, failed)


def _count(items: Iterable[T]) -> Iterator[tuple[int, int, float, T]]:
    """Yield with each item its number, how many have failed, and the seconds since the start."""
    start, failures = time.monotonic(), 0
    for number, item in enumerate(items, 1):
        failures += any(_has_error(part) for part in (item, getattr(item, "value", None)))
        yield number, failures, time.monotonic() - start, item


def _line(label: str, number: int, total: int, failures: int, seconds: float) -> str:
    seconds_left = seconds / number * (total - number)
    return f"{label}: {number} of {total}, {_state(number, failures, seconds)}, about {seconds_left:.0f} s left"


def _has_error(item: object) -> bool:
    return isinstance(getattr(item, "error", None), Exception | str)


def _state(number: int, failures: int, seconds: float) -> str:
    rate = f"{number / max(seconds, 1e-9):.2g}/s"
    return f"{rate}, {failures} failed" if failures else rate
