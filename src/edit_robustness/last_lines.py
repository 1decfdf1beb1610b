"""The last lines of a run: the headline table, and where the page is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from kedro.framework.hooks import hook_impl

from edit_robustness.current_run import PAGES
from edit_robustness.logs import CONSOLE
from edit_robustness.report.terminal import Line, headline_lines, print_table

CONFIDENCE = 0.95


class LastLines:
    """Prints efficacy, generalization and specificity per method once all is written, and then the path of the page."""

    def __init__(self) -> None:
        self._confidence = CONFIDENCE
        self._begin()

    def _begin(self) -> None:
        self._pages: list[str] = []
        self._headline: list[Line] = []

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Keep the level of the intervals."""
        analysis = context.config_loader["parameters"].get("analyze") or {}
        self._confidence = float(analysis.get("confidence", CONFIDENCE))

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Forget the run before, which may not have come to its end."""
        self._begin()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Keep the headline, and which pages were written."""
        if dataset_name == "headline":
            self._headline = headline_lines(data)
        if dataset_name in PAGES:
            self._pages.append(dataset_name)

    @hook_impl
    def after_pipeline_run(self, catalog: Any) -> None:
        """Print both. They are no log lines: scripts and people look for them at the end of a run."""
        if self._headline:
            print_table(self._headline, self._confidence, CONSOLE)
        for name in self._pages:
            click.echo(f"Report: {place_of(catalog.get(name))}")
        self._begin()


def place_of(page: Any) -> str:
    """Return where a page is: its path on this machine, or its address."""
    protocol = getattr(page, "_protocol", "file")
    return f"{protocol}://{page._filepath}" if protocol != "file" else str(Path(str(page._filepath)).resolve())
