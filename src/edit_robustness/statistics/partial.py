"""Partial rank correlations: what remains of a correlation among facts that the model knew equally well."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from edit_robustness.statistics.correlation import (
    FEWEST_RARE,
    FEWEST_ROWS,
    clustered_information,
    count_rare,
    interval,
    p_value,
)

_NOTHING_LEFT = 1e-6
"""Share of a variable's variance under which the others determine it, so that no correlation remains."""

PARTIAL = ("partial_rho", "partial_low", "partial_high", "partial_p")


def partial_spearman(
    x: ArrayLike, y: ArrayLike, controls: ArrayLike, subjects: ArrayLike, confidence: float = 0.95
) -> dict[str, float]:
    """Estimate Spearman's correlation of a feature and an outcome, given other features.

    All variables become ranks. The estimate is the correlation of what a linear regression on the ranks of `controls`
    leaves of the ranks of x and y. It equals the partial correlation by the inverse of the matrix of Spearman's
    correlations, as in R's ppcor: Kim (2015), "ppcor: an R package for a fast calculation to semi-partial correlation
    coefficients". Interval and p-value are those of `correlation.spearman` with as many degrees of freedom and facts
    fewer as there are variables held constant.

    Args:
        x: (n,) a feature.
        y: (n,) an outcome.
        controls: (n, g) features to hold constant; those without variation are left out.
        subjects: (n,) the cluster of each fact.
        confidence: Level of the interval.

    Returns:
        partial_rho, partial_low, partial_high, partial_p of the facts with all values; NaN if too few have them, or if
        the features held constant determine x or y.
    """
    no_values = dict.fromkeys(PARTIAL, float("nan"))
    values = np.column_stack([np.asarray(controls, float), np.asarray(x, float), np.asarray(y, float)])
    complete = ~np.isnan(values).any(axis=1)
    rows = values[complete]
    if len(rows) < FEWEST_ROWS or count_rare(rows[:, -2], rows[:, -1]) < FEWEST_RARE:
        return no_values
    ranks = stats.rankdata(rows, axis=0)
    ranks = ranks - ranks.mean(axis=0)
    control_ranks = ranks[:, :-2]
    spreads = (ranks[:, -2:] ** 2).sum(axis=0)
    # a column that repeats another one costs no degree of freedom
    coefficients, _, n_controls, _ = np.linalg.lstsq(control_ranks, ranks[:, -2:], rcond=None)
    residuals = ranks[:, -2:] - control_ranks @ coefficients
    remainders = (residuals**2).sum(axis=0)
    if (remainders <= _NOTHING_LEFT * spreads).any():
        return no_values
    a, b = (residuals / np.sqrt(remainders / len(rows))).T
    rho = float(np.clip((a * b).mean(), -1, 1))
    influence = a * b - rho / 2 * (a**2 + b**2)
    codes, _ = pd.factorize(np.asarray(subjects)[complete])
    information = clustered_information(influence - influence.mean(), codes, n_parameters=2 + int(n_controls))
    information = information._replace(size=information.size - int(n_controls))
    low, high = interval(rho, information, confidence)
    return {
        "partial_rho": rho, "partial_low": low, "partial_high": high, "partial_p": p_value(rho, information),
    }  # fmt: skip
