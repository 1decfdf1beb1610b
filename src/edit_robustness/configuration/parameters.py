"""Checks of every parameter of a run: its name exists, and its value is valid."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

from pydantic import ValidationError

from edit_robustness.abilities.settings import AbilityParameters
from edit_robustness.asking.ask import Decoding
from edit_robustness.asking.converse import ConversationSettings
from edit_robustness.configuration.messages import SettingError, describe_errors, preview
from edit_robustness.editing.edit_sequence import SequenceParameters
from edit_robustness.editing.method import Method
from edit_robustness.editing.methods import METHODS
from edit_robustness.features.remote import FeatureParameters
from edit_robustness.pipelines.analyze.nodes import AnalysisParameters
from edit_robustness.pipelines.analyze_sequences.nodes import SequenceAnalysisParameters
from edit_robustness.pipelines.bake.nodes import BakeParameters
from edit_robustness.pipelines.conversation.nodes import ConversationReportParameters
from edit_robustness.pipelines.parity.settings import ParityParameters
from edit_robustness.pipelines.popularity.nodes import PopularityParameters
from edit_robustness.pipelines.preflight.nodes import PreflightParameters
from edit_robustness.pipelines.rephrase.nodes import ProbeParameters, WordingParameters
from edit_robustness.pipelines.sample.nodes import SampleParameters
from edit_robustness.text.closest import did_you_mean
from edit_robustness.workers import WorkerParameters

OWN = ("x_", "_")
"""Beginnings of names that are not checked: a user's own parameters, and Kedro's place for YAML anchors."""

BLOCKS: Mapping[str, type] = {
    "sample": SampleParameters,
    "wordings": WordingParameters,
    "probes": ProbeParameters,
    "decoding": Decoding,
    "features": FeatureParameters,
    "analyze": AnalysisParameters,
    "conversation": ConversationSettings,
    "conversation_report": ConversationReportParameters,
    "bake": BakeParameters,
    "preflight": PreflightParameters,
    "parity": ParityParameters,
    "abilities": AbilityParameters,
    "sequence": SequenceParameters,
    "analyze_sequences": SequenceAnalysisParameters,
    "popularity": PopularityParameters,
    "workers": WorkerParameters,
}
"""Parameters that are blocks of settings, and what each is read as."""

_OTHERS = ("grid", "sequential_grid", "facts", "judge_answers", "keep_stale", "stop_at_failure", "methods")
"""Parameters that are no block: `grid` checks the grids, `context` the facts, and `methods` is read below."""


def check_parameters(
    parameters: Mapping[str, Any], models: Collection[str], runtime: Collection[str] = (), overrides: Any = None
) -> None:
    """Refuse a parameter that does not exist, or has a value that it cannot have.

    Args:
        parameters: All parameters of the run.
        models: The models of the catalog.
        runtime: Names that the catalog takes from the command line (`runtime_names`).
        overrides: The parameters of the command line, which are among `parameters`.

    Raises:
        SettingError: Naming each wrong setting, its value, what was expected, and the closest name for one that does
            not exist.
    """
    problems = list(_problems(parameters, models, runtime, overrides or {}))
    if problems:
        raise SettingError("\n".join(problems))


def _problems(
    parameters: Mapping[str, Any], models: Collection[str], runtime: Collection[str], overrides: Mapping[str, Any]
) -> Iterator[str]:
    known_names = [*BLOCKS, *_OTHERS, *runtime]
    checked_parameters = {name: value for name, value in parameters.items() if not str(name).startswith(OWN)}
    for name, value in checked_parameters.items():
        if name not in known_names:
            yield f"unknown parameter `{name}`; {did_you_mean(str(name), known_names)} (your own begin with {OWN[0]})"
        elif name in runtime and name not in overrides:
            yield f"parameter `{name}` has no effect in a file: give it on the command line, --params={name}={value}"
        else:
            yield from _not_finite(str(name), value)
    for name, kind in BLOCKS.items():
        if name in checked_parameters:
            yield from _block(name, checked_parameters[name], kind)
    yield from _methods(checked_parameters.get("methods") or {}, models, overrides.get("methods") or {})


def _not_finite(where: str, value: Any) -> Iterator[str]:
    """Name every number, at any depth, that is infinite or NaN."""
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        inside = value.items()
    elif isinstance(value, list | tuple):
        inside = enumerate(value)
    elif isinstance(value, float) and not isfinite(value):
        yield f"{where}: it is {value}; give a finite number"
    for name, leaf in inside:
        yield from _not_finite(f"{where}.{name}", leaf)


def _block(where: str, settings: Any, kind: type, hint: str = "") -> Iterator[str]:
    if not isinstance(settings, Mapping):
        yield f"{where}: it must be a block of settings, {where}: {{name: value}}; it is {preview(settings)}"
        return
    if any(_not_finite(where, settings)):
        return  # told already
    try:
        kind(**{str(name): value for name, value in settings.items()})
    except ValidationError as error:
        yield describe_errors(where, error, kind, hint)
    except (ValueError, TypeError) as error:
        yield f"{where}: {error}"


def _methods(methods: Any, models: Collection[str], overrides: Any) -> Iterator[str]:
    if not isinstance(methods, Mapping):
        yield f"methods: it must be {{method: {{model: settings}}}}; it is {preview(methods)}"
        return
    for name, settings in methods.items():
        if name not in METHODS:
            yield f"methods: no method `{name}`; {did_you_mean(str(name), METHODS)}"
        elif not isinstance(settings, Mapping | None):
            yield f"methods.{name}: it must be {{model: settings}}; it is {preview(settings)}"
        else:
            yield from _of_models(METHODS[name], settings or {}, models, (overrides.get(name) or {}))


def _of_models(
    method: type[Method], settings: Mapping[str, Any], models: Collection[str], overrides: Mapping[str, Any]
) -> Iterator[str]:
    """Check one method's settings for every model, those of models that another environment's catalog has too."""
    for model, model_settings in settings.items():
        where = f"methods.{method.name}.{model}"
        problems = list(
            _block(
                where,
                {} if model_settings is None else model_settings,
                method,
                copy_from(method.name, settings, str(model)),
            )
        )
        if model not in models and (model in overrides or problems):
            yield f"{where}: no model `{model}` in the catalog; {did_you_mean(str(model), sorted(models))}"
        else:
            yield from problems


def copy_from(method: str, settings: Mapping[str, Any], model: str) -> str:
    """Return the end of a sentence on where a model's settings can be copied from."""
    other_models = [str(name) for name in settings if name != model]
    if not other_models:
        return f"add them to methods.{method}.{model}"
    return (
        f"methods.{method} has settings for {', '.join(other_models)}: copy those of the model most like yours to "
        f"methods.{method}.{model}, in conf/base/parameters/methods/{method}.yml, and adjust them"
    )
