"""Kedro's runner of the project: with workers, nodes of several models run side by side."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import chain
from typing import TYPE_CHECKING, Any

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner
from kedro.runner.task import Task

from edit_robustness.errors import add_node, describe
from edit_robustness.workers import Stopped, ThisProcess, current_workers, use_workers

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol
    from pluggy import PluginManager

logger = logging.getLogger(__name__)

_THREADS = 64
"""Most nodes at a time: most of them wait for workers."""


class SideBySideRunner(SequentialRunner):
    """A runner that starts every node as soon as its inputs are there, if the run has workers.

    The nodes run in threads of this process, which hand their items to the workers, so that no thread computes with a
    model. Without workers, nodes run one after another in this process, as by Kedro's own runner.
    """

    def __str__(self) -> str:
        # kedro-viz records the states of nodes for this runner only
        return str(SequentialRunner())

    @property
    def _logger(self) -> logging.Logger:
        # Kedro's own, whose lines about nodes the log leaves out
        return logging.getLogger(SequentialRunner.__module__)

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol[Any, Any],
        hook_manager: PluginManager | None = None,
        run_id: str | None = None,
    ) -> None:
        if isinstance(current_workers(), ThisProcess):
            super()._run(pipeline, catalog, hook_manager, run_id)
            return
        todo, dependencies = list(pipeline.nodes), pipeline.node_dependencies
        load_counts = Counter(chain.from_iterable(node.inputs for node in todo))
        done_nodes: set[Node] = set()
        running: dict[Future[Node], Node] = {}
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="node") as pool:
            try:
                while todo or running:
                    ready_nodes = [node for node in todo if dependencies[node] <= done_nodes]
                    todo = [node for node in todo if node not in ready_nodes]
                    for node in ready_nodes:
                        task = Task(node, catalog, self._is_async, hook_manager=hook_manager, run_id=run_id)
                        running[pool.submit(task.execute)] = node
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        node = running[future]
                        _raise_error(future, node)
                        del running[future]
                        done_nodes.add(node)
                        self._release_datasets(node, catalog, load_counts, pipeline)
            except BaseException as error:
                # threads that wait for items end, too; what they have made is kept
                current_workers().stop()
                for future in running:
                    future.cancel()
                _log_others(running, error)
                raise
            finally:
                # here and not in a hook: processes of Ray die with the thread that started it, which ends with the
                # pool, and Kedro tells hooks of no interruption
                use_workers(ThisProcess())


def _raise_error(future: Future[Node], node: Node) -> None:
    """Raise the error of a node, if there is one, with a note that says whose it is."""
    error = future.exception()
    if error is not None:
        add_node(error, node.name)
        raise error


def _log_others(running: Mapping[Future[Node], Node], error: BaseException) -> None:
    """Wait for the nodes that still run, and log their errors: only one error ends the run."""
    for future, node in running.items():
        node_error = None if future.cancelled() else future.exception()
        if node_error is not None and node_error is not error and not _is_stopped(node_error):
            logger.warning("%s failed, too: %s", node.name, describe(node_error))


def _is_stopped(error: BaseException | None) -> bool:
    """Return whether a node ended only because the run ends."""
    while error is not None:
        if isinstance(error, Stopped):
            return True
        error = error.__cause__
    return False
