"""Hyperparameters of models in the grid that nobody configured: filled in while the configuration is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edit_robustness.configuration.grid import SEQUENTIAL
from edit_robustness.configuration.messages import SettingError
from edit_robustness.configuration.models import shape_of_entry
from edit_robustness.editing.defaults import complete_settings, default_settings, missing_settings
from edit_robustness.editing.methods import METHODS

logger = logging.getLogger(__name__)

USED_DEFAULTS = "used_defaults"
"""The parameter that says which hyperparameters are defaults, for the record of a run; no file sets it."""

_GRIDS = ("grid", SEQUENTIAL)


@dataclass(frozen=True)
class Filled:
    """Parameters with the default hyperparameters filled in.

    Attributes:
        parameters: All parameters.
        used: For each model and method with default hyperparameters a sentence about them.
        problems: For each cell of the grids that has none because the model's sizes are not known, what to do.
    """

    parameters: dict[str, Any]
    used: dict[str, dict[str, str]]
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
        for model, methods in self.used.items():
            for method, sentence in methods.items():
                settings = self.parameters["methods"][method][model]
                logger.info(
                    "%s: %s uses %s (%s). Set them in methods.%s.%s of conf/local/parameters.yml; "
                    "docs/reference/parameters.md says how to choose them",
                    *(model, method, sentence[0].lower() + sentence[1:], _main(settings), method, model),
                )


def fill_defaults(parameters: Mapping[str, Any], catalog: Mapping[str, Any]) -> Filled:
    """Give each cell of the grids that lacks required hyperparameters the defaults of `editing.defaults`.

    What is given stays. Grids and settings that are malformed are left for the checks to refuse.

    Args:
        parameters: All parameters of the run.
        catalog: The entries of the catalog.
    """
    settings_by_method = parameters.get("methods") or {}
    if not isinstance(settings_by_method, Mapping):
        return Filled(dict(parameters), {}, ())
    methods: dict[str, Any] = dict(settings_by_method)
    sentences: dict[str, dict[str, str]] = {}
    problems: dict[str, None] = {}
    for grid, model, name in dict.fromkeys(_cells(parameters)):
        entry, tuned_settings = catalog.get(f"{model}.language_model"), methods.get(name) or {}
        model_settings = tuned_settings.get(model) or {} if isinstance(tuned_settings, Mapping) else None
        if (
            entry is None
            or not isinstance(model_settings, Mapping)
            or (model in tuned_settings and not missing_settings(METHODS[name], model_settings))
        ):
            continue
        if not METHODS[name].__pydantic_fields__:  # type: ignore[attr-defined]
            methods[name] = {**tuned_settings, model: {}}
            continue
        if not any(source != model for source in tuned_settings):
            continue  # nothing to derive them from
        shape = shape_of_entry(entry, download=True)
        if shape is None:
            problems[
                f"{grid}.{model}: {name} has no hyperparameters for {model}, and defaults need its config.json, "
                f"which cannot be read: correct the catalog entry {model}.language_model, connect to the hub, or set "
                f"methods.{name}.{model}"
            ] = None
            continue
        default = default_settings(
            shape, {source: source_settings for source, source_settings in tuned_settings.items() if source != model}
        )
        if default is None:
            continue
        settings = complete_settings(model_settings, default)
        methods[name] = {**tuned_settings, model: settings}
        derived_names = [setting for setting in settings if setting not in model_settings]
        suffix = f": {', '.join(derived_names)}" if model_settings else ""
        sentences.setdefault(model, {})[name] = (
            f"Default hyperparameters, derived from those of {default.source}{suffix}"
        )
    return Filled({**parameters, **({"methods": methods} if methods else {})}, sentences, tuple(problems))


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
