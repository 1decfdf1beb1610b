"""Active configuration of this process, from which the pipelines are made.

Kedro calls `register_pipelines()` without arguments, so there is one place that holds what it needs. The project's
context sets it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from edit_robustness.configuration.grid import SEQUENTIAL, Grid, GridError, read_grid
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.requirements import TextNeed, text_need
from edit_robustness.pipelines.rephrase import SOURCES
from edit_robustness.records import UNEDITED
from edit_robustness.text.closest import did_you_mean


@dataclass(frozen=True)
class ActiveConfiguration:
    """The settings that decide which nodes the pipelines have.

    Attributes:
        grid: The models of single edits, and their methods.
        sequential_grid: The models of sequences of edits, and their methods; None if the parameters have no such grid.
        bake_method: The method whose edits `bake` writes into models.
        with_judge: Whether a judge reads the answers, too.
        wording_source: Who makes the wordings of the facts: one of `SOURCES` of the pipeline rephrase.
        text_needs: For each model, how much running text the methods of both grids read. The pipelines share one
            corpus per model.
        parity: The models of the grid that have methods to compare with EasyEdit, and how much running text those read;
            they have a corpus of their own.
    """

    grid: Grid
    sequential_grid: Grid | None = None
    bake_method: str = UNEDITED
    with_judge: bool = False
    wording_source: str = SOURCES[0]
    text_needs: Mapping[str, TextNeed] = field(default_factory=lambda: MappingProxyType({}))
    parity: Mapping[str, TextNeed] = field(default_factory=lambda: MappingProxyType({}))


def read_active(parameters: Mapping[str, Any], models: Sequence[str]) -> ActiveConfiguration:
    """Return the checked configuration of the pipelines.

    Args:
        parameters: All parameters of the run.
        models: Names of the models in the catalog.

    Raises:
        GridError: If a grid names a model, method or pair that does not exist, or another setting has a wrong value.
    """
    grid = read_grid(parameters, models)
    sequential = read_grid(parameters, models, SEQUENTIAL) if SEQUENTIAL in parameters else None
    grids = (grid, sequential or {})
    method = parameters.get("bake", {}).get("method", UNEDITED)
    if method not in METHODS:
        raise GridError(f"bake.method: no method `{method}`; {did_you_mean(str(method), METHODS)}")
    judge_answers = parameters.get("judge_answers", False)
    if not isinstance(judge_answers, bool):
        raise GridError(f"judge_answers: true or false, not {judge_answers!r}")
    source = parameters.get("wordings", {}).get("by", SOURCES[0])
    if source not in SOURCES:
        raise GridError(f"wordings.by: one of {', '.join(SOURCES)}, not {source!r}")
    needs = {model: _text_need(model, parameters, grids) for cells in grids for model in cells}
    pairs = _read_pairs(parameters, grid)
    parity = {model: _text_need(model, parameters, (pairs,)) for model in pairs}
    return ActiveConfiguration(
        grid, sequential, method, judge_answers, source, MappingProxyType(needs), MappingProxyType(parity)
    )


def _read_pairs(parameters: Mapping[str, Any], grid: Grid) -> Grid:
    """Return the methods that parity compares, for the models of the grid.

    Raises:
        GridError: If a pair names a method that does not exist.
    """
    pairs = parameters.get("parity", {}).get("pairs") or {}
    for model, methods in pairs.items():
        for method in methods or {}:
            if method not in METHODS:
                raise GridError(f"parity.pairs.{model}: no method `{method}`; {did_you_mean(str(method), METHODS)}")
    pair_names = {model: [name for name, pair in (pairs.get(model) or {}).items() if pair] for model in grid}
    return {model: methods for model, methods in pair_names.items() if methods}


def _text_need(model: str, parameters: Mapping[str, Any], grids: Sequence[Grid]) -> TextNeed:
    methods = dict.fromkeys(method for cells in grids for method in cells.get(model, []))
    settings = {
        # parity checks by itself that its methods have hyperparameters
        method: of_models[model] or {}
        for method in methods
        if model in (of_models := parameters["methods"][method] or {})
    }
    return text_need({f"methods.{name}.{model}": METHODS[name](**values) for name, values in settings.items()})


class Holder:
    """Holder of the active configuration of this process."""

    configuration: ActiveConfiguration | None = None
