"""Percentile intervals by resampling (Efron 1979), for estimates without a practical formula."""

from __future__ import annotations

import numpy as np

AT_ONCE = 2_000_000
"""Most draws in memory at the same time."""


def resampled_means(values: np.ndarray, bootstrap: int, seed: int) -> np.ndarray:
    """Compute the means of `bootstrap` samples with replacement; all columns use the same rows.

    Args:
        values: (n,) or (n, k), finite, n > 0.
        bootstrap: Number of samples.
        seed: Seed of the draws; equal seeds give equal rows for equal n.

    Returns:
        (bootstrap,) or (bootstrap, k).
    """
    rng, n = np.random.default_rng(seed), len(values)
    batch_size = max(1, AT_ONCE // n)
    sizes = [min(batch_size, bootstrap - start) for start in range(0, bootstrap, batch_size)]
    return np.concatenate([values[rng.integers(0, n, (size, n))].mean(axis=1) for size in sizes])


def percentiles(draws: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the bounds that contain the share `confidence` of the draws; NaN draws are left out."""
    values = draws[~np.isnan(draws)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def mean_interval(values: np.ndarray, confidence: float, bootstrap: int, seed: int) -> tuple[float, float, float]:
    """Estimate a mean with its interval; NaN without values, and bounds of NaN for one value."""
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    bounds = (float("nan"), float("nan"))
    if len(values) > 1:
        bounds = percentiles(resampled_means(values, bootstrap, seed), confidence)
    return float(values.mean()), *bounds
