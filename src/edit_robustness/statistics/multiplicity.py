"""Corrections of p-values for several tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.stats.multitest import multipletests


def holm(p: ArrayLike) -> np.ndarray:
    """Compute Holm's (1979) adjusted p-values of one family of tests; NaN is not a test and stays NaN."""
    return _adjust(p, "holm")


def benjamini_hochberg(p: ArrayLike) -> np.ndarray:
    """Compute Benjamini and Hochberg's (1995) adjusted p-values, the false discovery rate; NaN is not a test."""
    return _adjust(p, "fdr_bh")


def first_level(alpha: float, n_tests: int) -> float:
    """Return the level that the smallest of `n_tests` p-values must reach, under Holm and Benjamini-Hochberg alike.

    It is the level at which the detectable correlation of a family is computed: one correlation stands out alone.
    """
    return alpha / max(n_tests, 1)


def _adjust(p: ArrayLike, method: str) -> np.ndarray:
    raw = np.asarray(p, dtype=float)
    p_values = np.full(len(raw), np.nan)
    is_test = ~np.isnan(raw)
    if is_test.any():
        p_values[is_test] = multipletests(raw[is_test], method=method)[1]
    return p_values
