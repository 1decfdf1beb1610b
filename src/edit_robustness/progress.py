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


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Pass items on, and show how many of `total` are done and how long the rest will take."""
    if CONSOLE.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=CONSOLE) as bar:
            yield from bar.track(items, total=total, description=what)
        return
    started = shown = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - shown > _EVERY and done < total:
            shown = now
            logger.info("%s: %d of %d, about %.0f s left", what, done, total, (now - started) / done * (total - done))
    logger.info("%s: %d in %.0f s", what, total, time.monotonic() - started)
