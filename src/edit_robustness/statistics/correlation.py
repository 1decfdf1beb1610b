"""Spearman's rank correlation of a feature and an outcome, with an interval and a p-value that agree.

The p-value is that of the t statistic ``rho sqrt((n - 2) / (1 - rho^2))``. The interval is Fisher's z with the variance
(1 + rho^2 / 2) of Bonett and Wright (2000), taken at the bound instead of at the estimate. Its width is such that the
interval excludes 0 exactly if p is below 1 - confidence. Neither needs resampling, so p has no floor and a correction
for multiplicity can reject.

Facts of one subject are not independent. n is then the effective number of facts: the variance that the influence
function of rho gives for independent facts, divided by its variance for clusters. The degrees of freedom follow from
the number of subjects. docs/explanation/statistics.md has the simulated coverage, and that of the alternatives.

A fact without the feature is left out and counted. It is never imputed. An infinite value is a rank like any other.
"""

from __future__ import annotations

from math import atanh, ceil, isnan, sqrt, tanh
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

FEWEST_ROWS = 5
"""Fewest rows for a rank correlation. Fisher's z needs more than three."""

FEWEST_RARE = 5
"""Fewest facts (and subjects) apart from the commonest value. With fewer, no interval keeps its coverage."""

_ITERATIONS = 40
"""Steps to a bound of the interval. Each step shrinks the error more than twofold, from 8 facts on fivefold."""

_LARGEST = 1 - 1e-12
"""Largest correlation that is transformed; Fisher's z of 1 is infinite."""


class Information(NamedTuple):
    """How much a clustered sample tells about a correlation.

    Attributes:
        size: Number of independent facts that would give the same variance.
        df: Degrees of freedom of the t distribution.
    """

    size: float
    df: float


def spearman(
    x: ArrayLike, y: ArrayLike, subjects: ArrayLike, *, confidence: float = 0.95, weights: ArrayLike | None = None
) -> dict[str, object]:
    """Estimate Spearman's correlation with its interval and p-value, and Kendall's tau-b beside it.

    Args:
        x: (n,) a feature of each fact; NaN: missing, infinite: the largest or smallest rank.
        y: (n,) an outcome of each fact; NaN: missing.
        subjects: (n,) the cluster of each fact.
        confidence: Level of the interval.
        weights: (n,) positive weights of the facts, such as inverse probabilities to be drawn; None for equal weights.
            Kendall's tau ignores them.

    Returns:
        rho, low, high, p, tau, tau_p, n_facts (facts used), n_missing (facts without x or y), n_rare (see `count_rare`)
        and note (the reason if there is no estimate). `tau_p` is the normal approximation with ties, Kendall (1970),
        with z scaled by the square root of the effective share of the facts.
    """
    a, b, names = np.asarray(x, float), np.asarray(y, float), np.asarray(subjects)
    weight = np.ones(len(a)) if weights is None else np.asarray(weights, float)
    complete = ~(np.isnan(a) | np.isnan(b) | np.isnan(weight))
    # ranks first, because differences of infinite values are NaN
    a, b, weight = stats.rankdata(a[complete]), stats.rankdata(b[complete]), weight[complete]
    codes = pd.factorize(names[complete])[0]
    counts = {"n_facts": len(a), "n_missing": len(complete) - len(a), "n_rare": 0}
    no_values = dict.fromkeys(("rho", "low", "high", "p", "tau", "tau_p"), float("nan"))
    reason = _explain_missing(a, b)
    if not reason:
        counts["n_rare"] = count_rare(a, b)
        reason = _explain_rare(a, b, codes, counts["n_rare"])
    if reason:
        return {**no_values, **counts, "note": reason}
    rho, influence = rho_influence(a, b, weight)
    information = clustered_information(influence, codes, weight)
    low, high = interval(rho, information, confidence)
    tau = stats.kendalltau(a, b, method="asymptotic")
    z = stats.norm.isf(tau.pvalue / 2) * sqrt(information.size / len(a))
    return {
        "rho": rho,
        "low": low,
        "high": high,
        "p": p_value(rho, information),
        "tau": float(tau.statistic),
        "tau_p": float(2 * stats.norm.sf(z)),
        **counts,
        "note": "",
    }


def count_rare(x: ArrayLike, y: ArrayLike) -> int:
    """Count the facts of the rarer value, on which the precision of a rank correlation depends.

    For a feature without ties it is the number of facts that do not have the commonest outcome. If the feature has a
    common value too, it is the number to be expected, without a correlation, of facts with neither common value. For
    two variables with two values each this is at most the smallest expected count of their fourfold table.
    """
    n_apart = []
    for values in (np.asarray(x), np.asarray(y)):
        commonest = int(np.unique(values, return_counts=True)[1].max())
        n_apart.append(len(values) - commonest if commonest > 1 else len(values))
    return round(n_apart[0] * n_apart[1] / len(np.asarray(x)))


def _explain_missing(a: np.ndarray, b: np.ndarray) -> str:
    if len(a) < FEWEST_ROWS:
        return f"only {len(a)} facts: too few"
    if np.ptp(b) == 0:
        return "the outcome is the same for every fact"
    if np.ptp(a) == 0:
        return "the feature is the same for every fact"
    return ""


def _explain_rare(a: np.ndarray, b: np.ndarray, codes: np.ndarray, n_rare: int) -> str:
    if n_rare < FEWEST_RARE:
        return f"only {n_rare} facts of the rarer value: fewer than {FEWEST_RARE} give no interval"
    for values in (a, b):
        distinct, counts = np.unique(values, return_counts=True)
        # of values that are all different none is common
        is_rarer = values != distinct[counts.argmax()] if counts.max() > 1 else np.ones(len(values), bool)
        n_subjects = len(np.unique(codes[is_rarer]))
        if n_subjects < FEWEST_RARE:
            return f"facts of the rarer value are of {n_subjects} subjects: fewer than {FEWEST_RARE} give no interval"
    return ""


def rho_influence(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Compute the weighted Spearman correlation and the influence of each fact on it.

    The influence is the derivative of rho by the weight of the fact. It includes the change of the ranks of all other
    facts. A value's rank is the weight below it plus half the weight at it.

    Args:
        x: (n,) finite values.
        y: (n,) finite values.
        weights: (n,) positive weights of any scale.

    Returns:
        rho, and (n,) influences with weighted mean 0.
    """
    shares = weights / weights.sum()
    columns = [_Ranks(values, shares) for values in (x, y)]
    a, b = (ranks.centred for ranks in columns)
    covariance, spread_x, spread_y = (float((shares * product).sum()) for product in (a * b, a * a, b * b))
    rho = covariance / sqrt(spread_x * spread_y)
    of_covariance = a * b + columns[0].sum_above(b) + columns[1].sum_above(a)
    of_spread_x = a * a + 2 * columns[0].sum_above(a)
    of_spread_y = b * b + 2 * columns[1].sum_above(b)
    influence = of_covariance / sqrt(spread_x * spread_y) - rho / 2 * (of_spread_x / spread_x + of_spread_y / spread_y)
    return max(-1.0, min(1.0, rho)), influence - float((shares * influence).sum())


class _Ranks:
    """Weighted mid-ranks of one variable, as shares, less 1/2."""

    def __init__(self, values: np.ndarray, shares: np.ndarray):
        self._group = np.unique(values, return_inverse=True)[1]
        self._shares = shares
        totals = np.bincount(self._group, weights=shares)
        self.centred = (np.cumsum(totals) - totals / 2)[self._group] - 0.5

    def sum_above(self, values: np.ndarray) -> np.ndarray:
        """Sum `values` times shares over the facts above each fact, and half of that over facts at the same value."""
        totals = np.bincount(self._group, weights=self._shares * values)
        sums: np.ndarray = totals.sum() - np.cumsum(totals) + totals / 2
        return sums[self._group]


def clustered_information(
    influence: np.ndarray, codes: np.ndarray, weights: np.ndarray | None = None, n_parameters: int = 2
) -> Information:
    """Compute the effective number of facts from the influence of each fact on an estimate.

    It is the variance of the influences divided by the variance of their weighted mean over clusters, clipped between
    Kish's size for one fact per cluster, (sum m)^2 / sum m^2, and the number of facts. For equal weights and one fact
    per cluster it is the number of facts.

    Args:
        influence: (n,) influences, with weighted mean 0.
        codes: (n,) numbers of clusters from 0.
        weights: (n,) positive weights; None for equal weights.
        n_parameters: Parameters that the clusters estimate; 2 plus the number of variables held constant.
    """
    n = len(influence)
    shares = np.full(n, 1 / n) if weights is None else weights / weights.sum()
    sizes = np.bincount(codes, weights=shares)
    k = len(sizes)
    df = float(max(k - n_parameters, 1))
    if k == n and np.ptp(shares) < 1e-12:
        return Information(float(n), df)
    totals = np.bincount(codes, weights=shares * influence)
    variance = float((totals**2).sum()) * k / (k - 1)
    spread = float((shares * influence**2).sum()) * n / (n - 1)
    smallest = float(1 / (sizes**2).sum())
    return Information(float(np.clip(spread / max(variance, 1e-300), min(smallest, n), n)), df)


def p_value(rho: float, information: Information) -> float:
    """Compute the two-sided p-value of a correlation by its t statistic, ``rho sqrt((n - 2) / (1 - rho^2))``."""
    return float(p_values(np.array([rho]), np.array([information.size]), np.array([information.df]))[0])


def p_values(rho: np.ndarray, size: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Compute the p-values of several correlations; see `p_value`. All arrays are (k,); NaN without information."""
    usable = (size > 2) & (df >= 1)
    shortfall = np.maximum(1 - rho**2, 1e-300)
    t = np.abs(rho) * np.sqrt(np.where(usable, size - 2, 1) / shortfall)
    return np.where(usable, 2 * stats.t.sf(t, np.where(usable, df, 1)), np.nan)


def interval(rho: float, information: Information, confidence: float = 0.95) -> tuple[float, float]:
    """Compute the interval of a rank correlation.

    It holds every r with ``|atanh(rho) - atanh(r)| <= h sqrt(1 + r^2 / 2)``, where h is Fisher's z of the smallest
    correlation that the t test finds at this level. (1 + r^2 / 2) is Bonett and Wright's (2000) variance of Spearman's
    correlation, Psychometrika 65, relative to that at r = 0.

    Returns:
        The bounds; NaN if there are no degrees of freedom.
    """
    low, high = intervals(np.array([rho]), np.array([information.size]), np.array([information.df]), confidence)
    return float(low[0]), float(high[0])


def intervals(
    rho: np.ndarray, size: np.ndarray, df: np.ndarray, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the intervals of several correlations; see `interval`. All arrays are (k,)."""
    usable = (size > 2) & (df >= 1)
    quantile = stats.t.ppf((1 + confidence) / 2, np.where(usable, df, 1))
    smallest = quantile / np.sqrt(np.where(usable, size - 2, 1) + quantile**2)
    half = np.where(usable, np.arctanh(smallest), np.nan)
    z = np.arctanh(np.clip(rho, -_LARGEST, _LARGEST))
    low, high = z, z
    for _ in range(_ITERATIONS):
        low = z - half * np.sqrt(1 + np.tanh(low) ** 2 / 2)
        high = z + half * np.sqrt(1 + np.tanh(high) ** 2 / 2)
    return np.tanh(low), np.tanh(high)


def n_to_detect(rho: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Compute the number of facts with which a two-sided test at `alpha` detects `rho` with probability `power`.

    By Fisher's z: n = ((z_{1-alpha/2} + z_{power}) / atanh(rho))^2 + 3, Cohen (1988), chapter 3. Give the level that
    remains after the correction for multiplicity, such as alpha / m for m tests under Holm.

    Raises:
        ValueError: If `rho` is 0 or not inside (-1, 1).
    """
    if not 0 < abs(rho) < 1:
        raise ValueError(f"rho must satisfy 0 < |rho| < 1 (it is {rho})")
    quantiles: float = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)
    return ceil((quantiles / atanh(abs(rho))) ** 2 + 3)


def detectable(n: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Compute the smallest correlation that `n` facts detect with probability `power`, the inverse of `n_to_detect`."""
    if isnan(n) or n <= 3:
        return float("nan")
    return tanh((stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)) / sqrt(n - 3))
