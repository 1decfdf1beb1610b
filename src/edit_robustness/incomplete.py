"""The end of a run in which items failed: it is told after everything is written, and the exit status is 1."""

from __future__ import annotations

from collections import Counter
from typing import Any

from kedro.framework.hooks import hook_impl

from edit_robustness.datasets.folders import StoredItem
from edit_robustness.errors import RunIncomplete

TABLES = ("failed_items", "sequence_failed_items", "conversation_failed_items", "parity_failed_items")
"""The data sets that list what failed."""


class FailedItems:
    """Counts the items that land with a reason in place of a value, and ends the run with an error if there are any."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._failed: dict[tuple[str, str], str] = {}
        self._listed = ""

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Forget the run before."""
        self._begin()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Count the items that failed."""
        if dataset_name in TABLES:
            self._listed = dataset_name
        for key, item in data.items() if isinstance(data, dict) else ():
            if isinstance(item, StoredItem) and item.failure:
                self._failed[dataset_name, key] = item.failure

    @hook_impl(trylast=True)
    def after_pipeline_run(self, catalog: Any) -> None:
        """Say what failed, and where it is listed.

        Raises:
            RunIncomplete: If anything failed.
        """
        if not self._failed:
            return
        counts = Counter(name for name, _ in self._failed)
        counts_text = ", ".join(f"{name} {number}" for name, number in counts.items())
        (name, key), reason = next(iter(self._failed.items()))
        where = f" They are listed in {catalog.get(self._listed)._filepath}." if self._listed else ""
        number = len(self._failed)
        items = "1 item" if number == 1 else f"{number} items"
        raise RunIncomplete(
            f"{items} failed ({counts_text}); the first: {name} {key}: {reason}.{where} Run the same command again to "
            "recompute only what failed"
        )
