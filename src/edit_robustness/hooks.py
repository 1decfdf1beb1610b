"""Kedro's hooks of the project: what a run is refused for, and what it records and logs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from threading import RLock, get_ident
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from edit_robustness.current_run import CurrentRun
from edit_robustness.errors import add_notes, node_of
from edit_robustness.locking import RunLock
from edit_robustness.logs import install
from edit_robustness.machine import Meter, RunMeter, machine
from edit_robustness.ordering import model_of
from edit_robustness.origins import Origins, Settings, decides_nothing
from edit_robustness.plan import plan_lines
from edit_robustness.provenance import Records
from edit_robustness.runs.commands import options_of
from edit_robustness.runs.folders import MODELS
from edit_robustness.workers import ThisProcess, WorkerParameters, choose_workers, use_workers

logger = logging.getLogger(__name__)


class RefusedRun(ValueError):
    """A run that cannot be trusted to give right results."""


class NodeLines:
    """Logs one line when a node starts and one when all are done, and notes on an error where it happened."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        # by thread: with workers, several nodes run at once
        self._running: dict[int, str] = {}
        # by node: what it loads or saves
        self._data_sets: dict[str, str] = {}
        self._meter = Meter()

    @hook_impl
    def after_context_created(self) -> None:
        """Set the log lines up again: logging may have been configured since the settings were read."""
        install()

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Number the nodes in the order in which they run."""
        self._numbers = {node.name: number for number, node in enumerate(pipeline.nodes, 1)}
        self._running, self._data_sets = {}, {}
        self._meter = Meter()
        RunMeter.start()

    @hook_impl
    def before_dataset_loaded(self, dataset_name: str, node: Node) -> None:
        """Log the node: loading a model is long work, too."""
        self._start(node)
        self._data_sets[node.name] = dataset_name

    @hook_impl
    def after_dataset_loaded(self, node: Node) -> None:
        """Forget the data set."""
        self._data_sets.pop(node.name, None)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Log a node that loads nothing."""
        self._start(node)

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Remember the data set."""
        self._data_sets[node.name] = dataset_name

    @hook_impl
    def after_dataset_saved(self, node: Node) -> None:
        """Forget the data set."""
        self._data_sets.pop(node.name, None)

    @hook_impl
    def on_pipeline_error(self, error: Exception, catalog: Any) -> None:
        """Note the data set and its file, for the line that the command ends with."""
        # nodes that only ended because the run ends leave theirs, too; a runner of one node at a time names none
        node, data_sets = node_of(error), self._data_sets
        data_set = data_sets.get(node) if node else next(iter(data_sets.values()), None)
        if data_set is not None:
            dataset = catalog.get(data_set)
            path = getattr(dataset, "_filepath", None) or getattr(dataset, "_path", None)
            data_set = f"{data_set} ({path})" if path else data_set
        add_notes(error, data_set, halfway=bool(self._running) and not isinstance(error, RefusedRun))

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Log how long the nodes took."""
        logger.info("%d nodes in %s (%s)", len(self._numbers), self._meter.lap(), machine())

    def _start(self, node: Node) -> None:
        if node is not None and node.name != self._running.get(get_ident()):
            self._running[get_ident()] = node.name
            logger.info("[%s/%d] %s", self._numbers.get(node.name, "?"), len(self._numbers), node.name)


class OneRun:
    """Keeps runs apart: one at a time per model, and none that reads what other settings made."""

    def __init__(self) -> None:
        self._lock = RunLock()
        self._context: Any = None
        self._records: Records | None = None
        self._run: CurrentRun | None = None
        # with workers, nodes save from several threads
        self._recording = RLock()

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Keep the context, whose settings the run uses."""
        self._context = context

    @hook_impl
    def before_pipeline_run(self, run_params: Mapping[str, Any], pipeline: Any, catalog: Any) -> None:
        """Take the locks of what the run writes, refuse what would give wrong results, and open the run's folder."""
        check_runner(run_params)
        self._run = None
        folder = data_folder(self._context)
        self._lock.acquire(folder, {model_of(node) for node in pipeline.nodes})
        try:
            origins = _origins(self._context, catalog)
            run = CurrentRun(self._context, run_params, dict(pipelines), origins, folder)
            run.place(pipeline, catalog)
            names = run_params.get("pipeline_names") or ["__default__"]
            self._records = Records(folder, catalog, origins, names, list(options_of(run_params)), run=run.id)
            self._records.check(pipeline)
            run.begin(catalog, self._records.source_runs)
            self._run = run
            parameters = self._context.config_loader["parameters"]
            node_names = [node.name for node in pipeline.nodes]
            for line in plan_lines(node_names, parameters, read_workers(parameters), folder / MODELS):
                logger.info("%s", line)
        except BaseException:
            # Kedro reports no end of a run that did not begin
            self._lock.release()
            raise

    @hook_impl
    def before_node_run(self, node: Node, inputs: Mapping[str, Any], is_async: bool) -> dict[str, Any]:
        """Refuse `--async`, of which Kedro's earlier hooks are not told; give a page the record of the run."""
        if is_async:
            raise RefusedRun("--async saves and loads in threads, but models are shared: run without it")
        with self._recording:
            return self._run.inputs_of_page(node, inputs) if self._run is not None else {}

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Stop if another run has written it since this one began."""
        with self._recording:
            if self._records is not None:
                self._records.confirm(dataset_name, data)
            if self._run is not None:
                self._run.note_loaded(dataset_name, data)

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Remove the record, so that a kill during the save leaves none."""
        with self._recording:
            if self._records is not None:
                self._records.forget(dataset_name, data)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Record what the data set was made from, and what it says of the run."""
        with self._recording:
            if self._records is not None:
                self._records.remember(dataset_name, data, node.inputs)
            if self._run is not None:
                self._run.note_saved(dataset_name, data)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Record the end of the run, and release the locks."""
        self._end()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Record that the run was stopped, and release the locks."""
        self._end(is_stopped=True)

    def _end(self, *, is_stopped: bool = False) -> None:
        run, self._run, self._records = self._run, None, None
        try:
            if run is not None:
                run.end(is_stopped)
        finally:
            self._lock.release()


class RunWorkers:
    """Gives a run the workers that its settings ask for, and ends them with it."""

    def __init__(self) -> None:
        self._settings = WorkerParameters()

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Read the settings."""
        self._settings = read_workers(context.config_loader["parameters"])

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Refuse workers that cannot be started; they start when the first item is to be made."""
        use_workers(choose_workers(self._settings))

    @hook_impl
    def after_pipeline_run(self) -> None:
        """End the workers."""
        use_workers(ThisProcess())

    @hook_impl
    def on_pipeline_error(self) -> None:
        """End the workers."""
        use_workers(ThisProcess())


def check_runner(run_params: Mapping[str, Any]) -> None:
    """Refuse the ways of running that give wrong results here.

    Raises:
        RefusedRun: Naming the option, the reason, and what to use.
    """
    runner = str(run_params.get("runner"))
    if runner != "None" and "SequentialRunner" not in runner:
        name = runner.split(" object at")[0].lstrip("<").rpartition(".")[2]
        raise RefusedRun(
            f"--runner={name}: nodes share one model in memory, so they must run one after another; run without "
            "--runner (nodes run side by side if workers.count is set)"
        )
    if run_params.get("only_missing_outputs"):
        raise RefusedRun(
            "--only-missing-outputs takes any file for a finished one, also of other settings; run without it: "
            "a run resumes by itself, and recomputes nothing that is finished"
        )


def read_workers(parameters: Mapping[str, Any]) -> WorkerParameters:
    """Return the settings of the workers."""
    return WorkerParameters(**(parameters.get("workers") or {}))


def data_folder(context: Any) -> Path:
    """Return the folder of everything that a run writes.

    Raises:
        RefusedRun: If it is not on this machine.
    """
    data = str(context.config_loader["globals"]["data"])
    if "://" in data:
        raise RefusedRun(
            f"data: {data} in globals.yml must be a folder on this machine; single tables can go to an object store by "
            "their catalog entries (docs/reference/data.md)"
        )
    return Path(context.project_path) / data


def _origins(context: Any, catalog: Any) -> Origins:
    catalog_entries: Mapping[str, Mapping[str, Any]] = context.config_loader["catalog"]

    def entry(name: str) -> Mapping[str, Any]:
        if name in catalog_entries:
            return catalog_entries[name]
        pattern_entry: Mapping[str, Any] = catalog.config_resolver.resolve_pattern(name)
        return pattern_entry

    settings = Settings(context.config_loader["parameters"], entry)
    return Origins(dict(pipelines), lambda name: decides_nothing(catalog.get(name)), settings)
