"""Percentile intervals by resampling (Efron 1979): for what has no formula, or whose formula asks too much."""

from __future__ import annotations

import numpy as np

AT_ONCE = 2_000_000
"""Draws held in memory at once."""


def resampled_means(values: np.ndarray, bootstrap: int, seed: int) -> np.ndarray:
    """Means of `bootstrap` samples with replacement; of several columns the same rows are drawn.

    Args:
        values: (n,) or (n, k), finite, n > 0.
        bootstrap: How many samples.
        seed: Of the drawing; the same for the same n.

    Returns:
        (bootstrap,) or (bootstrap, k).
    """
    rng, n = np.random.default_rng(seed), len(values)
    at_once = max(1, AT_ONCE // n)
    sizes = [min(at_once, bootstrap - done) for done in range(0, bootstrap, at_once)]
    return np.concatenate([values[rng.integers(0, n, (size, n))].mean(axis=1) for size in sizes])


def percentiles(draws: np.ndarray, confidence: float) -> tuple[float, float]:
    """The bounds between which the share `confidence` of the draws lies; NaN draws are left out."""
    known = draws[~np.isnan(draws)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def mean_interval(values: np.ndarray, confidence: float, bootstrap: int, seed: int) -> tuple[float, float, float]:
    """A mean with its interval; NaN without values, and no interval of one."""
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    bounds = (float("nan"), float("nan"))
    if len(values) > 1:
        bounds = percentiles(resampled_means(values, bootstrap, seed), confidence)
    return float(values.mean()), *bounds
