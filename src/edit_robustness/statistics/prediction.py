"""Will this edit hold? What is known before an edit, asked to predict whether a probe will succeed.

Facts of one subject are never in training and test at once. Beside the model stand two that know less: a constant, and
one that knows the method and the kind of prompt only; what features of the fact are worth is the step between them.
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

FACTORS = ["method", "kind"]
FEATURES = ["log_views", "recalled", "log_perplexity_true", "log_perplexity_new"]
COLUMNS = ["predictor", "metric", "value", "low", "high", "folds", "n_probes", "n_facts", "note"]

ENOUGH_FACTS = 100
"""With fewer facts, folds differ more than predictors do, and the table says that it cannot tell."""


def predict(
    outcomes: pd.DataFrame, groups: str = "subject", folds: int = 5, repeats: int = 4, seed: int = 0
) -> pd.DataFrame:
    """AUC and Brier score of three predictors under grouped, stratified cross-validation.

    Args:
        outcomes: A row for each probe of an edit: value (0, 1 or NaN), fact_id, subject, relation, method, kind and
            `FEATURES` (NaN where unknown: imputed by the training median, with an indicator). Rows of the method
            `none` are left out.
        groups: Column whose values never stand on both sides of a split: ``subject`` or ``relation``.
        folds: Parts of the data.
        repeats: Different splits into parts.
        seed: Seed of the splits.

    Returns:
        predictor, metric (``auc``: 0.5 is chance; ``brier``: lower is better), value (mean over folds), low and high
        (the lowest and highest fold), folds (those that have the metric), n_probes, n_facts, note.
    """
    rows = outcomes[(outcomes["method"] != "none") & outcomes["value"].notna()].reset_index(drop=True)
    counts = {"n_probes": len(rows), "n_facts": rows["fact_id"].nunique()}
    reason = _why_not(rows, groups, folds)
    if reason:
        nothing = {"predictor": "(none)", "metric": "", "folds": 0, "note": reason}
        return pd.DataFrame([{**nothing, **counts}]).reindex(columns=COLUMNS)
    scores = _cross_validated(rows, groups, folds, repeats, seed)
    table = scores.groupby(["predictor", "metric"], sort=False)["score"].agg(
        value="mean", low="min", high="max", folds="count"
    )
    n = counts["n_facts"]
    note = f"{n} facts: cannot tell" if n < ENOUGH_FACTS else ""
    return table.reset_index().assign(**counts, note=note).reindex(columns=COLUMNS)


def _why_not(rows: pd.DataFrame, groups: str, folds: int) -> str:
    if rows.empty:
        return "no probes of an edit"
    if rows["value"].nunique() < 2:
        return "every probe " + ("succeeded" if rows["value"].iloc[0] else "failed") + ": there is nothing to predict"
    both = min(rows.loc[rows["value"] == outcome, groups].nunique() for outcome in (0, 1))
    if both < folds:
        return (
            f"{rows['fact_id'].nunique()} facts: cannot tell (one outcome stands in {both} {groups}s, {folds} needed)"
        )
    return ""


def _cross_validated(rows: pd.DataFrame, groups: str, folds: int, repeats: int, seed: int) -> pd.DataFrame:
    """predictor, metric, score for every fold of every split."""
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
