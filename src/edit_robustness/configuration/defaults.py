"""Hyperparameters of models in the grid that nobody configured: filled in while the configuration is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edit_robustness.configuration.grid import SEQUENTIAL
from edit_robustness.configuration.messages import SettingError
from edit_robustness.configuration.models import shape_of_entry
from edit_robustness.editing.defaults import Default, complete_settings, default_settings, missing_settings
from edit_robustness.editing.methods import METHODS

logger = logging.getLogger(__name__)

USED_DEFAULTS = "used_defaults"
"""The parameter that says which hyperparameters are defaults, for the record of a run; no file sets it."""

_GRIDS = ("grid", SEQUENTIAL)


@dataclass(frozen=True)
class ParametersWithDefaults:
    """Parameters with the default hyperparameters filled in.

    Attributes:
        parameters: All parameters.
        sentences: For each model and method with default hyperparameters a sentence about them.
        problems: For each cell of the grids that has none because the model's sizes are not known, what to do.
    """

    parameters: dict[str, Any]
    sentences: dict[str, dict[str, str]]
    problems: tuple[str, ...]

    def check(self) -> None:
        """Refuse cells without hyperparameters.

        Raises:
            SettingError: Naming each of them.
        """
        if self.problems:
            raise SettingError("\n".join(self.problems))

    def log(self) -> None:
        """Log one line for each method and model with default hyperparameters."""
        for model, methods in self.sentences.items():
            for method, sentence in methods.items():
                settings = self.parameters["methods"][method][model]
                logger.info(
                    "%s: %s uses %s (%s). Set them in methods.%s.%s of conf/local/parameters.yml; "
                    "docs/reference/parameters.md says how to choose them",
                    *(model, method, sentence[0].lower() + sentence[1:], _main(settings), method, model),
                )


def fill_defaults(parameters: Mapping[str, Any], catalog: Mapping[str, Any]) -> ParametersWithDefaults:
    """Give each cell of the grids that lacks required hyperparameters the defaults of `editing.defaults`.

    What is given stays. Grids and settings that are malformed are left for the checks to refuse.

    Args:
        parameters: All parameters of the run.
        catalog: The entries of the catalog.
    """
    settings_by_method = parameters.get("methods") or {}
    if not isinstance(settings_by_method, Mapping):
        return ParametersWithDefaults(dict(parameters), {}, ())
    methods: dict[str, Any] = dict(settings_by_method)
    sentences: dict[str, dict[str, str]] = {}
    problems: dict[str, None] = {}
    for grid, model, name in dict.fromkeys(_cells(parameters)):
        entry, tuned_settings = catalog.get(f"{model}.language_model"), methods.get(name) or {}
        if entry is None or not _lacks_settings(model, name, tuned_settings):
            continue
        if _has_no_hyperparameters(name):
            methods[name] = {**tuned_settings, model: {}}
            continue
        source_settings = {source: settings for source, settings in tuned_settings.items() if source != model}
        if not source_settings:
            continue  # nothing to derive them from
        shape = shape_of_entry(entry, download=True)
        if shape is None:
            problems[_describe_problem(grid, model, name)] = None
            continue
        default = default_settings(shape, source_settings)
        if default is None:
            continue
        model_settings = tuned_settings.get(model) or {}
        settings = complete_settings(model_settings, default)
        methods[name] = {**tuned_settings, model: settings}
        sentences.setdefault(model, {})[name] = _describe_default(default, model_settings, settings)
    return ParametersWithDefaults(
        {**parameters, **({"methods": methods} if methods else {})}, sentences, tuple(problems)
    )


def _lacks_settings(model: str, method: str, tuned_settings: Any) -> bool:
    """Return whether a method's settings by model are well formed, but lack required hyperparameters for a model."""
    if not isinstance(tuned_settings, Mapping):
        return False
    model_settings = tuned_settings.get(model) or {}
    if not isinstance(model_settings, Mapping):
        return False
    return model not in tuned_settings or bool(missing_settings(METHODS[method], model_settings))


def _has_no_hyperparameters(method: str) -> bool:
    return not METHODS[method].__pydantic_fields__  # type: ignore[attr-defined]


def _describe_problem(grid: str, model: str, method: str) -> str:
    return (
        f"{grid}.{model}: {method} has no hyperparameters for {model}, and defaults need its config.json, which cannot "
        f"be read: correct the catalog entry {model}.language_model, connect to the hub, or set "
        f"methods.{method}.{model}"
    )


def _describe_default(default: Default, model_settings: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return a sentence with the origin of a default, and the names of the derived settings if others were given."""
    derived_names = [setting for setting in settings if setting not in model_settings]
    suffix = f": {', '.join(derived_names)}" if model_settings else ""
    return f"Default hyperparameters, derived from those of {default.source}{suffix}"


def _cells(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield grid, model and method of each cell that is on."""
    for name in _GRIDS:
        grid = parameters.get(name)
        for model, switches in grid.items() if isinstance(grid, Mapping) else ():
            for method, on in switches.items() if isinstance(switches, Mapping) else ():
                if on is True and method in METHODS:
                    yield name, str(model), str(method)


_MAIN = 6


def _main(settings: Mapping[str, Any]) -> str:
    """Return the first few settings, as text."""
    pairs = [f"{name}: {value}" for name, value in list(settings.items())[:_MAIN]]
    return ", ".join(pairs + (["..."] if len(settings) > _MAIN else []))
