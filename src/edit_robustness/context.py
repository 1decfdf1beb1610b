"""The project's context: it checks the configuration before any pipeline is made, for a run and for kedro-viz alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines

from edit_robustness.configuration import (
    USED_DEFAULTS,
    check_models,
    check_parameters,
    fill_defaults,
    preview,
    runtime_names,
)
from edit_robustness.configuration.active import ActiveConfiguration, Holder, read_active
from edit_robustness.datasets.failures import stop_at_failure
from edit_robustness.datasets.item_folders import FOLDERS
from edit_robustness.runs.folders import REPORTING, RunFolders, reading_latest
from edit_robustness.text.closest import did_you_mean
from edit_robustness.web.transport import check_user_agent

SOURCES = ("raw_facts", "raw_training_facts", "raw_relations", "corpus_source")
"""The data sets that a run starts from, beside the models."""

GLOBALS = ("data", "facts_limit", "user_agent", "offline")
"""The settings of globals.yml."""

_SUFFIX = ".language_model"

_TABLES = "pandas."
"""Types of other data sets that can hold a table of facts; `validate_facts` checks the columns."""


class ProjectContext(KedroContext):
    """Kedro's context, which checks the configuration and sets the one that the pipelines are made from.

    It reads the configuration loader's parameters and not its own `params`: those load the pipelines first.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        check_globals(self.config_loader["globals"])
        catalog = self.config_loader["catalog"]
        check_entries(catalog)
        catalog = speakers_models(catalog)
        models = model_names(catalog)
        defaults = fill_defaults(self.config_loader["parameters"], catalog)
        parameters = defaults.parameters
        check_parameters(parameters, models, runtime_names(self.config_loader), self._runtime_params)
        defaults.check()
        # the loader reads the files at each call, which takes a third of a second
        self.config_loader["parameters"] = {**parameters, USED_DEFAULTS: defaults.sentences}
        check_sources(catalog)
        check_web(catalog, parameters)
        check_judge(catalog, parameters)
        check_wordings(catalog, parameters, Path(self.project_path))
        catalog = with_facts(catalog, parameters.get("facts", SOURCES[0]))
        catalog = keeping_stale(catalog, parameters.get("keep_stale", False))
        folders = RunFolders(Path(self.project_path) / self.config_loader["globals"]["data"] / REPORTING)
        catalog = reading_latest(catalog, folders, Path(self.project_path))
        self.config_loader["catalog"] = catalog
        active = read_active(parameters, models)
        check_models(catalog, parameters, [active.grid, active.sequential_grid or {}])
        defaults.log()
        _activate(active)
        stop_at_failure(parameters.get("stop_at_failure", False))


def _activate(active: ActiveConfiguration) -> None:
    if Holder.configuration != active:
        Holder.configuration = active
        # Kedro keeps pipelines that were made from another configuration, by a plug-in or an earlier session
        pipelines.configure(f"{__package__}.pipeline_registry")


def model_names(catalog: Mapping[str, Any]) -> list[str]:
    """Return the models of a catalog: its entries `<name>.language_model`."""
    return [name.removesuffix(_SUFFIX) for name in catalog if name.endswith(_SUFFIX)]


def check_globals(values: Mapping[str, Any]) -> None:
    """Refuse a global setting that is misspelt, and a data folder that is none.

    Raises:
        ValueError: Naming the setting.
    """
    for name in values:
        hint = did_you_mean(str(name), GLOBALS)
        # other names are a user's own, for ${globals:name}
        if name not in GLOBALS and hint.startswith("did you mean"):
            raise ValueError(f"globals.yml: no setting `{name}`; {hint}")
    data = values.get("data")
    if not isinstance(data, str) or not data.strip():
        raise ValueError(f"globals.yml: data must be the path of a folder; it is {preview(data)}")


def check_entries(catalog: Mapping[str, Any]) -> None:
    """Refuse an entry that is no block of settings with a type, such as the path of a file alone.

    Raises:
        ValueError: Naming the entry.
    """
    for name, entry in catalog.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
            raise ValueError(
                f"catalog: `{name}` must be a block of settings with a `type`, such as {{type: pandas.CSVDataset, "
                f"filepath: ...}}; it is {preview(entry)}"
            )


def check_sources(catalog: Mapping[str, Any]) -> None:
    """Refuse a catalog that lacks a source: Kedro would fill `{model}_facts` in for a misspelt `raw_facts`.

    Raises:
        ValueError: Naming the source, and the data sets that there are.
    """
    entries = [name for name in catalog if "{" not in name]
    for source in SOURCES:
        if source not in entries:
            raise ValueError(f"catalog: no data set `{source}`, where every run starts; there are {', '.join(entries)}")


def check_judge(catalog: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Refuse to begin a run that needs a judge if there is none.

    Raises:
        ValueError: Saying how to name one.
    """
    if parameters.get("judge_answers") and catalog.get("judge", {"kind": "unset"}).get("kind") == "unset":
        raise ValueError(
            "judge_answers: true, but nobody judges: give the catalog's entry `judge`, in conf/local/catalog.yml, "
            "`kind: local` or `kind: endpoint` (docs/how-to/conversation.md), or set judge_answers: false"
        )


def check_wordings(catalog: Mapping[str, Any], parameters: Mapping[str, Any], project: Path) -> None:
    """Refuse to begin a run whose wordings come from a writer that is not set, or a table that is not there.

    Raises:
        ValueError: Saying how to name a writer, or where the table is expected.
    """
    source = (parameters.get("wordings") or {}).get("by")
    if source == "writer" and catalog.get("writer", {"kind": "unset"}).get("kind") == "unset":
        raise ValueError(
            "wordings.by: writer, but nobody writes: give the catalog's entry `writer`, in conf/local/catalog.yml, "
            "`kind: local` or `kind: endpoint` (docs/how-to/conversation.md), or set wordings.by: templates"
        )
    path = str(catalog.get("frozen_wordings", {}).get("filepath", ""))
    if source == "table" and path and "://" not in path and not (project / path).is_file():
        raise ValueError(
            f"wordings.by: table, but there is no file {path}: copy the wordings.csv of a run there and review it "
            "(docs/reference/prompts.md), or set wordings.by: templates"
        )


def with_facts(catalog: Mapping[str, Any], entry_name: str) -> dict[str, Any]:
    """Return the catalog with the chosen entry in place of `raw_facts`, so that one word picks the facts of a run.

    Raises:
        ValueError: Naming the entry that is missing or is no table, and the entries of facts that exist.
    """
    fact_entries = [name for name, entry in catalog.items() if str(entry.get("type", "")).endswith("FactsDataset")]
    if not isinstance(entry_name, str) or entry_name not in catalog:
        raise ValueError(
            f"facts: no data set `{entry_name}` in the catalog; {did_you_mean(str(entry_name), fact_entries)}"
        )
    kind = str(catalog[entry_name].get("type", ""))
    if entry_name not in fact_entries and not kind.startswith(_TABLES):
        raise ValueError(
            f"facts: `{entry_name}` is a {kind}, which holds no table of facts; there are {', '.join(fact_entries)}"
        )
    return {**catalog, SOURCES[0]: catalog[entry_name]}


def keeping_stale(catalog: Mapping[str, Any], keep: Any) -> dict[str, Any]:
    """Return the catalog with every folder of kept files told whether to use those of another version.

    Raises:
        ValueError: If the setting is neither true nor false.
    """
    if not isinstance(keep, bool):
        raise ValueError(f"keep_stale: true or false, not {keep!r}")
    if not keep:
        return dict(catalog)
    kinds = tuple(f".{name}" for name in FOLDERS)
    return {
        name: {**entry, "keep_stale": True} if str(entry.get("type", "")).endswith(kinds) else entry
        for name, entry in catalog.items()
    }


def speakers_models(catalog: Mapping[str, Any]) -> dict[str, Any]:
    """Return the catalog with the settings of a model in place of its name, where a local speaker names one.

    Raises:
        ValueError: Naming the speaker whose model the catalog does not have, and the models that there are.
    """
    entries = dict(catalog)
    for name, entry in catalog.items():
        if entry.get("kind") != "local" or not isinstance(entry.get("model"), str):
            continue
        model = entry["model"].removesuffix(_SUFFIX)
        if model not in model_names(catalog):
            models = ", ".join(sorted(model_names(catalog)))
            raise ValueError(
                f"catalog: speaker `{name}` uses model `{model}`, which is not in the catalog; available models: "
                f"{models}"
            )
        settings = {k: v for k, v in catalog[model + _SUFFIX].items() if k not in ("type", "metadata")}
        entries[name] = {**entry, "model": settings}
    return entries


def check_web(catalog: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Check before a run that features can be looked up, if the configuration asks for any.

    Raises:
        ValueError: If nobody is named who asks.
    """
    web = catalog.get("web", {})
    if (parameters.get("features") or {}).get("remote") and not web.get("offline"):
        check_user_agent(web.get("user_agent") or "")
