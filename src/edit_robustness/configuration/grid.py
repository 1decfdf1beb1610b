"""The grid of the parameters, `grid: {model: {method: true}}`: which methods a run covers for which models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edit_robustness.editing.methods import METHODS
from edit_robustness.records import UNEDITED
from edit_robustness.text.closest import did_you_mean

Grid = dict[str, list[str]]
"""For each model the methods of this run."""

SEQUENTIAL = "sequential_grid"
"""The grid of `sequential_eval`, which covers other methods than that of single edits."""


class GridError(ValueError):
    """Error for a grid that names a model, method or pair that does not exist."""


def read_grid(parameters: Mapping[str, Any], models: Sequence[str], name: str = "grid") -> Grid:
    """Return the checked grid of the parameters.

    Args:
        parameters: All parameters of the run.
        models: Names of the models in the catalog.
        name: The parameter to read: `grid` or `sequential_grid`.

    Raises:
        GridError: If it names a model, method or pair that does not exist; the error lists those that do.
    """
    cells = parameters.get(name) or {}
    if not isinstance(cells, Mapping):
        raise GridError(f"{name}: it must be {{model: {{method: true}}}}; it is {cells!r}")
    unknown_models = [model for model in cells if model not in models]
    if unknown_models:
        raise GridError(
            f"{name}: no model `{unknown_models[0]}` in the catalog; {did_you_mean(unknown_models[0], sorted(models))}"
        )
    grid = {model: _methods(f"{name}.{model}", model, switches, parameters) for model, switches in cells.items()}
    grid = {model: methods for model, methods in grid.items() if methods}
    if not grid:
        raise GridError(f"{name}: it is empty; name a model of {', '.join(sorted(models))} and methods for it")
    return grid


def _methods(setting: str, model: str, switches: Any, parameters: Mapping[str, Any]) -> list[str]:
    switches = {} if switches is None else switches
    if not isinstance(switches, Mapping):
        raise GridError(f"{setting}: it must be {{method: true}}; it is {switches!r}")
    for method, on in switches.items():
        if method not in METHODS:
            raise GridError(f"{setting}: no method `{method}`; {did_you_mean(str(method), METHODS)}")
        if not isinstance(on, bool | None):
            # YAML reads a quoted 'no' as a text, which Python takes for true
            raise GridError(f"{setting}.{method}: write true or false, without quotes; it is {on!r}")
    methods = [method for method in METHODS if switches.get(method)]
    if not methods:
        return []
    if UNEDITED not in methods:
        raise GridError(f"{setting}: `{UNEDITED}` must be on, for specificity compares with the unedited model")
    for method in methods:
        settings = parameters.get("methods", {}).get(method) or {}
        if model not in settings:
            raise GridError(
                f"{setting}: {method} has no hyperparameters for {model} (it has them for "
                f"{', '.join(sorted(settings)) or 'no model'}); add them to parameters/methods/{method}.yml: copy "
                f"those of the model most like yours to methods.{method}.{model}, and adjust them"
            )
    return methods
