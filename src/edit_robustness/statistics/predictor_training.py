"""Training of the predictors of a run: each is validated, fitted to all facts of its model, and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import sklearn

from edit_robustness.labels import NON_EDITS
from edit_robustness.statistics.design import Trials
from edit_robustness.statistics.fitting import LogisticFit, logistic_fitter
from edit_robustness.statistics.prediction import predict
from edit_robustness.statistics.predictor import Predictor, write_predictors
from edit_robustness.statistics.transfer import transfer, transfer_between_models
from edit_robustness.statistics.validation import Validation, explain_doubt, explain_missing, probes_of_edits
from edit_robustness.tables import collect


def train(
    rows: pd.DataFrame,
    features: Sequence[str],
    prediction: pd.DataFrame,
    run: Mapping[str, Any],
    validation: Validation,
    labels: Mapping[str, str] | None = None,
) -> Predictor:
    """Fit the predictor `full` on all probes of one model.

    Args:
        rows: Rows of `outcomes`, as for `prediction.predict`, with the column model.
        features: Names of the features.
        prediction: The table `prediction` of these rows, whose metrics of held-out facts the predictor repeats.
        run: The record of the run: ``models`` (with fingerprints) and ``methods`` (with settings).
        validation: As for `prediction.predict`.
        labels: Labels of the features.
    """
    rows = rows[~rows["method"].isin(NON_EDITS) & rows["value"].notna()]
    note = explain_missing(rows, validation) or explain_doubt(rows, validation)
    model = str(rows["model"].iloc[0]) if len(rows) else ""
    held_out = prediction[(prediction["predictor"] == "full") & (prediction["groups"] == validation.groups)]
    fit: Any = None
    if not note:
        trials = Trials.of(rows, features, validation.groups)
        fit = logistic_fitter(features)(trials, validation.seed, validation.form)
        assert isinstance(fit, LogisticFit)
    settings = (run.get("methods") or {}).get(model) or {}
    return Predictor(
        model=model,
        fingerprint=str(((run.get("models") or {}).get(model) or {}).get("fingerprint", "")),
        methods={name: dict(settings.get(name) or {}) for name in sorted(set(rows["method"]))},
        kinds=dict(sorted(dict(zip(rows["kind"].astype(str), rows["family"].astype(str), strict=True)).items())),
        datasets=tuple(sorted(set(rows["dataset"].astype(str)))) if "dataset" in rows else (),
        groups=validation.groups,
        n_facts=int(rows["fact_id"].nunique()),
        n_probes=len(rows),
        n_groups=int(rows[validation.groups].nunique()),
        held_out={
            str(row["metric"]): {name: _number(row[name]) for name in ("value", "low", "high")}
            for row in held_out.to_dict("records")
        },
        confidence=validation.confidence,
        labels=dict(labels or {}),
        note=note,
        fit=fit,
    )


def validate_and_train(
    outcomes: pd.DataFrame,
    feature_summary: pd.DataFrame,
    runs: Sequence[Mapping[str, Any]],
    validation: Validation,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Validate the predictors of each model, within and across data sets and models, and fit the full one.

    Args:
        outcomes: The table `outcomes`; its rows that are targets (`validation.probes_of_edits`) are used.
        feature_summary: Its columns model, feature and label name the features.
        runs: The records of the models' runs.
        validation: As for `prediction.predict`.

    Returns:
        The tables prediction, calibration and importance with the column model, and the content of the file.
    """
    probes = probes_of_edits(outcomes)
    features = list(dict.fromkeys(feature_summary["feature"]))
    labels = dict(zip(feature_summary["feature"], feature_summary["label"], strict=True))
    tables: list[list[pd.DataFrame]] = [[], [], []]
    predictors = []
    # what scikit-learn would check anew in thousands of small fits was checked when the tables were made
    with sklearn.config_context(skip_parameter_validation=True):
        across = transfer_between_models(probes, features, validation)
        for model in outcomes["model"].unique():
            rows = probes[probes["model"] == model]
            parts = [predict(rows, features, validation), transfer(rows, features, validation)]
            parts += [across[model]] if model in across else []
            for number, table in enumerate(zip(*parts, strict=True)):
                full_tables = [part for part in table if len(part)] or [table[0]]
                tables[number].append(pd.concat(full_tables, ignore_index=True).assign(model=model))
            run = next((run for run in runs if model in (run.get("models") or {})), {})
            predictor = train(rows, features, parts[0].prediction, run, validation, labels)
            predictors.append(replace(predictor, model=str(model)))
    prediction, calibration, importance = (_with_model_first(parts) for parts in tables)
    return prediction, calibration, importance, write_predictors(predictors)


def _with_model_first(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    table = collect(*parts)
    return table[["model", *(name for name in table.columns if name != "model")]]


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
