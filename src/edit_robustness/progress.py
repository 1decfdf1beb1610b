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
    """Pass items on, and show how many of `total` are done and how long the rest will take."""
    if CONSOLE.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=CONSOLE) as bar:
            yield from bar.track(items, total=total, description=label)
        return
    start = last_line = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        time_now = time.monotonic()
        if time_now - last_line > _EVERY and number < total:
            last_line = time_now
            logger.info(
                "%s: %d of %d, about %.0f s left", label, number, total, (time_now - start) / number * (total - number)
            )
    logger.info("%s: %d in %.0f s", label, total, time.monotonic() - start)
