"""The run that is going on: its id and folder, where its data sets are, and what its record says."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from edit_robustness.datasets import WebDataset
from edit_robustness.origins import Leaves, Origins
from edit_robustness.prompts.kinds import select_kinds
from edit_robustness.report.index import render_index
from edit_robustness.report.run_details import KEY
from edit_robustness.report.terminal import headline_lines, plain_lines
from edit_robustness.runs import RunFolders, RunRecord, new_id, settings_hash
from edit_robustness.runs.commands import hidden_parameters, options_of, typed_command
from edit_robustness.runs.folders import INDEX, LATEST, RAW, REPORTING
from edit_robustness.runs.record import MERGED, STOPPED
from edit_robustness.runs.surroundings import fact_source, git_state, machine_record, packages
from edit_robustness.setting_types import read_list
from edit_robustness.storage import make_folder, write_text
from edit_robustness.versions import ROOMS

PAGES = ("report", "conversations", "sequences", "popularity_page", "preflight", "parity")
"""The data sets that people read in a browser."""

FAILED = ("failed_items", "sequence_failed_items", "conversation_failed_items", "parity_failed_items")
"""The data sets that list what failed."""

_DEFAULT = "__default__"
_METHOD = "params:methods."
_MODEL = ".language_model"
_OF_A_MODEL = "_run"
"""Ending of the data sets in which each model's run records itself."""


class CurrentRun:
    """A run from its start to its end.

    A run continues the last one of the same settings, in its folder: the id of that run is this one's. The settings
    are all parameters and sources that its whole pipeline follows from, whichever nodes the command names.

    Args:
        context: Kedro's context.
        run_params: Kedro's description of the run.
        pipelines: The registered pipelines.
        origins: What data sets follow from.
        data: The data folder.
    """

    def __init__(
        self,
        context: Any,
        run_params: Mapping[str, Any],
        pipelines: Mapping[str, Pipeline],
        origins: Origins,
        data: Path,
    ):
        self._context, self._params, self._origins = context, run_params, origins
        self._own: set[str] = set()
        self._names = [canonical(name, pipelines) for name in run_params.get("pipeline_names") or [_DEFAULT]]
        self._whole: Pipeline = sum((pipelines[name] for name in self._names), Pipeline([]))
        self._leaves: Leaves = {}
        for name in self._names:
            for output in pipelines[name].all_outputs():
                self._leaves |= origins.follows(output, name)
        self._folders = RunFolders(data / REPORTING)
        of_settings = settings_hash(
            {
                "pipelines": self._names,
                "settings": self._leaves,
                "versions": ROOMS,
                "keep_stale": self._parameters.get("keep_stale") is True,
            }
        )
        self.id = self._folders.find(of_settings) or new_id(datetime.now(UTC), of_settings)
        self._record: RunRecord | None = None

    @property
    def _parameters(self) -> Mapping[str, Any]:
        parameters: Mapping[str, Any] = self._context.config_loader["parameters"]
        return parameters

    @property
    def folder(self) -> Path:
        """Return the folder of the run."""
        return self._folders.folder(self.id)

    def place(self, pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> None:
        """Let the data sets of the reports lie in this run's folder.

        What this command only reads, and no earlier command of this run wrote, is read from the last run that did.
        """
        outputs = pipeline.all_outputs()
        self._own = set()
        records = self._folders.records()
        for name, file in self._list_files(pipeline.datasets(), catalog):
            path = self.folder / file
            if name not in outputs and not path.exists():
                path = self._folders.folder(self._folders.last_with(file, records) or LATEST) / file
            else:
                self._own.add(name)
            _move(catalog.get(name), path)

    def begin(self, catalog: CatalogProtocol[Any, Any], sources: Iterable[str]) -> None:
        """Write the record and the index.

        Args:
            catalog: The catalog of the run.
            sources: The runs that wrote what this one reads.
        """
        run_parameters = hidden_parameters(self._params.get("runtime_params") or {})
        entry = self._origins.settings.entry("raw_facts")
        project = Path(self._context.project_path)
        inputs = self._whole.inputs()
        about: dict[str, Any] = {
            "id": self.id,
            "pipeline": self._names[0] if len(self._names) == 1 else self._names,
            "environment": getattr(self._context, "env", None),
            "parameters": run_parameters,
            "project": git_state(project),
            "facts": fact_source(entry, project) if "raw_facts" in self._leaves_of_sources() else {},
            "seeds": {name: value for name, value in self._leaves.items() if name.endswith(("seed", "_seed"))},
            "kinds": self._kinds(),
            "versions": packages(),
            "machine": machine_record(),
            "source_runs": sorted({source for source in sources if source and source != self.id}),
            "data_sets": self._places(catalog, data=self._folders.reporting.parent),
            "tables": sorted(file for _, file in self._list_files(self._whole.all_outputs(), catalog)),
            "models": {name.removesuffix(_MODEL): {} for name in sorted(inputs) if name.endswith(_MODEL)},
            "methods": self._methods(inputs),
        }
        self._record = RunRecord(self.folder, about, typed_command(sys.argv), options_of(self._params))
        self._record.write()
        list_runs(self._folders)

    def note_loaded(self, dataset: str, data: object) -> None:
        """Record what a table says of the run: its models, methods and facts."""
        if self._record is None or not dataset.endswith(_OF_A_MODEL) or not isinstance(data, Mapping):
            return
        for name in MERGED[:-1]:
            self._record.learn(name, dict(data.get(name) or {}))
        if "n_facts" in data:
            self._record.learn("n_facts", dict.fromkeys(data.get("models") or {}, data["n_facts"]))

    def note_saved(self, dataset: str, data: Any) -> None:
        """Record what was written, and the headline."""
        if self._record is None:
            return
        self.note_loaded(dataset, data)
        if dataset in self._own:
            self._record.wrote()
        if dataset == "headline":
            self._record.learn("headline", plain_lines(headline_lines(data)))
        if dataset in FAILED:
            self._record.learn("failed_items", len(data))

    def inputs_of_page(self, node: Node, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return inputs of a node that writes a page, with this run's record among those of its models' runs."""
        if self._record is None or not set(PAGES) & set(node.outputs):
            return {}
        record = self._record.content
        page_inputs: dict[str, Any] = {}
        for name, value in inputs.items():
            if name.endswith("runs") and isinstance(value, list):
                page_inputs[name] = [*value, {KEY: record}]
            elif name.endswith(_OF_A_MODEL) and isinstance(value, dict):
                page_inputs[name] = {**value, KEY: record}
        return page_inputs

    def end(self, is_stopped: bool = False) -> None:
        """Record the end, let `latest` point here if the run ended and wrote something, and list it."""
        if self._record is None:
            return
        record, self._record = self._record, None
        if is_stopped:
            record.end(STOPPED)
        else:
            record.end()
            if record.has_written:
                self._folders.point(self.id)
        list_runs(self._folders)

    def _places(self, catalog: CatalogProtocol[Any, Any], data: Path) -> list[list[str]]:
        """Return the name and the place in the data folder of what the pipeline stores outside the run's folder."""
        places: list[list[str]] = []
        for name in sorted(self._whole.datasets()):
            dataset = None if name.startswith("param") else catalog.get(name)
            path = Path.cwd() / dataset.folder if isinstance(dataset, WebDataset) else _path(dataset)
            if path is not None and path.is_relative_to(data):
                place = path.relative_to(data).as_posix()
                # pairs: under a name such as `tokenizer_answers` a place would be taken for a credential
                places += [[name, place]] if not place.startswith((f"{RAW}/", f"{REPORTING}/")) else []
        return places

    def _list_files(self, names: Iterable[str], catalog: CatalogProtocol[Any, Any]) -> list[tuple[str, str]]:
        """Return the data sets in a run's folder, each with its file relative to it."""
        paths = ((name, _path(catalog.get(name))) for name in names if not name.startswith("param"))
        places = ((name, self._folders.relative(path)) for name, path in paths if path is not None)
        return [(name, file) for name, file in places if file is not None]

    def _leaves_of_sources(self) -> set[str]:
        return {name.split(".")[0] for name in self._leaves}

    def _methods(self, inputs: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the hyperparameters of each model's methods, as in the configuration."""
        methods: dict[str, dict[str, Any]] = {}
        for name in sorted(inputs):
            if name.startswith(_METHOD):
                method, model = name.removeprefix(_METHOD).split(".", 1)
                settings = (self._parameters["methods"].get(method) or {}).get(model) or {}
                methods.setdefault(model, {})[method] = dict(settings)
        return methods

    def _kinds(self) -> list[str]:
        """Return the kinds of prompt that the run asks."""
        probes = self._parameters.get("probes") or {}
        reads_probes = any(name.startswith("probes.") for name in self._leaves)
        names = probes.get("kinds") or ()
        return list(select_kinds(read_list(names))) if reads_probes else []


def list_runs(folders: RunFolders) -> None:
    """Write the page that lists all runs."""
    records = folders.records()
    pages = {
        record["id"]: sorted(path.name for path in folders.folder(record["id"]).glob("*.html")) for record in records
    }
    make_folder(folders.reporting)
    write_text(folders.reporting / INDEX, render_index(records, pages, folders.latest()))


def canonical(name: str, pipelines: Mapping[str, Pipeline]) -> str:
    """Return the name of the default pipeline if it has one, so that both ways to run it are one run."""
    if name != _DEFAULT:
        return name
    nodes = set(pipelines[name].nodes)
    return next(
        (
            pipeline_name
            for pipeline_name, pipeline in pipelines.items()
            if pipeline_name != name and set(pipeline.nodes) == nodes
        ),
        name,
    )


def _attribute(dataset: Any) -> str | None:
    return next((name for name in ("_filepath", "_path") if getattr(dataset, name, None) is not None), None)


def _path(dataset: Any) -> Path | None:
    """Return the file of a data set on this machine; None if it has none."""
    name = _attribute(dataset)
    if name is None or getattr(dataset, "_protocol", "file") != "file":
        return None
    return Path.cwd() / str(getattr(dataset, name))


def _move(dataset: Any, path: Path) -> None:
    """Let a data set lie elsewhere; Kedro gives it its place when it is made, before a run is known."""
    name = _attribute(dataset)
    assert name is not None
    setattr(dataset, name, type(getattr(dataset, name))(path.as_posix()))
