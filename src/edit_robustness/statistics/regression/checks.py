"""Checks of a regression's assumptions: what was looked at, what was found, and what was done about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from edit_robustness.notation import write_p
from edit_robustness.statistics.regression.design import MISSING
from edit_robustness.statistics.regression.equations import mean_of, slope_of
from edit_robustness.statistics.regression.fits import THRESHOLD, Fit

FINE, CAUTION = "fine", "caution"

MANY_CLUSTERS = 40
"""With fewer clusters the correction of the covariance for small samples matters."""

LARGEST_VIF = 10.0
"""A variance inflation factor beyond this makes a feature's interval more than three times as wide."""

LARGEST_INFLUENCE = 1.0
"""A cluster that moves an estimate by more than this many standard errors decides it."""

_DECILES = 10
_CLUSTERS_PER_DECILE = 5


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        check: What was looked at.
        value: The figure.
        flag: `FINE` or `CAUTION`.
        action: What was done, or what to do.
    """

    check: str
    value: float
    flag: str
    action: str


def check_fit(fit: Fit, groups: str, confidence: float) -> Iterator[Check]:
    """Yield the checks of a fit.

    Args:
        fit: The fit.
        groups: Name of the clusters.
        confidence: Level of the intervals; calibration is tested at one minus this.
    """
    yield _clusters(fit, groups)
    yield _correlation(fit)
    yield _separation(fit)
    yield _collinearity(fit)
    if fit.family == "binomial":
        yield _calibration(fit, 1 - confidence)
    yield _influence(fit, groups)


def _clusters(fit: Fit, groups: str) -> Check:
    n = len(fit.clusters.sizes)
    action = f"{n} clusters ({groups}) for {fit.n_between} terms that differ between them"
    action += f"; Student's t with {fit.freedom} degrees of freedom"
    return Check("clusters", n, FINE if fit.freedom >= MANY_CLUSTERS else CAUTION, action)


def _correlation(fit: Fit) -> Check:
    alpha = fit.solution.alpha
    description = (
        "correlation of two prompts of a cluster, given the terms" if alpha else "independence within clusters"
    )
    return Check("correlation", alpha, FINE, f"{description}; errors are robust to another correlation")


def _separation(fit: Fit) -> Check:
    n = len(fit.directions)
    if not n:
        return Check("separation", 0, FINE, "none")
    names = [fit.columns[index].name for index in fit.directions if not fit.columns[index].folded]
    names_start = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
    names_text = f" ({names_start})" if names else " (among absorbed levels)"
    action = (
        f"{n} terms have no finite estimate{names_text}: Firth's penalised likelihood, independence within clusters"
    )
    return Check("separation", n, CAUTION, action)


def _collinearity(fit: Fit) -> Check:
    values = [np.asarray(fit.rows[name], dtype=float) for name in fit.design.means]
    varying_columns = [
        (name, column) for name, column in zip(fit.design.means, values, strict=True) if np.nanstd(column) > 0
    ]
    collinear_names = [name for name, reason in fit.design.dropped.items() if reason.startswith("collinear")]
    dropped_text = (
        f"{len(collinear_names)} columns that others determine left out" if collinear_names else "nothing left out"
    )
    if len(varying_columns) < 2:
        return Check("collinearity", 1.0, FINE, dropped_text)
    matrix = np.column_stack([np.where(np.isfinite(c), c, np.nanmean(c)) for _, c in varying_columns])
    factors = np.diag(np.linalg.pinv(np.corrcoef(matrix, rowvar=False)))
    largest = int(np.argmax(factors))
    flag = CAUTION if factors[largest] > LARGEST_VIF else FINE
    action = f"largest variance inflation: {varying_columns[largest][0]}; {dropped_text}"
    return Check("collinearity", float(factors[largest]), flag, action)


def _calibration(fit: Fit, alpha: float) -> Check:
    """Compare observed with predicted shares by tenths of the prediction.

    The test is the score test of adding the tenths to the model (Horton et al. 1999, Statistics in Medicine 18), with
    the covariance of the clusters' sums, corrected for the estimated coefficients.
    """
    eta = fit.x @ fit.beta
    probabilities = mean_of(eta, fit.family)
    n_parts = int(np.clip(len(fit.clusters.sizes) // _CLUSTERS_PER_DECILE, 2, _DECILES))
    limits = np.unique(np.quantile(probabilities, np.linspace(0, 1, n_parts + 1)[1:-1]))
    codes = np.searchsorted(limits, probabilities, side="left")
    parts = (codes[:, None] == np.arange(len(limits) + 1)).astype(float)
    weights = np.ones(len(fit.y)) if fit.weights is None else fit.weights
    residual = weights * (fit.y - probabilities)
    sizes = np.maximum(weights @ parts, 1e-12)
    gaps = np.abs(parts.T @ residual) / sizes
    sums = fit.clusters.sum(parts * residual[:, None])
    shift = (parts * (weights * slope_of(eta, fit.family))[:, None]).T @ fit.x
    correction = sums - fit.solution.scores @ np.linalg.solve(fit.solution.bread, shift.T)
    total = sums.sum(axis=0)
    spread = correction.T @ correction
    rank = np.linalg.matrix_rank(spread, hermitian=True, tol=1e-8 * max(np.trace(spread), 1e-300))
    statistic = float(total @ np.linalg.pinv(spread, rcond=1e-8, hermitian=True) @ total)
    p = float(stats.chi2.sf(statistic, max(int(rank), 1)))
    flag = CAUTION if p < alpha else FINE
    advice = "; a curve (bs) or an interaction may be missing" if p < alpha else ""
    action = f"largest gap of observed and predicted, in points, over {len(sizes)} parts; {write_p(p)}{advice}"
    return Check("calibration", 100 * float(gaps.max()), flag, action)


def _influence(fit: Fit, groups: str) -> Check:
    columns = [
        index
        for index, column in enumerate(fit.columns)
        if index not in fit.directions and not column.folded and not column.name.startswith((MISSING, THRESHOLD))
    ]
    errors = np.sqrt(np.diag(fit.covariance))[columns]
    changes = np.abs(fit.influences[:, columns]) / np.where(errors > 0, errors, np.inf)
    if not changes.size:
        return Check("influence", 0.0, FINE, "no term to look at")
    group, column = np.unravel_index(int(np.argmax(changes)), changes.shape)
    value = float(changes[group, column])
    term = fit.columns[columns[int(column)]].name
    flag = CAUTION if value > LARGEST_INFLUENCE else FINE
    action = f"standard errors by which leaving out {groups} `{fit.clusters.names[group]}` moves {term}; all are kept"
    return Check("influence", value, flag, action)


def compare_complete(fit: Fit, complete: Fit | None, reason: str = "") -> Check:
    """Compare estimates with those from the rows that lack no feature.

    Args:
        fit: The fit with indicators of missing values.
        complete: The fit of the complete rows; None if these cannot support the model.
        reason: Why not.
    """
    shares = [float(mask.mean()) for mask in fit.design.missing.values()]
    if complete is None:
        return Check("missing values", max(shares), CAUTION, f"complete rows alone cannot be fitted: {reason}")
    places = {column.name: index for index, column in enumerate(complete.columns)}
    errors = np.sqrt(np.diag(fit.covariance))
    changes = {
        column.name: abs(fit.beta[index] - complete.beta[places[column.name]]) / errors[index]
        for index, column in enumerate(fit.columns)
        if column.name in places and not column.folded and index not in fit.directions and errors[index] > 0
    }
    if not changes:
        return Check("missing values", max(shares), FINE, "no term to compare")
    term = max(changes, key=lambda name: changes[name])
    flag = CAUTION if changes[term] > LARGEST_INFLUENCE else FINE
    n = complete.rows["fact_id"].nunique()
    action = f"standard errors by which fitting only the {n} facts without missing values moves {term}; all are kept"
    return Check("missing values", float(changes[term]), flag, action)
