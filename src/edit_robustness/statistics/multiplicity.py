"""Corrections of p-values for several tests.

statsmodels has the same corrections, but each call runs the garbage collector over the whole process, which takes
longer than all tests of a small run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def holm(p: ArrayLike) -> np.ndarray:
    """Compute Holm's (1979) adjusted p-values of one family of tests; NaN is not a test and stays NaN."""
    p_values, order = _sort(p)
    n_left = np.arange(len(order), 0, -1)
    return _put_back(np.maximum.accumulate(p_values[order] * n_left), order, len(p_values))


def benjamini_hochberg(p: ArrayLike) -> np.ndarray:
    """Compute Benjamini and Hochberg's (1995) adjusted p-values, the false discovery rate; NaN is not a test."""
    p_values, order = _sort(p)
    share = np.arange(1, len(order) + 1) / max(len(order), 1)
    q_values = np.minimum.accumulate((p_values[order] / share)[::-1])[::-1]
    return _put_back(q_values, order, len(p_values))


def first_level(alpha: float, n_tests: int) -> float:
    """Return the level that the smallest of `n_tests` p-values must reach, under Holm and Benjamini-Hochberg alike.

    It is the level at which the detectable correlation of a family is computed: one correlation stands out alone.
    """
    return alpha / max(n_tests, 1)


def _sort(p: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the p-values, and the positions of those that are not NaN from the smallest to the largest."""
    p_values = np.asarray(p, dtype=float)
    positions = np.flatnonzero(~np.isnan(p_values))
    return p_values, positions[np.argsort(p_values[positions], kind="stable")]


def _put_back(values: np.ndarray, order: np.ndarray, n: int) -> np.ndarray:
    result = np.full(n, np.nan)
    result[order] = np.minimum(values, 1.0)
    return result
