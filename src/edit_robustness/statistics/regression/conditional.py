"""Conditional logistic regression: prompts of one fact compared with each other only.

Cox (1970): given how many prompts of a group succeed, all that the group's prompts share cancels. The sum over all ways
to choose the successes is made by the recursion of Gail, Lubin and Rubinstein (1981), Biometrika 68, "Likelihood
calculations for matched case-control studies", for all groups at once, with its first two derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import chi2

from edit_robustness.statistics.regression.separation import Separation, find_directions

STEPS = 50
LARGEST = 12.0
"""A bound beyond this log odds ratio is none."""

_LIMIT = 25.0
"""Log odds at which the likelihood is at its limit."""

_MOST_DISTINCT = 2000
"""With more distinct rows (a feature that differs between the prompts of a fact), separation is not looked for."""

_GROUPS_AT_ONCE = 128
_TOLERANCE = 1e-7


@dataclass(frozen=True)
class ConditionalFit:
    """Estimates of a conditional logistic regression.

    Attributes:
        beta: Log odds ratios; (p,). Those without a finite estimate are large.
        covariance: Inverse of the observed information over finite directions; (p, p).
        influences: Change of the coefficients by each informative group; (G, p).
        groups: Names of these groups; (G,).
        n_rows: Rows in these groups.
        converged: Whether the score is zero.
        separation: Directions without a finite estimate.
    """

    beta: np.ndarray
    covariance: np.ndarray
    influences: np.ndarray
    groups: np.ndarray
    n_rows: int
    converged: bool
    separation: Separation


@dataclass(frozen=True)
class _Padded:
    """Groups of rows as arrays: x (G, T, p), mask (G, T), successes (G,), and the sum of x over successes (G, p)."""

    x: np.ndarray
    mask: np.ndarray
    successes: np.ndarray
    totals: np.ndarray


def fit_conditional(y: np.ndarray, x: np.ndarray, groups: np.ndarray) -> ConditionalFit:
    """Maximise the conditional likelihood, by Newton steps with the information of fixed effects in place of its own.

    The two are nearly equal, and that of fixed effects costs a hundredth of the exact one, which the errors use.
    Directions without a maximum are found first, and the likelihood is maximised over the others at their limit.

    Args:
        y: Outcomes 0 and 1; (n,).
        x: Columns that differ within groups; (n, p).
        groups: Group of each row; (n,).
    """
    names, codes = np.unique(groups, return_inverse=True)
    sizes, successes = np.bincount(codes), np.bincount(codes, weights=y)
    informative = np.flatnonzero((successes > 0) & (successes < sizes))
    # by the number of the rarer outcome, so that a block of groups needs short recursions
    informative = informative[np.argsort(np.minimum(successes, sizes - successes)[informative], kind="stable")]
    separation, direction = _find_separation(y, x, codes)
    finite = _complement(separation, x.shape[1])
    columns = np.column_stack([x @ finite, x @ direction])
    arrays = _pad(y, columns, codes, informative, int(sizes[informative].max(initial=0)))
    start = np.append(np.zeros(finite.shape[1]), 1.0)
    gamma, is_solved = _climb(arrays, start, finite.shape[1])
    _, scores, information = _evaluate(arrays, gamma, second=True)
    k = finite.shape[1]
    inverse = np.linalg.pinv(information[:k, :k], hermitian=True)
    return ConditionalFit(
        beta=finite @ gamma[:k] + direction,
        covariance=finite @ inverse @ finite.T,
        influences=scores[:, :k] @ inverse @ finite.T,
        groups=names[informative],
        n_rows=int(sizes[informative].sum()),
        converged=is_solved,
        separation=separation,
    )


def _complement(separation: Separation, p: int) -> np.ndarray:
    """Return columns that span the coefficients' finite directions; (p, p - r)."""
    if not separation.basis.shape[1]:
        return np.eye(p)
    infinite = separation.basis / separation.scale[:, None]
    left_vectors, _, _ = np.linalg.svd(infinite, full_matrices=True)
    return left_vectors[:, infinite.shape[1] :]


def _find_separation(y: np.ndarray, x: np.ndarray, codes: np.ndarray) -> tuple[Separation, np.ndarray]:
    """Find directions that put every success before every failure of its group, or level with it.

    The differences of all such pairs are the rows of a logistic regression whose outcome is always 1.

    Returns:
        The directions, and one of them, so long that the likelihood is at its limit; (p,).
    """
    p = x.shape[1]
    none = Separation(np.empty((p, 0)), np.empty((0, 0)), np.ones(p))
    distinct, kinds = np.unique(x, axis=0, return_inverse=True)
    kinds = kinds.reshape(-1)
    if len(distinct) > _MOST_DISTINCT:
        return none, np.zeros(p)
    n_groups, n_kinds = codes.max() + 1, len(distinct)
    wins, losses = np.zeros((n_groups, n_kinds)), np.zeros((n_groups, n_kinds))
    np.add.at(wins, (codes, kinds), y)
    np.add.at(losses, (codes, kinds), 1 - y)
    first, second = np.nonzero((wins > 0).T.astype(float) @ (losses > 0).astype(float))
    differences = distinct[first] - distinct[second]
    differences = differences[np.abs(differences).max(axis=1) > 0]
    if not len(differences):
        return none, np.zeros(p)
    separation, direction = find_directions(np.ones(len(differences)), differences)
    return separation, direction


def bound_conditional(
    y: np.ndarray, column: np.ndarray, offset: np.ndarray, groups: np.ndarray, sign: int, confidence: float
) -> float:
    """Return the one-sided bound of an infinite log odds ratio, from the conditional likelihood.

    Args:
        y: Outcomes of the rows that the column compares; (n,).
        column: The column; (n,).
        offset: Log odds of the other columns, held at their estimates; (n,).
        groups: Group of each row; (n,).
        sign: Sign of the infinite estimate.
        confidence: Level of the bound.

    Returns:
        The bound; NaN if the rows say nothing of it.
    """
    _, codes = np.unique(groups, return_inverse=True)
    sizes, successes = np.bincount(codes), np.bincount(codes, weights=y)
    informative = np.flatnonzero((successes > 0) & (successes < sizes))
    if not len(informative):
        return float("nan")
    arrays = _pad(y, np.column_stack([column, offset]), codes, informative, int(sizes[informative].max()))

    def value(size: float) -> float:
        return _evaluate(arrays, np.array([sign * size, 1.0]), second=False)[0]

    lowest = value(_LIMIT) - chi2.ppf(2 * confidence - 1, 1) / 2
    if value(-_LIMIT) > lowest or value(LARGEST) < lowest:
        return float("nan")
    return float(sign * brentq(lambda size: value(size) - lowest, -_LIMIT, LARGEST, xtol=1e-4))


def _climb(groups: _Padded, beta: np.ndarray, n_free: int) -> tuple[np.ndarray, bool]:
    """Maximise over the first coefficients; return all, and whether the score is zero."""
    value, scores, _ = _evaluate(groups, beta, second=False)
    for _ in range(STEPS if n_free else 0):
        change = np.zeros(len(beta))
        information = _approximate_information(groups, beta)[:n_free, :n_free]
        try:
            change[:n_free] = np.linalg.solve(information, scores.sum(axis=0)[:n_free])
        except np.linalg.LinAlgError:
            break
        best, scale = value, 1.0
        for _step in range(12):
            value, scores, _ = _evaluate(groups, beta + scale * change, second=False)
            if value >= best - 1e-10:
                break
            scale /= 2
        beta = beta + scale * change
        if np.abs(scale * change).max() < _TOLERANCE:
            return beta, True
    return beta, not n_free


def _pad(y: np.ndarray, x: np.ndarray, codes: np.ndarray, informative: np.ndarray, longest: int) -> _Padded:
    place = np.full(codes.max() + 1, -1)
    place[informative] = np.arange(len(informative))
    rows = np.flatnonzero(place[codes] >= 0)
    rows = rows[np.argsort(place[codes[rows]], kind="stable")]
    group = place[codes[rows]]
    starts = np.searchsorted(group, np.arange(len(informative)))
    column = np.arange(len(rows)) - starts[group]
    arrays = np.zeros((len(informative), longest, x.shape[1]))
    mask = np.zeros((len(informative), longest))
    arrays[group, column], mask[group, column] = x[rows], 1.0
    successes, totals = np.zeros(len(informative), dtype=int), np.zeros((len(informative), x.shape[1]))
    np.add.at(successes, group, y[rows].astype(int))
    np.add.at(totals, group, x[rows] * y[rows, None])
    # choosing the successes is choosing the failures with the opposite sign; the rarer ones are fewer to choose
    sizes = mask.sum(axis=1).astype(int)
    flip = successes > sizes - successes
    totals[flip] = totals[flip] - arrays[flip].sum(axis=1)
    arrays[flip] = -arrays[flip]
    return _Padded(arrays, mask, np.where(flip, sizes - successes, successes), totals)


def _approximate_information(groups: _Padded, beta: np.ndarray) -> np.ndarray:
    """Return the information of a logistic regression with an intercept per group; (p, p)."""
    eta, sizes = groups.x @ beta, groups.mask.sum(axis=1)
    intercept = np.log(groups.successes / (sizes - groups.successes)) - (eta * groups.mask).sum(axis=1) / sizes
    for _ in range(30):
        mean = expit(eta + intercept[:, None]) * groups.mask
        weight = mean * (1 - mean)
        step = (groups.successes - mean.sum(axis=1)) / np.maximum(weight.sum(axis=1), 1e-9)
        intercept = intercept + np.clip(step, -2, 2)
    mean = expit(eta + intercept[:, None]) * groups.mask
    weight = mean * (1 - mean)
    products = groups.x * weight[:, :, None]
    sums = products.sum(axis=1)
    flat = groups.x.reshape(-1, len(beta))
    between = sums.T @ (sums / np.maximum(weight.sum(axis=1), 1e-12)[:, None])
    information: np.ndarray = products.reshape(-1, len(beta)).T @ flat - between
    return information


def _evaluate(groups: _Padded, beta: np.ndarray, second: bool) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the log-likelihood, each group's score, and, if `second`, the observed information."""
    value, information = 0.0, np.zeros((len(beta), len(beta)))
    scores = np.zeros((len(groups.successes), len(beta)))
    for start in range(0, len(groups.successes), _GROUPS_AT_ONCE):
        part = slice(start, start + _GROUPS_AT_ONCE)
        x, mask = groups.x[part], groups.mask[part]
        eta = x @ beta
        # a common factor of a group cancels; without its mean the products stay in range
        mean = (eta * mask).sum(axis=1, keepdims=True) / mask.sum(axis=1, keepdims=True)
        factor = np.exp(np.clip(eta - mean, -60, 60)) * mask
        total, first, cross = _recursion(x, factor, int(groups.successes[part].max()), second)
        positions = (np.arange(len(x)), groups.successes[part])
        expectation = first[positions] / total[positions][:, None]
        scores[part] = groups.totals[part] - expectation
        value += float(
            (groups.totals[part] @ beta - groups.successes[part] * mean[:, 0] - np.log(total[positions])).sum()
        )
        if second:
            information += (cross[positions] / total[positions][:, None, None]).sum(
                axis=0
            ) - expectation.T @ expectation
    return value, scores, information


def _recursion(
    x: np.ndarray, factor: np.ndarray, largest: int, derive_twice: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sum over choices of k rows of the product of their factors, and its derivatives.

    Args:
        x: (G, T, p).
        factor: exp of the linear predictor, 0 for rows that pad; (G, T).
        largest: Largest k.
        derive_twice: Whether second derivatives are needed.

    Returns:
        (G, K + 1), (G, K + 1, p), (G, K + 1, p, p); the last is empty without second derivatives.
    """
    n, length, p = x.shape
    total, first = np.zeros((n, largest + 1)), np.zeros((n, largest + 1, p))
    second = np.zeros((n, largest + 1, p, p) if derive_twice else (0, 0, 0, 0))
    total[:, 0] = 1.0
    for step in range(length):
        # after so many rows no more can be chosen
        k = min(step + 1, largest)
        row, weight = x[:, step], factor[:, step]
        shift = total[:, :k, None] * row[:, None, :]
        if derive_twice:
            cross = (first[:, :k] + shift / 2)[:, :, :, None] * row[:, None, None, :]
            second[:, 1 : k + 1] += weight[:, None, None, None] * (second[:, :k] + cross + np.swapaxes(cross, 2, 3))
        first[:, 1 : k + 1] += weight[:, None, None] * (first[:, :k] + shift)
        total[:, 1 : k + 1] += weight[:, None] * total[:, :k]
    return total, first, second
