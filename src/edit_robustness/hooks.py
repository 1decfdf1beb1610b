"""Kedro's hooks of the project: the last line of a run says where its report is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from kedro.framework.hooks import hook_impl

PAGES = ("report", "conversations", "sequences")
"""The data sets that people read in a browser."""


class ReportPath:
    """Says where the report is, once it is written."""

    def __init__(self) -> None:
        self._written: list[str] = []

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Remember that a page was written."""
        if dataset_name in PAGES:
            self._written.append(dataset_name)

    @hook_impl
    def after_pipeline_run(self, catalog: Any) -> None:
        """Print its path."""
        for name in self._written:
            # not a log line: those are broken at the width of the terminal, and a broken path opens nothing
            click.echo(f"Report: {Path(str(catalog.get(name)._filepath)).resolve()}")
        self._written.clear()
