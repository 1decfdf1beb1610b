"""Averages over several orders of the same edits.

An order is a replicate: the same facts, edited in another sequence. The spread over orders measures the effect of the
order. The sample of documents or facts is the same in all orders, and its own uncertainty is given separately.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

PATH_COLUMNS = [
    *("value", "low", "high", "lowest", "highest", "orders_low", "orders_high", "sample_low", "sample_high"),
    *("n_orders", "interval"),
]


def over_orders(
    table: pd.DataFrame, by: Sequence[str], confidence: float = 0.95, *, shares: bool = True
) -> pd.DataFrame:
    """Average over orders, one row per value of `by`.

    Args:
        table: The columns `by`, order, value, low, high.
        by: Columns that identify a figure, without `order`.
        confidence: Level of the intervals.
        shares: Whether the values lie in [0, 1], and so their bounds.

    Returns:
        `by`, then `PATH_COLUMNS`: the mean; `lowest` and `highest` of the orders; `orders_low` and `orders_high`,
        Student's t with orders as replicates (NaN for one order); `sample_low` and `sample_high`, the mean bounds
        within an order; and `low` and `high`, which combine both (Zou and Donner 2008: distances from the mean are
        added in squares). `interval` is the source of `low` and `high`: ``sample`` or ``orders and sample``. Orders
        without a value are left out.
    """
    rows = [
        {**dict(zip(by, key, strict=True)), **_mean(group, confidence, shares)}
        for key, group in table.groupby(list(by), sort=False, dropna=False)
    ]
    return pd.DataFrame(rows, columns=[*by, *PATH_COLUMNS])


def _mean(group: pd.DataFrame, confidence: float, shares: bool) -> dict[str, float | int | str]:
    figures = group[["value", "low", "high"]].dropna(subset=["value"]).to_numpy(dtype=float)
    nan = float("nan")
    if not len(figures):
        return {**dict.fromkeys(PATH_COLUMNS, nan), "n_orders": 0, "interval": "sample"}
    values, n = figures[:, 0], len(figures)
    centre, sample_low, sample_high = figures.mean(axis=0)
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else nan
    spread = half if n > 1 else 0.0
    bounds = {
        "low": centre - np.hypot(centre - sample_low, spread),
        "high": centre + np.hypot(sample_high - centre, spread),
        "orders_low": centre - half,
        "orders_high": centre + half,
    }
    return {
        "value": centre,
        **{name: np.clip(limit, 0.0, 1.0) if shares else limit for name, limit in bounds.items()},
        "lowest": values.min(),
        "highest": values.max(),
        "sample_low": sample_low,
        "sample_high": sample_high,
        "n_orders": n,
        "interval": "orders and sample" if n > 1 else "sample",
    }
