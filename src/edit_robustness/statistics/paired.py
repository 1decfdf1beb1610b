"""Paired comparisons of each checkpoint with the unedited model on the same documents.

Scores of 0 and 1 are compared by McNemar's exact test (1947), which uses only the documents that the two models answer
differently. Other scores, and the log-probability of the right answer, are compared by Student's t of the paired
differences. Intervals of differences resample documents. p-values are corrected by Holm (1979) over all tests of one
model under one quantity: every method, benchmark, checkpoint and order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from edit_robustness.statistics.documents import CHECKPOINT, UNIT, join_unedited, lower_is_better
from edit_robustness.statistics.intervals import wilson
from edit_robustness.statistics.multiplicity import holm
from edit_robustness.statistics.resampling import mean_interval

QUANTITIES = ("score", "gold_logprob", "margin")
COMPARISON_COLUMNS = [
    *(*CHECKPOINT, *UNIT, "quantity", "n", "n_missing", "before", "after", "difference", "low", "high", "gained"),
    *("lost", "test", "p", "p_holm", "note"),
]


def compare(rows: pd.DataFrame, confidence: float = 0.95, bootstrap: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Compare every benchmark at every checkpoint of an edited model with the unedited model.

    Args:
        rows: Output of `documents.measure_documents`.
        confidence: Level of the intervals.
        bootstrap: Number of resamples of documents.
        seed: Seed of the resampling.

    Returns:
        `COMPARISON_COLUMNS`: means before and after, and their difference with its interval; `gained` and `lost` count
        the documents that only the edited and only the unedited model answers correctly. Pairs with a value that is
        not finite are left out and counted (`n_missing`); scores have none.

    Raises:
        ValueError: If a document had another prompt than with the unedited model.
    """
    results = [
        {**dict(zip([*CHECKPOINT, *UNIT], key, strict=True)), "quantity": quantity, **comparison}
        for key, pairs in join_unedited(rows).groupby([*CHECKPOINT, *UNIT], sort=False)
        for quantity in QUANTITIES
        if (comparison := _compare(pairs, quantity, confidence, bootstrap, seed))
    ]
    table = pd.DataFrame(results, columns=COMPARISON_COLUMNS).astype({"gained": "Int64", "lost": "Int64"})
    return _holm(table)


def _compare(pairs: pd.DataFrame, quantity: str, confidence: float, bootstrap: int, seed: int) -> dict[str, Any]:
    """Compare one quantity of one benchmark; empty if the benchmark does not have the quantity."""
    values = pairs[[f"{quantity}_before", quantity]].astype(float)
    finite_values = values.dropna()
    # perplexities may not be finite, so their log-probabilities are compared instead
    if values[f"{quantity}_before"].isna().all() or (quantity == "score" and lower_is_better(pairs["metric"].iloc[0])):
        return {}
    before, after = finite_values[f"{quantity}_before"].to_numpy(), finite_values[quantity].to_numpy()
    difference, low, high = mean_interval(after - before, confidence, bootstrap, seed)
    binary = quantity == "score" and bool(finite_values.isin([0.0, 1.0]).all(axis=None))
    if binary and len(finite_values) and not (after != before).any():
        # no document changed, so every resample is equal: use Wilson's bound on the share of changes for 0 of n
        high = wilson(0, len(finite_values), confidence)[1]
        low = -high
    test, p = ("mcnemar", mcnemar_p(before, after)) if binary else ("paired t", paired_t_p(after - before))
    return {
        "n": len(finite_values),
        "n_missing": len(values) - len(finite_values),
        "before": float(before.mean()) if len(finite_values) else np.nan,
        "after": float(after.mean()) if len(finite_values) else np.nan,
        "difference": difference,
        "low": low,
        "high": high,
        "gained": int((after > before).sum()) if binary else pd.NA,
        "lost": int((after < before).sum()) if binary else pd.NA,
        "test": test,
        "p": p,
        "note": "" if len(finite_values) else "nothing finite to compare",
    }


def mcnemar_p(before: np.ndarray, after: np.ndarray) -> float:
    """Compute McNemar's exact p-value of two columns of 0 and 1; 1 if no document changed."""
    table = [[int(((before == b) & (after == a)).sum()) for a in (1, 0)] for b in (1, 0)]
    return float(mcnemar(table, exact=True).pvalue)


def paired_t_p(differences: np.ndarray) -> float:
    """Compute Student's two-sided p-value of a mean difference of 0; NaN for one value, 1 if nothing changed."""
    if len(differences) < 2:
        return float("nan")
    spread = differences.std(ddof=1)
    if spread == 0:
        return 1.0 if differences.mean() == 0 else 0.0
    t = differences.mean() / (spread / np.sqrt(len(differences)))
    return float(2 * stats.t.sf(abs(t), len(differences) - 1))


def _holm(table: pd.DataFrame) -> pd.DataFrame:
    p_values = pd.Series(np.nan, index=table.index)
    for _, family in table.dropna(subset=["p"]).groupby(["model", "quantity"], sort=False):
        p_values[family.index] = holm(family["p"])
    return table.assign(p_holm=p_values)
