"""Agreement of two judges beyond chance: Cohen's kappa (1960), with an interval that resamples subjects."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score

AGREEMENT_COLUMNS = [
    *("kappa", "low", "high", "agreement", "share_first", "share_second", "n", "n_subjects", "n_missing", "note"),
]


def agreement(
    table: pd.DataFrame,
    by: Sequence[str],
    *,
    first: str,
    second: str,
    confidence: float = 0.95,
    bootstrap: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute the agreement of two columns of 0 and 1, one row per group.

    Args:
        table: The columns `by`, `first`, `second` and `subject`; an opinion that is NaN is missing.
        by: Columns whose values define a group.
        first: Column of one judge.
        second: Column of the other judge.
        confidence: Level of the interval.
        bootstrap: Number of resamples of subjects.
        seed: Seed of the resampling.

    Returns:
        The columns `by`, then `AGREEMENT_COLUMNS`. kappa is NaN if either judge gives every case the same label,
        because chance then explains any agreement; `note` contains the reason. `n_missing` counts the cases that were
        left out.
    """
    rows = [
        {**dict(zip(by, key, strict=True)), **_kappa(rows, first, second, confidence, bootstrap, seed)}
        for key, rows in table.groupby(list(by), sort=False)
    ]
    return pd.DataFrame(rows, columns=[*by, *AGREEMENT_COLUMNS])


def _kappa(
    rows: pd.DataFrame, first: str, second: str, confidence: float, bootstrap: int, seed: int
) -> dict[Hashable, float | int | str]:
    pairs = rows.dropna(subset=[first, second])
    a, b = pairs[first].to_numpy(dtype=int), pairs[second].to_numpy(dtype=int)
    codes, subjects = pd.factorize(pairs["subject"])
    varies = len(set(a)) == 2 and len(set(b)) == 2
    low, high = _interval(a, b, codes, confidence, bootstrap, seed) if varies else (np.nan, np.nan)
    return {
        "kappa": float(cohen_kappa_score(a, b)) if varies else np.nan,
        "low": low,
        "high": high,
        "agreement": float((a == b).mean()) if len(a) else np.nan,
        "share_first": float(a.mean()) if len(a) else np.nan,
        "share_second": float(b.mean()) if len(b) else np.nan,
        "n": len(pairs),
        "n_subjects": len(subjects),
        "n_missing": len(rows) - len(pairs),
        "note": "" if varies else "one of the two gives every case the same label" if len(a) else "nothing to compare",
    }


def _interval(
    a: np.ndarray, b: np.ndarray, codes: np.ndarray, confidence: float, bootstrap: int, seed: int
) -> tuple[float, float]:
    """Compute percentiles of kappa over resampled subjects, from counts of the four pairs of opinions per subject."""
    counts = np.zeros((codes.max() + 1, 4))
    np.add.at(counts, (codes, 2 * a + b), 1)
    rng = np.random.default_rng(seed)
    samples = rng.integers(0, len(counts), (bootstrap, len(counts)))
    totals = counts[samples].sum(1)
    share = totals / totals.sum(1, keepdims=True)
    yes_a, yes_b = share[:, 2] + share[:, 3], share[:, 1] + share[:, 3]
    chance = yes_a * yes_b + (1 - yes_a) * (1 - yes_b)
    # kappa is undefined in a resample without variation
    has_kappa = chance < 1
    kappas = (share[:, 0] + share[:, 3] - chance)[has_kappa] / (1 - chance)[has_kappa]
    if not len(kappas):
        return np.nan, np.nan
    low, high = np.quantile(kappas, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
