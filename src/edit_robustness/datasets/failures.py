"""Failed items: nodes make items so that one failure loses only one item, and list them in a table.

A fact, an edit, a batch of answers, a benchmark or a conversation that raises an error becomes a file with the reason
(`StoredItem.failure`). The others go on. A rerun makes exactly the lost items again, because they count as missing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pandas as pd

from edit_robustness.datasets.folders import StoredItem
from edit_robustness.text.secrets import redact

T = TypeVar("T")
logger = logging.getLogger(__name__)

FAILED_COLUMNS = {name: "str" for name in ("model", "method", "stage", "key", "fact_id", "reason", "failed_at")}
"""Columns of a table of failed items, and their types."""

STOP = "stop_at_failure"
"""Name of the parameter that ends a run at the first failed item."""

PATIENCE = 3
"""After so many failures one after another, a service that answers nothing is not asked again in this run."""

_LONGEST = 1000
"""Characters of a reason."""


class _Policy:
    """The policy for failures in this process; set by the project's context."""

    stop: bool = False


def stop_at_failure(stop: object) -> None:
    """Set whether the first failed item ends a run.

    Args:
        stop: The value of the parameter `stop_at_failure`.

    Raises:
        ValueError: If it is neither true nor false.
    """
    if not isinstance(stop, bool):
        raise ValueError(f"{STOP}: true or false, not {stop!r}")
    _Policy.stop = stop


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """Item that was made or has failed.

    Attributes:
        key: Its name in the folder.
        value: The item; None if it failed.
        seconds: Since the item before.
        error: The error; None if it was made.
        environment: The device and the dtype on which it was made.
    """

    key: str
    value: T | None
    seconds: float
    error: Exception | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def to_items(
        self, fingerprint: str, header: Mapping[str, Any] | None = None, **failed_header: Any
    ) -> dict[str, StoredItem[T]]:
        """Return what a node yields for it.

        Args:
            fingerprint: Of all that the item follows from.
            header: Plain values beside an item that was made.
            **failed_header: Plain values beside one that failed.
        """
        if self.error is not None:
            return {self.key: StoredItem.failed_item(fingerprint, reason_of(self.error), **failed_header)}
        return {self.key: StoredItem.of(fingerprint, self.value, **(header or {}))}  # type: ignore[arg-type]


def run_attempts(
    keys: Sequence[str],
    make: Callable[[Sequence[str]], Iterable[T]],
    task: str,
    *,
    check: Callable[[T], None] | None = None,
    in_batches: bool = True,
    patience: int | None = None,
) -> Iterator[Attempt[T]]:
    """Make items in order. An error loses one item, not the run.

    As long as nothing fails, `make` is called once with all keys, so that it can share work between them. After an
    error it gets the next item alone, then groups that double in size: which item of a batch the error is of is not
    known before.

    Args:
        keys: The items, in order.
        make: Yields the item of each key that it is given, in order.
        task: What is made, for the log.
        check: Raises an error for an item that must not be kept.
        in_batches: Whether `make` works on several items at once. If not, no item is tried twice.
        patience: After so many failures one after another the rest is lost, too; None to try every item.

    Raises:
        FailedItem: The first item that fails, if the run is to stop there (`stop_at_failure`).
    """
    queue, size, failures = list(keys), len(keys), 0
    while queue:
        group, start, is_over = queue[:size], time.perf_counter(), False
        for value, error, is_over in _outcomes(_start(make, group), check):
            if is_over and in_batches and len(group) > 1:
                break
            if error is not None:
                report_failure(task, queue[0], error)
            failures = 0 if error is None else failures + 1
            yield Attempt(queue.pop(0), value, time.perf_counter() - start, error)
            start = time.perf_counter()
            if patience is not None and queue and failures >= patience:
                yield from skip_rest(queue, task, failures, error)
                return
        if not is_over and queue[: len(group)] == group:
            raise RuntimeError(f"{task}: nothing was made of {len(group)} items")
        size = len(queue) if not in_batches else 1 if is_over else 2 * size


def select_batches(batches: Sequence[Sequence[str]], missing_keys: Collection[str]) -> list[list[str]]:
    """Return the batches of which an item is missing, whole."""
    wanted_keys = set(missing_keys)
    return [list(batch) for batch in batches if not wanted_keys.isdisjoint(batch)]


def run_batches(
    batches: Sequence[Sequence[str]],
    missing_keys: Collection[str],
    make: Callable[[Sequence[str]], Iterable[T]],
    task: str,
    *,
    check: Callable[[T], None] | None = None,
    patience: int | None = None,
) -> Iterator[Attempt[T]]:
    """Make missing items in the batches of a whole run, so that the last digits are those of an undisturbed run.

    Sums of floats depend on the batch. So a batch of which an item is missing is made whole, and the other items of it
    are dropped. After an error only the rest of its own batch is cut into smaller groups.

    Args:
        batches: All items of the run, in order: those that are made together.
        missing_keys: The items that are wanted.
        make: Yields the item of each key that it is given, in order. The keys are of one batch.
        task: What is made, for the log.
        check: As in `run_attempts`.
        patience: As in `run_attempts`.
    """
    wanted_keys, failures = set(missing_keys), 0
    queue = select_batches(batches, wanted_keys)
    while queue:
        batch = queue.pop(0)
        for number, attempt in enumerate(run_attempts(batch, make, task, check=check), 1):
            failures = 0 if attempt.error is None else failures + 1
            if attempt.key in wanted_keys:
                yield attempt
            if patience is not None and failures >= patience:
                rest_keys = [*batch[number:], *(key for later in queue for key in later)]
                yield from skip_rest([key for key in rest_keys if key in wanted_keys], task, failures, attempt.error)
                return


def _start(make: Callable[[Sequence[str]], Iterable[T]], group: Sequence[str]) -> Iterator[T]:
    """Yield the items of a group. An error that `make` raises before its first item counts for the first item."""
    yield from make(group)


def _outcomes(
    items: Iterator[T], check: Callable[[T], None] | None
) -> Iterator[tuple[T | None, Exception | None, bool]]:
    """Yield each item or its error, and whether the error ends the iteration."""
    while True:
        try:
            value = next(items)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001 - whatever one item raises must not lose the others
            yield None, error, True
            return
        try:
            if check is not None:
                check(value)
        except Exception as error:  # noqa: BLE001 - as above
            yield None, error, False
        else:
            yield value, None, False


def skip_rest(keys: Sequence[str], task: str, failures: int, error: Exception | None) -> Iterator[Attempt[Any]]:
    """Yield a failed attempt for each item that is not tried, because too many before it failed.

    Args:
        keys: The items.
        task: What is made, for the log.
        failures: How many failed one after another.
        error: The error of the last one.
    """
    if not keys:
        return
    logger.warning("%s: %d more are not tried, because %d failed one after another", task, len(keys), failures)
    for key in keys:
        yield Attempt(key, None, 0.0, NotAttempted(f"not tried after {failures} failures in a row: {reason_of(error)}"))


class FailedItem(RuntimeError):
    """Error of the failed item at which a run stops."""


class NotAttempted(RuntimeError):
    """Error of an item that was skipped because too many before it failed."""


def report_failure(task: str, key: str, error: Exception | str) -> None:
    """Log a failed item in one line; its traceback goes where debug records go.

    Raises:
        FailedItem: If the run is to stop there (`stop_at_failure`).
    """
    if _Policy.stop:
        raise FailedItem(f"{task}: {key} failed: {reason_of(error)}") from (
            error if isinstance(error, Exception) else None
        )
    logger.warning("%s: %s failed: %s", task, key, reason_of(error))
    if isinstance(error, Exception):
        logger.debug("%s: %s failed", task, key, exc_info=error)
        # the frames in it hold what was computed, such as tensors on a GPU
        error.__traceback__ = None


def reason_of(error: Exception | str | None) -> str:
    """Return an error's text in one line; that of a defect with the error's name before it."""
    text = redact(" ".join(str(error).split())) or type(error).__name__
    if isinstance(error, KeyError | IndexError | TypeError | AttributeError | AssertionError):
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def lose_all(fingerprints: Mapping[str, str], preparation: StoredItem[Any]) -> Iterator[dict[str, StoredItem[Any]]]:
    """Yield a failed item for every edit of a method whose preparation failed.

    Args:
        fingerprints: The fingerprint of each edit by the id of its fact.
        preparation: What could not be made, with its reason.
    """
    for key, fingerprint in fingerprints.items():
        yield {key: StoredItem.failed_item(fingerprint, preparation.failure, stage="prepare", fact_id=key)}


Folder = Mapping[str, StoredItem[Any]]


def failed_table(model: str, folders: Iterable[tuple[str, str, Folder | None]]) -> pd.DataFrame:
    """Return a row for each item of some folders that could not be made.

    Args:
        model: Whose folders these are.
        folders: For each folder its method ("" if it is of none), the stage that fills it, and its items.

    Returns:
        `FAILED_COLUMNS`; `fact_id` is empty where an item is not of one fact.
    """
    rows = [
        {
            "model": model,
            "method": item.header.get("method", method),
            "stage": item.header.get("stage", stage),
            "key": key,
            "fact_id": item.header.get("fact_id", ""),
            "reason": item.failure,
            "failed_at": item.header.get("failed_at", ""),
        }
        for method, stage, items in folders
        for key, item in (items or {}).items()
        if item.failure
    ]
    return pd.DataFrame(rows, columns=list(FAILED_COLUMNS)).astype(FAILED_COLUMNS)
