"""Checks that the settings of methods fit the models of a run, as far as possible before a model is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edit_robustness.configuration.messages import SettingError
from edit_robustness.datasets import LanguageModelDataset
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.requirements import misfits
from edit_robustness.models.shape import Shape


def check_models(
    catalog: Mapping[str, Any], parameters: Mapping[str, Any], grids: Sequence[Mapping[str, Sequence[str]]]
) -> None:
    """Refuse layers, parts and numbers of tokens that a model of the run cannot have.

    A model whose configuration is not on this machine yet is checked once it is loaded.

    Args:
        catalog: The entries of the catalog.
        parameters: All parameters, checked by `check_parameters`.
        grids: For each model of the run its methods; the grid of single edits and that of sequences.

    Raises:
        SettingError: Naming each setting, and what the model has.
    """
    problems = dict.fromkeys(
        problem
        for cells in grids
        for model, methods in cells.items()
        for problem in _problems(catalog[f"{model}.language_model"], parameters, model, methods)
    )
    if problems:
        raise SettingError("\n".join(problems))


def _problems(
    entry: Mapping[str, Any], parameters: Mapping[str, Any], model: str, methods: Sequence[str]
) -> Iterator[str]:
    shape = shape_of_entry(entry)
    if shape is None:
        return
    for name in methods:
        method = METHODS[name](**(parameters["methods"][name][model] or {}))
        yield from misfits(f"methods.{name}.{model}", method, model, shape)


def shape_of_entry(entry: Mapping[str, Any], *, download: bool = False) -> Shape | None:
    """Return the sizes of the model of a catalog entry; None if they are not known without loading it.

    Args:
        entry: The entry.
        download: Whether the configuration of a model on a hub may be downloaded; its weights are not.
    """
    if not str(entry.get("type", "")).endswith(LanguageModelDataset.__name__):
        return None
    try:
        return LanguageModelDataset(
            **{name: value for name, value in entry.items() if name not in ("type", "credentials")}
        ).shape(download=download)
    except (ValueError, TypeError):
        return None  # the catalog refuses the entry in its own words
