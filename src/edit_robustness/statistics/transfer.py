"""Prediction across data sets and across models: trained on all others, tested on each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from edit_robustness.labels import NON_EDITS
from edit_robustness.statistics.design import Trials
from edit_robustness.statistics.fitting import split
from edit_robustness.statistics.prediction_tables import (
    IMPORTANCE_COLUMNS,
    Predictions,
    join_predictions,
    refuse,
    tabulate,
)
from edit_robustness.statistics.validation import Part, Results, Validation, explain_doubt, explain_missing, fit_all


def transfer(outcomes: pd.DataFrame, features: Sequence[str], validation: Validation | None = None) -> Predictions:
    """Validate predictors across data sets: trained on all others, tested on each.

    Facts whose subject is in the test set are not trained on, nor are probes of kinds or methods tested that the
    training has not. Without a second data set the tables are empty.
    """
    validation = validation or Validation()
    rows = outcomes[~outcomes["method"].isin(NON_EDITS) & outcomes["value"].notna()].reset_index(drop=True)
    datasets = sorted(set(rows["dataset"].astype(str))) if "dataset" in rows else []
    tables = []
    for dataset in datasets if len(datasets) > 1 else []:
        is_test = rows["dataset"].astype(str).eq(dataset)
        train = rows[~is_test & ~rows["subject"].isin(rows.loc[is_test, "subject"])]
        test = rows[is_test]
        names = (" and ".join(name for name in datasets if name != dataset), dataset)
        tables.append(_transfer(train, test, features, validation, "dataset", names))
    return join_predictions(tables)


def transfer_between_models(
    outcomes: pd.DataFrame, features: Sequence[str], validation: Validation | None = None
) -> dict[str, Predictions]:
    """Validate predictors across models: trained on the probes of all others, tested on those of each.

    Models are often edited on the same facts. So groups are held out, too: a relation (or subject) of the test is in no
    training.

    Args:
        outcomes: As in `predict`, with the column model.
        features: Names of the features.
        validation: As in `predict`.

    Returns:
        The tables for each tested model; none for a single model.
    """
    validation = validation or Validation()
    rows = outcomes[~outcomes["method"].isin(NON_EDITS) & outcomes["value"].notna()].reset_index(drop=True)
    models = list(dict.fromkeys(rows["model"].astype(str)))
    if len(models) < 2:
        return {}
    return {
        model: _transfer(
            rows[rows["model"] != model],
            rows[rows["model"] == model],
            features,
            validation,
            "model",
            (" and ".join(name for name in models if name != model), model),
        )
        for model in models
    }


def _transfer(
    train: pd.DataFrame,
    test: pd.DataFrame,
    features: Sequence[str],
    validation: Validation,
    groups: str,
    names: tuple[str, str],
) -> Predictions:
    labels = {"groups": groups, "trained_on": names[0], "tested_on": names[1]}
    validation = replace(validation, predictors=("full",))
    known_rows = test["kind"].isin(train["kind"]) & test["method"].isin(train["method"])
    left_out = sorted(set(test.loc[~known_rows, "kind"]) - set(train["kind"]))
    test = test[known_rows]
    # few facts do not even tell within one data set, so no time is spent on them
    reasons = [explain_missing(rows, validation) or explain_doubt(rows, validation) for rows in (train, test)]
    if any(reasons):
        sides = [f"{side}: {reason}" for side, reason in zip(("training", "test"), reasons, strict=True) if reason]
        return refuse(test, "; ".join(sides), validation, labels)
    all_rows = pd.concat([train.assign(_test=False), test.assign(_test=True)], ignore_index=True)
    # one fact under two models has two rows of features
    all_rows["fact_id"] = (
        all_rows["fact_id"].astype(str) + "\n" + all_rows.get("model", pd.Series("", all_rows.index)).astype(str)
    )
    trials, is_test = Trials.of(all_rows, features, validation.groups), all_rows["_test"].to_numpy(dtype=bool)
    parts = []
    for number, (in_train, in_test) in enumerate(_yield_transfer_folds(trials, is_test, groups, validation)):
        fits = fit_all(trials.take(in_train), features, validation, validation.seed + number)
        if fits and len(in_test):
            parts.append(Part(in_test, fits))
    if not parts:
        return refuse(test, "no fold has both outcomes", validation, labels)
    kinds = f"kinds without training are left out: {', '.join(left_out)}" if left_out else ""
    results = Results.of(trials, parts, labels)
    prediction, calibration = tabulate(results, validation, kinds)
    return Predictions(prediction, calibration, pd.DataFrame(columns=IMPORTANCE_COLUMNS))


def _yield_transfer_folds(
    trials: Trials, is_test: np.ndarray, groups: str, validation: Validation
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if groups == "dataset":
        yield np.flatnonzero(~is_test), np.flatnonzero(is_test)
        return
    for train, test in split(trials, validation.folds, validation.seed):
        yield train[~is_test[train]], test[is_test[test]]
