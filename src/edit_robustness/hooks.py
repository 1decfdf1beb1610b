"""Kedro's hooks of the project: a line per node, where the report is, and what an error was about."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import click
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from edit_robustness.errors import add_notes
from edit_robustness.logs import install

logger = logging.getLogger(__name__)

PAGES = ("report", "conversations", "sequences")
"""The data sets that people read in a browser."""


class NodeLines:
    """Logs one line when a node starts and one when all are done, and notes on an error where it happened."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._running: str | None = None
        self._data_set: str | None = None
        self._started = 0.0

    @hook_impl
    def after_context_created(self) -> None:
        """Set the log lines up again: logging may have been configured since the settings were read."""
        install()

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Number the nodes in the order in which they run."""
        self._numbers = {node.name: number for number, node in enumerate(pipeline.nodes, 1)}
        self._running = self._data_set = None
        self._started = time.monotonic()

    @hook_impl
    def before_dataset_loaded(self, dataset_name: str, node: Node) -> None:
        """Log the node: loading a model is long work, too."""
        self._start(node)
        self._data_set = dataset_name

    @hook_impl
    def after_dataset_loaded(self) -> None:
        """Forget the data set."""
        self._data_set = None

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Log a node that loads nothing."""
        self._start(node)

    @hook_impl
    def before_dataset_saved(self, dataset_name: str) -> None:
        """Remember the data set."""
        self._data_set = dataset_name

    @hook_impl
    def after_dataset_saved(self) -> None:
        """Forget the data set."""
        self._data_set = None

    @hook_impl
    def on_pipeline_error(self, error: Exception, catalog: Any) -> None:
        """Note the data set and its file, for the line that the command ends with."""
        named = self._data_set
        if named is not None:
            dataset = catalog.get(named)
            path = getattr(dataset, "_filepath", None) or getattr(dataset, "_path", None)
            named = f"{named} ({path})" if path else named
        add_notes(error, named, halfway=self._running is not None)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Log how long the nodes took."""
        logger.info("%d nodes in %.0f s", len(self._numbers), time.monotonic() - self._started)

    def _start(self, node: Node) -> None:
        if node is not None and node.name != self._running:
            self._running = node.name
            logger.info("[%s/%d] %s", self._numbers.get(node.name, "?"), len(self._numbers), node.name)


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
            # not a log line: it is what scripts and people look for at the end of a run
            click.echo(f"Report: {Path(str(catalog.get(name)._filepath)).resolve()}")
        self._written.clear()
