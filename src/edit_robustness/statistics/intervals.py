"""Intervals for proportions and means of clustered trials.

Three paraphrases of one fact are not three independent trials. The interval is Wilson's, on the effective number of
trials: Korn and Graubard (1998), "Confidence intervals for proportions with small expected number of positive counts
estimated from survey data", in Wilson's form as Dean and Pagano (2015) recommend. It needs no resampling, stays inside
[0, 1], and has a sensible width when every trial succeeded, unlike a bootstrap. In simulations of 24, 100 and 400
subjects with 1 to 12 probes each and shares of 2, 50 and 98%, 95% intervals cover 93 to 98%
(docs/explanation/statistics.md).

For real numbers it is the mean's cluster-robust t interval: Cameron and Miller (2015), "A practitioner's guide to
cluster-robust inference", equations 10 and 11, with one degree of freedom less than clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import brentq

# the quantiles of `scipy.stats`, whose checks of arguments take most of the time
from scipy.special import ndtri, stdtrit

SHARE = "share"
"""Unit of scores that are 0 or 1."""

UNMIXED = ("decoding", "protocol", "metric", "unit")
"""Columns that one average must not mix, because an average over several values is meaningless."""


class Proportion(NamedTuple):
    """Proportion or mean, its interval, and the number of trials and of clusters."""

    value: float
    low: float
    high: float
    n: int
    n_clusters: int


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Compute Wilson's score interval (1927) for `successes` in `n` independent trials; `n` may be fractional.

    Returns:
        Lower and upper bound in [0, 1]; (nan, nan) without trials.
    """
    if n <= 0:
        return float("nan"), float("nan")
    z = ndtri((1 + confidence) / 2)
    p = successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (0.0 if p == 0 else centre - half), (1.0 if p == 1 else centre + half)


def effective_size(values: np.ndarray, clusters: np.ndarray, confidence: float = 0.95) -> float:
    """Compute the number of independent 0-or-1 trials that carry as much information as these clustered values.

    It is the smaller of two sizes. The first is p(1 - p) / var(p), with var from the totals of the clusters (the
    linearised ratio), between the size for one value per cluster, Kish's (sum m)^2 / sum m^2, and the number of
    values. The second is n / (1 + (sum m^2 / n - 1) rho), the design effect of clusters of unequal sizes m (Donner,
    Birkett and Buck 1981) with the intraclass correlation rho. The first misses variance if successes are rare and the
    few large clusters happen to have none; 95% intervals then cover as little as 72%. Kish's size is used if all values
    are equal, because neither can be estimated. For values between 0 and 1, both are multiplied by p(1 - p) over the
    variance of one value, which is 1 for values of 0 and 1. The size is then scaled by the t quantiles, because the
    variance itself is estimated from few clusters (Korn and Graubard 1998, equation 2).

    Args:
        values: (n,) numbers in [0, 1].
        clusters: (n,) the cluster of each value.
        confidence: Level whose t quantiles scale the size.
    """
    codes, _ = pd.factorize(clusters)
    sizes = np.bincount(codes)
    n, k = int(sizes.sum()), len(sizes)
    p = values.mean()
    spread = (values**2).mean() - p**2
    information = p * (1 - p) / spread if spread > 1e-12 else 1.0
    if n == k:
        return float(n * information)
    one_each = n**2 / (sizes**2).sum()
    if k == 1:
        return 1.0
    size = one_each
    if spread > 1e-12:
        totals = np.bincount(codes, weights=values)
        variance = k / (k - 1) * ((totals - p * sizes) ** 2).sum() / n**2
        linearised_size = np.clip(spread / max(variance, 1e-12), one_each, n)
        design_effect = 1 + ((sizes**2).sum() / n - 1) * intraclass_correlation(values, codes)
        size = information * min(linearised_size, n / design_effect)
    tail = (1 + confidence) / 2
    return float(size * (stdtrit(n - 1, tail) / stdtrit(k - 1, tail)) ** 2)


def intraclass_correlation(values: np.ndarray, clusters: np.ndarray) -> float:
    """Estimate how alike the values of one cluster are, by analysis of variance; between 0 and 1.

    rho = (MSB - MSW) / (MSB + (m0 - 1) MSW), Ridout, Demétrio and Firth (1999), "Estimating intraclass correlation for
    binary data", Biometrics 55, section 2. It is 1 if all values are equal, which cannot contradict it.

    Args:
        values: (n,) numbers, more than clusters.
        clusters: (n,) the cluster of each value.
    """
    codes, _ = pd.factorize(clusters)
    sizes, totals = np.bincount(codes), np.bincount(codes, weights=values)
    n, k = sizes.sum(), len(sizes)
    between = (sizes * (totals / sizes - totals.sum() / n) ** 2).sum() / (k - 1)
    within = ((values**2).sum() - (totals**2 / sizes).sum()) / (n - k)
    typical_size = (n - (sizes**2).sum() / n) / (k - 1)
    total = between + (typical_size - 1) * within
    return float(np.clip((between - within) / total, 0, 1)) if total > 0 else 1.0


def proportion(values: ArrayLike, clusters: ArrayLike, confidence: float = 0.95) -> Proportion:
    """Estimate a mean of values in [0, 1] with its cluster-robust Wilson interval; values must not be NaN."""
    trials = np.asarray(values, dtype=float)
    if not len(trials):
        return Proportion(float("nan"), float("nan"), float("nan"), 0, 0)
    groups = np.asarray(clusters)
    size = effective_size(trials, groups, confidence)
    low, high = wilson(trials.mean() * size, size, confidence)
    return Proportion(float(trials.mean()), low, high, len(trials), len(pd.unique(groups)))


class Difference(NamedTuple):
    """Difference of two paired proportions, its interval, and the p-value of no difference."""

    value: float
    low: float
    high: float
    p: float


def paired_difference(first: ArrayLike, second: ArrayLike, clusters: ArrayLike, confidence: float = 0.95) -> Difference:
    """Estimate the difference of two paired proportions, first - second, with its cluster-robust interval.

    It is Newcombe's (1998), "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17, method 10: the distances of both Wilson bounds, added in squares with the
    correlation of the two sides. Wilson's bounds are those of `proportion`, and the correlation is that of the totals
    of clusters. In simulations of 24, 100 and 400 pairs with shares from 2 to 98%, 95% intervals cover 93 to 100%.

    Args:
        first: (n,) numbers in [0, 1].
        second: (n,) the other side of each pair.
        clusters: (n,) the cluster of each pair.
        confidence: Level of the interval.

    Returns:
        The difference and its interval in [-1, 1]. `p` is the two-sided level at which the interval ends at 0.
    """
    pair = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if not len(pair[0]):
        return Difference(*[float("nan")] * 4)
    codes, _ = pd.factorize(np.asarray(clusters))
    means = [float(side.mean()) for side in pair]
    sizes = [effective_size(side, codes, confidence) for side in pair]
    correlation = _paired_correlation(pair, codes, min(sizes))
    value = means[0] - means[1]

    def bounds(level: float) -> tuple[float, float]:
        (low_1, high_1), (low_2, high_2) = (
            wilson(centre * size, size, level) for centre, size in zip(means, sizes, strict=True)
        )
        below, above = (means[0] - low_1, high_2 - means[1]), (high_1 - means[0], means[1] - low_2)
        low, high = (sqrt(max(a**2 - 2 * correlation * a * b + b**2, 0.0)) for a, b in (below, above))
        return max(value - low, -1.0), min(value + high, 1.0)

    low, high = bounds(confidence)
    return Difference(value, low, high, _p_of_bounds(value, bounds))


def _paired_correlation(pair: tuple[np.ndarray, np.ndarray], codes: np.ndarray, size: float) -> float:
    """Compute the correlation of the two sides, shrunk as Newcombe does if it is positive; 0 if a side is constant."""
    totals = [np.bincount(codes, weights=side - side.mean()) for side in pair]
    spread = sqrt((totals[0] ** 2).sum() * (totals[1] ** 2).sum())
    if spread < 1e-12:
        return 0.0
    correlation = float((totals[0] * totals[1]).sum()) / spread
    product = np.prod([sqrt(side.mean() * (1 - side.mean())) for side in pair])
    return correlation if correlation <= 0 else max(correlation - 1 / (2 * size * float(product)), 0.0)


def _p_of_bounds(value: float, bounds: Callable[[float], tuple[float, float]]) -> float:
    """Find the level 1 - p at which the bound next to 0 is 0."""
    # means of equal sums may differ by a rounding error
    if abs(value) < 1e-12:
        return 1.0
    side = 0 if value > 0 else 1
    smallest = 1e-12
    if bounds(1 - smallest)[side] * value > 0:
        return smallest
    return float(1 - brentq(lambda level: bounds(level)[side], 0.0, 1 - smallest))


def mean(values: ArrayLike, clusters: ArrayLike, confidence: float = 0.95) -> Proportion:
    """Estimate a mean with its cluster-robust t interval; values must not be NaN.

    The variance is k / (k - 1) times the sum over k clusters of their squared summed residuals, over n^2. There is no
    interval (NaN) for one cluster.
    """
    numbers = np.asarray(values, dtype=float)
    codes, labels = pd.factorize(np.asarray(clusters))
    n, k = len(numbers), len(labels)
    if k < 2:
        return Proportion(float(numbers.mean()) if n else float("nan"), float("nan"), float("nan"), n, k)
    centre = float(numbers.mean())
    residuals = np.bincount(codes, weights=numbers - centre)
    error = sqrt(k / (k - 1) * (residuals**2).sum()) / n
    half = float(stdtrit(k - 1, (1 + confidence) / 2)) * error
    return Proportion(centre, centre - half, centre + half, n, k)


def refuse_mixed(scores: pd.DataFrame, by: Sequence[str]) -> None:
    """Refuse to average over different protocols, metrics, units or decodings.

    Raises:
        ValueError: If a group mixes values; the message names the column, the group and the fix.
    """
    for name in UNMIXED:
        if name in by or name not in scores or scores[name].nunique(dropna=False) < 2:
            continue
        groups = scores.groupby(list(by), sort=False, dropna=False)[name] if by else [((), scores[name])]
        for key, values in groups:
            distinct_values = [str(value) for value in values.unique()]
            if len(distinct_values) > 1:
                place = ", ".join(f"{column} {value}" for column, value in zip(by, key, strict=True)) or "all scores"
                raise ValueError(
                    f"{place}: an average over several values of `{name}` ({', '.join(distinct_values)}) is "
                    f"meaningless; choose one of them, or add {name!r} to the grouping columns"
                )


def rates(scores: pd.DataFrame, by: Sequence[str], cluster: str = "subject", confidence: float = 0.95) -> pd.DataFrame:
    """Estimate the rate or mean of each group of scores, with its interval and counts.

    Args:
        scores: Rows with `value` (0, 1 or NaN; any number if there is a `unit` other than ``share``), `fact_id`, the
            columns `by` and the column `cluster`.
        by: Columns whose values define a group.
        cluster: Column of the clusters; probes in one cluster are not independent.
        confidence: Level of the interval.

    Returns:
        The columns `by`, then value, low, high, n_probes, n_facts, n_missing (scores that were NaN and left out).

    Raises:
        ValueError: If a group mixes protocols, metrics, units or decodings.
    """
    refuse_mixed(scores, by)
    # arrays, because a table per group would take most of the time
    numbers = scores.groupby(list(by), sort=False, dropna=False).ngroup().to_numpy()
    first_rows = np.unique(numbers, return_index=True)[1]
    keys = scores[list(by)].iloc[first_rows].itertuples(index=False, name=None)
    values = scores["value"].to_numpy(dtype=float, na_value=np.nan)
    clusters, facts = (pd.factorize(scores[name])[0] for name in (cluster, "fact_id"))
    is_share = scores["unit"].eq(SHARE).to_numpy() if "unit" in scores else np.ones(len(scores), dtype=bool)
    groups = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers)))
    rows = []
    for key, group in zip(keys, groups, strict=False):
        rows_with_value = group[~np.isnan(values[group])]
        estimate = proportion if is_share[group[0]] else mean
        rate = estimate(values[rows_with_value], clusters[rows_with_value], confidence)
        n_facts = len(np.setdiff1d(facts[rows_with_value], [-1]))
        rows.append((*key, rate.value, rate.low, rate.high, rate.n, n_facts, len(group) - rate.n))
    return pd.DataFrame(rows, columns=[*by, "value", "low", "high", "n_probes", "n_facts", "n_missing"])
