"""The page of preflight: which facts to edit by which method, and how far the predictor can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from edit_robustness.labels import EDIT, KINDS, LEAVE_ALONE, METHODS, NOT_MEASURED, in_order
from edit_robustness.report.answers import describe_predictor
from edit_robustness.report.page import environment, script, style
from edit_robustness.report.rows import records

_REJECTS_SHOWN = 50
_PREFIX = "probability_"
_CHANCE = 0.5
"""AUC of a predictor that says nothing."""


def render_preflight(
    predictors: Mapping[str, Mapping[str, Any]],
    predictions: pd.DataFrame,
    advice: pd.DataFrame,
    rejects: pd.DataFrame,
    *,
    threshold: float,
    rows_shown: int,
) -> str:
    """Render the page as one self-contained HTML document; all texts are escaped.

    Args:
        predictors: The predictor of each model, as in its file.
        predictions: A row per model, fact, method and kind (`Predictor.predict`).
        advice: A row per model and fact (`statistics.preflight.advise`).
        rejects: Rows of the table of facts that cannot be used.
        threshold: Least mean probability of each family.
        rows_shown: Most facts shown per model.
    """
    template = environment().get_template("preflight.html.j2")
    return template.render(
        style=Markup(style()),
        script=Markup(script()),
        models=[_describe(model, predictors[model], predictions, advice, rows_shown) for model in predictors],
        rejects=records(rejects.head(_REJECTS_SHOWN)),
        n_rejects=len(rejects),
        threshold=threshold,
    )


def _describe(
    model: str, predictor: Mapping[str, Any], predictions: pd.DataFrame, advice: pd.DataFrame, rows_shown: int
) -> dict[str, Any]:
    held_out = _read_held_out(predictor)
    rows = advice[advice["model"] == model]
    model_predictions = predictions[predictions["model"] == model]
    methods = in_order(model_predictions["method"], METHODS)
    kinds = in_order(model_predictions["kind"], KINDS)
    means = model_predictions.groupby(["method", "kind"])["probability"].mean()
    return {
        "name": model,
        "predictor": predictor,
        "evidence": list(describe_predictor(held_out, predictor["groups"])),
        "tells_facts_apart": tells_facts_apart(held_out),
        "counts": {name: int((rows["advice"] == name).sum()) for name in (EDIT, LEAVE_ALONE, NOT_MEASURED)},
        "n_outside": int(rows["outside"].ne("").sum()),
        "methods": methods,
        "kinds": [(kind, [float(means[method, kind]) for method in methods]) for kind in kinds],
        "facts": [
            {**row, "probabilities": [row.get(f"{_PREFIX}{method}", float("nan")) for method in methods]}
            for row in records(rows.head(rows_shown))
        ],
        "n_facts": len(rows),
    }


def tells_facts_apart(held_out: Mapping[str, Mapping[str, float]]) -> bool:
    """Return whether the features of a fact are shown to predict success beyond the method and the kind of prompt."""
    auc = held_out.get("auc_within")
    return auc is not None and auc["low"] > _CHANCE


def _read_held_out(predictor: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the metrics of held-out facts that have a value; a missing bound is NaN."""
    nan = float("nan")
    return {
        name: {bound: nan if row.get(bound) is None else float(row[bound]) for bound in ("value", "low", "high")}
        for name, row in predictor["held_out"].items()
        if row.get("value") is not None
    }
