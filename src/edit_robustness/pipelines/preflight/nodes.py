"""Nodes of preflight. The predictor is checked before the model is asked anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from edit_robustness.editing.method import Method
from edit_robustness.editing.methods import METHODS
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.report.preflight import render_preflight
from edit_robustness.setting_types import STRICT, ListSetting
from edit_robustness.statistics.predictor import Predictor, read_predictor
from edit_robustness.statistics.preflight import advise, list_unmeasured
from edit_robustness.tables import collect

ABOUT = ["subject", "relation", "target_true", "target_new"]
"""Columns of a fact that the tables repeat."""


@dataclass(frozen=True, config=STRICT)
class PreflightParameters:
    """Parameters of preflight.

    Attributes:
        methods: Methods to predict; none for all that the predictor was trained on.
        kinds: Kinds of prompt to predict; none for all that the predictor was trained on.
        threshold: Least probability, on average over the kinds of each family, for a fact to be worth editing.
        shown: Most facts on the page; the tables have all.
    """

    methods: ListSetting[str] = ()
    kinds: ListSetting[str] = ()
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    shown: Annotated[int, Field(ge=0)] = 500


def check_predictor_with(model: str) -> Callable[..., dict[str, Any]]:
    """Return the node that refuses a predictor which was not trained on this model, or on these settings."""

    def check_predictor(
        predictors: Any, lm: LanguageModel, methods: Mapping[str, Any], settings: PreflightParameters
    ) -> dict[str, Any]:
        """Refuse what the predictor does not fit, and return what it predicts."""
        predictor = read_predictor(predictors, model)
        names, kinds = choose(predictor, settings)
        predictor.check(model, lm.fingerprint, read_settings(methods, names, model), kinds)
        return {"model": model, "methods": names, "kinds": kinds, "n_facts": predictor.n_facts}

    return check_predictor


def choose(predictor: Predictor, settings: PreflightParameters) -> tuple[list[str], list[str]]:
    """Return the methods and the kinds to predict."""
    return list(settings.methods or predictor.methods), list(settings.kinds or predictor.kinds)


def read_settings(methods: Mapping[str, Any], names: Sequence[str], model: str) -> dict[str, dict[str, Any]]:
    """Return the settings of each method for a model, with the defaults of what is not set.

    Raises:
        ValueError: If there is no such method, or no settings for the model.
    """
    settings: dict[str, dict[str, Any]] = {}
    for name in names:
        if name not in METHODS:
            raise ValueError(f"preflight.methods: no method `{name}`; `kedro list methods` lists them")
        of_models = methods.get(name) or {}
        if model not in of_models:
            raise ValueError(
                f"methods.{name}.{model}: there are no settings, which the predictor must be compared with; set them, "
                "or leave the method out of preflight.methods"
            )
        method_settings = of_models[model] or {}
        settings[name] = (
            method_settings if isinstance(method_settings, Method) else METHODS[name](**method_settings)
        ).settings()
    return settings


def forecast_with(model: str) -> Callable[..., pd.DataFrame]:
    """Return the node that predicts the edits of one model's facts."""

    def forecast(
        predictors: Any, features: pd.DataFrame, facts: pd.DataFrame, settings: PreflightParameters
    ) -> pd.DataFrame:
        """Predict each fact, method and kind of prompt (`Predictor.predict`), with the columns of the fact."""
        predictor = read_predictor(predictors, model)
        names, kinds = choose(predictor, settings)
        table = predictor.predict(features, names, kinds)
        about = facts[["id", *ABOUT]].rename(columns={"id": "fact_id"})
        rows = about.merge(table, on="fact_id", validate="one_to_many")
        return rows.assign(model=model)[["model", *rows.columns]]

    return forecast


def gather_with(models: Sequence[str]) -> Callable[..., tuple[pd.DataFrame, pd.DataFrame]]:
    """Return the node that joins the predictions of all models, and advises on each fact."""

    def gather(
        facts: pd.DataFrame, settings: PreflightParameters, *forecasts: pd.DataFrame
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the predictions, and per model and fact what to do with it (`statistics.preflight.advise`)."""
        advice = [
            pd.concat([advise(table, settings.threshold), list_unmeasured(facts, table, model)], ignore_index=True)
            for model, table in zip(models, forecasts, strict=True)
        ]
        return collect(*forecasts), collect(*advice)

    return gather


def write_page(
    predictors: Any,
    predictions: pd.DataFrame,
    advice: pd.DataFrame,
    rejects: pd.DataFrame,
    settings: PreflightParameters,
) -> str:
    """Return the page as one HTML document."""
    plain_predictors = {model: read_predictor(predictors, model).plain() for model in dict.fromkeys(advice["model"])}
    return render_preflight(
        plain_predictors, predictions, advice, rejects, threshold=settings.threshold, rows_shown=settings.shown
    )
