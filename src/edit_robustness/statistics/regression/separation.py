"""Separation: coefficients without a finite estimate, and Firth's penalised likelihood, which has one.

If every prompt of a level succeeds, its odds are infinite. Firth (1993), Biometrika 80, "Bias reduction of maximum
likelihood estimates", adds half the log determinant of the information to the log-likelihood; then all estimates are
finite, and the profile of the penalised likelihood gives a bound (Heinze and Schemper 2002, Statistics in Medicine 21).
Estimates and profiles are those of
`firthmodels`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from firthmodels import FirthLogisticRegression
from scipy.optimize import linprog
from scipy.special import expit

SATURATED = 12.0
"""A log odds beyond this after `_STEPS` Newton steps, each of which adds 1 to an infinite one, is infinite."""

_STEPS = 25
_SMALL = 1e-7


@dataclass(frozen=True)
class Separation:
    """Directions in which the likelihood has no maximum.

    Attributes:
        basis: Orthonormal columns that span them, for columns of the design of size 1; (p, r), r = 0 without
            separation.
        rows: What a step along each of them does to the distinct rows whose outcome they determine: positive if it is
            towards the outcome; (m, r).
        scale: Size of each column of the design; (p,).
    """

    basis: np.ndarray
    rows: np.ndarray
    scale: np.ndarray

    def is_finite(self, contrast: np.ndarray) -> bool:
        """Return whether a contrast of the coefficients has a finite estimate."""
        if not self.basis.shape[1]:
            return True
        unit_contrast = contrast / self.scale
        return bool(np.abs(unit_contrast @ self.basis).max() <= _SMALL * np.abs(unit_contrast).max())

    def sign(self, contrast: np.ndarray) -> int:
        """Return the sign of a contrast that is infinite; 0 if the data allow both, so that nothing is known of it."""
        objective = (contrast / self.scale) @ self.basis
        objective = objective / np.abs(objective).max()
        ends = [
            linprog(side * objective, A_ub=-self.rows, b_ub=np.zeros(len(self.rows)), bounds=(-1, 1), method="highs")
            for side in (-1.0, 1.0)
        ]
        largest, smallest = -ends[0].fun, ends[1].fun
        return int(largest > _SMALL) - int(smallest < -_SMALL)


def find_separation(y: np.ndarray, x: np.ndarray) -> Separation:
    """Find the directions in which coefficients grow without end; see `find_directions`."""
    return find_directions(y, x)[0]


def find_directions(y: np.ndarray, x: np.ndarray) -> tuple[Separation, np.ndarray]:
    """Find the directions in which coefficients grow without end, and a step along them to the likelihood's limit.

    Rows whose fitted log odds grow with every Newton step are determined by the model. What the other rows leave free
    is infinite or unknown (Clarkson and Jennrich 1991, Journal of the Royal Statistical Society B 53).

    Args:
        y: Outcomes in [0, 1]; (n,).
        x: Design of full rank; (n, p).
    """
    p = x.shape[1]
    scale = np.sqrt((x**2).mean(axis=0))
    x = x / scale
    finite = Separation(np.empty((p, 0)), np.empty((0, 0)), scale)
    beta = _climb(y, x)
    eta = x @ beta
    is_saturated = ~np.isfinite(eta) | (np.abs(eta) > SATURATED)
    # only rows whose outcome agrees are determined
    is_saturated &= np.where(eta > 0, y == 1, y == 0)
    if not is_saturated.any():
        return finite, np.zeros(p)
    basis = _null_space(x[~is_saturated])
    if not basis.shape[1]:
        # rows near the border of a feature that separates grow too slowly to be seen
        is_saturated = _search(y, x)
        basis = _null_space(x[~is_saturated])
        if not basis.shape[1]:
            return finite, np.zeros(p)
    signs = np.where(y[is_saturated] == 1, 1.0, -1.0)
    steps = (x[is_saturated] * signs[:, None]) @ basis
    return Separation(basis, np.unique(np.round(steps, 9), axis=0), scale), basis @ (basis.T @ beta) / scale


def _null_space(x: np.ndarray) -> np.ndarray:
    """Return orthonormal columns that a design leaves free; (p, r)."""
    values, vectors = np.linalg.eigh(x.T @ x)
    return vectors[:, values < _SMALL * max(values.max(), 1.0)]


def _search(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return which rows some direction moves towards their outcome, moving none away from it (Konis 2007); (n,)."""
    is_whole = (y == 0) | (y == 1)
    signed_rows = x * np.where(y == 1, 1.0, -1.0)[:, None]
    # a row with a share between 0 and 1 must not move at all
    result = linprog(
        -signed_rows[is_whole].sum(axis=0), A_ub=-signed_rows[is_whole], b_ub=np.zeros(is_whole.sum()),
        A_eq=None if is_whole.all() else x[~is_whole], b_eq=None if is_whole.all() else np.zeros((~is_whole).sum()),
        bounds=(-1, 1), method="highs",
    )  # fmt: skip
    moves = signed_rows @ result.x if result.success else np.zeros(len(y))
    return np.asarray(moves > _SMALL)


def _climb(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the coefficients after a fixed number of Newton steps, or at the maximum."""
    beta = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        mean = expit(x @ beta)
        weight = np.maximum(mean * (1 - mean), 1e-14)
        try:
            change = np.linalg.solve((x * weight[:, None]).T @ x, x.T @ (y - mean))
        except np.linalg.LinAlgError:
            break
        length = np.abs(x @ change).max()
        beta = beta + change * min(1.0, 5.0 / max(length, 1e-300))
        if length < 1e-6:
            break
    return beta


def estimate_firth(y: np.ndarray, x: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the coefficients of Firth's penalised likelihood; (p,).

    Raises:
        numpy.linalg.LinAlgError: If they do not converge.
    """
    fit = _fit(y, x, weights)
    if not fit.converged_ or not np.isfinite(fit.coef_).all():
        raise np.linalg.LinAlgError("the penalised likelihood has no maximum")
    return fit.coef_


def bound(
    y: np.ndarray,
    x: np.ndarray,
    offset: np.ndarray,
    weights: np.ndarray,
    directions: Mapping[int, int],
    confidence: float,
) -> dict[int, tuple[float, float]]:
    """Return the one-sided bound of separated coefficients, and the p of the penalised likelihood ratio test.

    Args:
        y: Outcomes in [0, 1]; (n,).
        x: Columns over which the likelihood is maximised; (n, p).
        offset: What the other columns add to the log odds, held at its estimate; (n,).
        weights: Weights of the rows; (n,).
        directions: Columns of `x`, each with the sign of its infinite estimate.
        confidence: Level of the one-sided bound.

    Returns:
        (bound, p) of each column; NaN if the profile did not converge.
    """
    columns = list(directions)
    fit = _fit(y, x, weights, offset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # two sides at 2 alpha: each of them is one side at alpha
        intervals = fit.conf_int(alpha=2 * (1 - confidence), method="pl", features=columns)
        fit.lrt(columns)
    return {
        column: (float(intervals[column][0 if sign > 0 else 1]), float(fit.lrt_pvalues_[column]))
        for column, sign in directions.items()
    }


def _fit(
    y: np.ndarray, x: np.ndarray, weights: np.ndarray | None, offset: np.ndarray | None = None
) -> FirthLogisticRegression:
    weights = np.ones(len(y)) if weights is None else weights
    offset = np.zeros(len(y)) if offset is None else offset
    outcomes, rows, parts = y, x, weights
    if not np.isin(y, (0.0, 1.0)).all():
        # a share of y is y successes and 1 - y failures
        outcomes = np.repeat([1.0, 0.0], len(y))
        rows, parts = np.vstack([x, x]), np.concatenate([weights * y, weights * (1 - y)])
        offset = np.concatenate([offset, offset])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FirthLogisticRegression(backend="numpy", fit_intercept=False, max_iter=200).fit(
            rows, outcomes.astype(int), sample_weight=parts, offset=offset
        )
