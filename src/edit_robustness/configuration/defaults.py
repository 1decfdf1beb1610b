"""Hyperparameters of models in the grid that nobody configured: filled in while the configuration is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edit_robustness.configuration.grid import SEQUENTIAL
from edit_robustness.configuration.messages import SettingError
from edit_robustness.configuration.models import shape_of_entry
from edit_robustness.editing.defaults import completed, default_settings
from edit_robustness.editing.method import Method
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
    written = parameters.get("methods") or {}
    if not isinstance(written, Mapping):
        return Filled(dict(parameters), {}, ())
    methods: dict[str, Any] = dict(written)
    used: dict[str, dict[str, str]] = {}
    problems: dict[str, None] = {}
    for grid, model, name in dict.fromkeys(_cells(parameters)):
        entry, tuned = catalog.get(f"{model}.language_model"), methods.get(name) or {}
        given = tuned.get(model) or {} if isinstance(tuned, Mapping) else None
        if entry is None or not isinstance(given, Mapping) or (model in tuned and not _missing(METHODS[name], given)):
            continue
        if not METHODS[name].__pydantic_fields__:  # type: ignore[attr-defined]
            methods[name] = {**tuned, model: {}}
            continue
        if not any(source != model for source in tuned):
            continue  # nothing to derive them from
        shape = shape_of_entry(entry, download=True)
        if shape is None:
            problems[
                f"{grid}.{model}: {name} has no hyperparameters for {model}, and defaults need its config.json, "
                f"which cannot be read: correct the catalog entry {model}.language_model, connect to the hub, or set "
                f"methods.{name}.{model}"
            ] = None
            continue
        default = default_settings(shape, {source: own for source, own in tuned.items() if source != model})
        if default is None:
            continue
        settings = completed(given, default)
        methods[name] = {**tuned, model: settings}
        derived = [setting for setting in settings if setting not in given]
        which = f": {', '.join(derived)}" if given else ""
        used.setdefault(model, {})[name] = f"Default hyperparameters, derived from those of {default.source}{which}"
    return Filled({**parameters, **({"methods": methods} if methods else {})}, used, tuple(problems))


def _cells(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield grid, model and method of each cell that is on."""
    for name in _GRIDS:
        grid = parameters.get(name)
        for model, switches in grid.items() if isinstance(grid, Mapping) else ():
            for method, on in switches.items() if isinstance(switches, Mapping) else ():
                if on is True and method in METHODS:
                    yield name, str(model), str(method)


def _missing(method: type[Method], given: Mapping[str, Any]) -> list[str]:
    """Return the required hyperparameters that are not given."""
    fields: Mapping[str, Any] = method.__pydantic_fields__  # type: ignore[attr-defined]
    return [name for name, field in fields.items() if field.is_required() and name not in given]


_MAIN = 6


def _main(settings: Mapping[str, Any]) -> str:
    """Return the first few settings, as text."""
    shown = [f"{name}: {value}" for name, value in list(settings.items())[:_MAIN]]
    return ", ".join(shown + (["..."] if len(settings) > _MAIN else []))
