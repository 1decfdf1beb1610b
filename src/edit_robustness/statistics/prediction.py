"""Prediction of whether a probe of an edit succeeds, from what is known before the edit.

Facts of one subject are never in both training and test. Two simpler predictors are compared with the full one: a
constant, and one with the method and the kind of prompt only. The value of a fact's features is the difference between
the last two.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from edit_robustness.records import UNEDITED

FACTORS = ["method", "kind"]
FEATURES = ["log_views", "recalled", "log_perplexity_true", "log_perplexity_new"]
COLUMNS = ["predictor", "metric", "value", "low", "high", "folds", "n_probes", "n_facts", "note"]

ENOUGH_FACTS = 100
"""Fewest facts for a conclusion. With fewer, folds differ more than predictors do, and the table has a note."""


def predict(
    outcomes: pd.DataFrame, groups: str = "subject", folds: int = 5, repeats: int = 4, seed: int = 0
) -> pd.DataFrame:
    """Compute AUC and Brier score of three predictors by grouped, stratified cross-validation.

    Args:
        outcomes: A row for each probe of an edit: value (0, 1 or NaN), fact_id, subject, relation, method, kind and
            `FEATURES` (NaN if unknown: imputed by the training median, with an indicator). Rows of the method
            `none` are left out.
        groups: Column whose values are never on both sides of a split: ``subject`` or ``relation``.
        folds: Number of folds.
        repeats: Number of different splits into folds.
        seed: Seed of the splits.

    Returns:
        predictor, metric (``auc``: 0.5 is chance; ``brier``: lower is better), value (mean over folds), low and high
        (the lowest and highest fold), folds (those that have the metric), n_probes, n_facts, note.
    """
    rows = outcomes[(outcomes["method"] != UNEDITED) & outcomes["value"].notna()].reset_index(drop=True)
    counts = {"n_probes": len(rows), "n_facts": rows["fact_id"].nunique()}
    reason = _explain_missing(rows, groups, folds)
    if reason:
        blank_row = {"predictor": "(none)", "metric": "", "folds": 0, "note": reason}
        return pd.DataFrame([{**blank_row, **counts}]).reindex(columns=COLUMNS)
    scores = _cross_validate(rows, groups, folds, repeats, seed)
    table = scores.groupby(["predictor", "metric"], sort=False)["score"].agg(
        value="mean", low="min", high="max", folds="count"
    )
    n = counts["n_facts"]
    note = f"{n} facts: cannot tell" if n < ENOUGH_FACTS else ""
    return table.reset_index().assign(**counts, note=note).reindex(columns=COLUMNS)


def _explain_missing(rows: pd.DataFrame, groups: str, folds: int) -> str:
    if rows.empty:
        return "no probes of an edit"
    if rows["value"].nunique() < 2:
        return "every probe " + ("succeeded" if rows["value"].iloc[0] else "failed") + ": there is nothing to predict"
    n_groups = min(rows.loc[rows["value"] == outcome, groups].nunique() for outcome in (0, 1))
    if n_groups < folds:
        n_facts = rows["fact_id"].nunique()
        return f"{n_facts} facts: cannot tell (one outcome occurs in {n_groups} {groups}s, {folds} needed)"
    return ""


def _cross_validate(rows: pd.DataFrame, groups: str, folds: int, repeats: int, seed: int) -> pd.DataFrame:
    """Compute predictor, metric and score for every fold of every split."""
    data, target = _features(rows), rows["value"].astype(int).to_numpy()
    scores = []
    for repeat in range(repeats):
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + repeat)
        for train, test in splitter.split(data, target, rows[groups]):
            if len(set(target[train])) < 2:
                continue
            for name, predictor in _predictors().items():
                chance = predictor.fit(data.iloc[train], target[train]).predict_proba(data.iloc[test])[:, 1]
                scores.append((name, "auc", _auc(target[test], chance)))
                scores.append((name, "brier", brier_score_loss(target[test], chance)))
    return pd.DataFrame(scores, columns=["predictor", "metric", "score"])


def _features(rows: pd.DataFrame) -> pd.DataFrame:
    numbers = rows[FEATURES].astype(float).replace([np.inf, -np.inf], np.nan)
    return pd.concat([rows[FACTORS].astype(object), numbers], axis=1)


def _predictors() -> dict[str, Pipeline | DummyClassifier]:
    factors = ("factors", OneHotEncoder(handle_unknown="ignore"), FACTORS)
    impute = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    numbers = ("numbers", make_pipeline(impute, StandardScaler()), FEATURES)
    return {
        "constant": DummyClassifier(strategy="prior"),
        "method_kind": make_pipeline(ColumnTransformer([factors]), LogisticRegression(max_iter=1000)),
        "method_kind_fact": make_pipeline(ColumnTransformer([factors, numbers]), LogisticRegression(max_iter=1000)),
    }


def _auc(target: np.ndarray, chance: np.ndarray) -> float:
    return float(roc_auc_score(target, chance)) if len(set(target)) == 2 else float("nan")
