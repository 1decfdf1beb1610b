"""Progress of long work: a bar with an estimate on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edit_robustness.logs import CONSOLE

T = TypeVar("T")
logger = logging.getLogger(__name__)

_EVERY = 15.0


def track(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """Pass items on, and show how many of `total` are done or failed, their rate, and how long the rest will take.

    Args:
        items: The items, from however many processes they come. One with an `error` counts as failed, and so does one
            whose `value` has an `error`, such as an increment of a sequence.
        label: What they are.
        total: Their number.
    """
    if CONSOLE.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
        )
        with Progress(*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=CONSOLE) as bar:
            task = bar.add_task(label, total=total, state="")
            for number, failures, seconds, item in _count(items):
                yield item
                bar.update(task, completed=number, state=_state(number, failures, seconds))
        return
    start = last_line = time.monotonic()
    number = failures = 0
    for number, failures, seconds, item in _count(items):
        yield item
        time_now = time.monotonic()
        if time_now - last_line > _EVERY and number < total:
            last_line, seconds_left = time_now, seconds / number * (total - number)
            logger.info(
                "%s: %d of %d, %s, about %.0f s left",
                label,
                number,
                total,
                _state(number, failures, seconds),
                seconds_left,
            )
    seconds = time.monotonic() - start
    failed = f", {failures} failed" if failures else ""
    logger.info("%s: %d of %d in %.0f s%s", label, number, total, seconds, failed)


def _count(items: Iterable[T]) -> Iterator[tuple[int, int, float, T]]:
    """Yield with each item its number, how many have failed, and the seconds since the start."""
    start, failures = time.monotonic(), 0
    for number, item in enumerate(items, 1):
        failures += any(_has_error(part) for part in (item, getattr(item, "value", None)))
        yield number, failures, time.monotonic() - start, item


def _has_error(item: object) -> bool:
    return isinstance(getattr(item, "error", None), Exception | str)


def _state(number: int, failures: int, seconds: float) -> str:
    rate = f"{number / max(seconds, 1e-9):.2g}/s"
    return f"{rate}, {failures} failed" if failures else rate
