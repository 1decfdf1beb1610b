"""Generalised estimating equations in closed form over clusters, and cluster-robust covariances.

Liang and Zeger (1986), Biometrika 73: an exchangeable correlation within a cluster, or independence. The inverse of an
exchangeable correlation is ``(I - c J) / (1 - alpha)`` with ``c = alpha / (1 + (n - 1) alpha)``, so all sums need each
cluster's rows and their total only, and no matrix of a cluster's size. The covariance is that of Mancl and DeRouen
(2001), Biometrics 57, "A covariance estimator for GEE with improved small-sample properties", or the sandwich with the
factors of Stata and of R's ``sandwich::vcovCL(type = "HC1")``.

Weights of rows are those of a sample: inverse probabilities to be drawn. As in R's geepack, V is ``A^(1/2) W^(-1/2) R
W^(-1/2) A^(1/2)``, so that rows and residuals are multiplied by the roots of their weights. A cluster with weight 2
counts in the estimates as two clusters, and in the covariance as one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

STEPS = 200
TOLERANCE = 1e-9
"""Largest change of a coefficient in the last step, relative to 1 + its size."""

_LEVERAGE = 1 - 1e-8
"""A direction of a cluster with a larger eigenvalue of its leverage is determined by this cluster alone."""


@dataclass(frozen=True)
class Clusters:
    """Rows in the order of their clusters.

    Attributes:
        order: Row numbers, cluster after cluster; (n,).
        starts: Place of each cluster's first row in `order`; (G,).
        sizes: Rows of each cluster; (G,).
        names: Name of each cluster; (G,).
    """

    order: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    names: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray) -> Clusters:
        """Group rows by their labels."""
        names, codes = np.unique(np.asarray(labels), return_inverse=True)
        sizes = np.bincount(codes, minlength=len(names))
        return cls(np.argsort(codes, kind="stable"), np.cumsum(sizes) - sizes, sizes, names)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sums over each cluster's rows; (G, ...)."""
        return np.add.reduceat(values[self.order], self.starts, axis=0)


@dataclass(frozen=True)
class Solution:
    """Solved equations.

    Attributes:
        beta: Coefficients; (p,).
        alpha: Correlation within a cluster.
        bread: Sum of D' V^-1 D over clusters; (p, p).
        scores: D' V^-1 (y - mu) of each cluster; (G, p).
        converged: Whether the last step was small.
    """

    beta: np.ndarray
    alpha: float
    bread: np.ndarray
    scores: np.ndarray
    converged: bool


def mean_of(eta: NDArray[np.float64], family: str) -> NDArray[np.float64]:
    """Return the mean of a linear predictor."""
    return eta if family == "gaussian" else expit(eta)


def slope_of(eta: NDArray[np.float64], family: str) -> NDArray[np.float64]:
    """Return the derivative of the mean by the linear predictor, which is also the variance of a binary outcome."""
    if family == "gaussian":
        return np.ones_like(eta)
    mean = mean_of(eta, family)
    return mean * (1 - mean)


def solve(
    y: np.ndarray, x: np.ndarray, clusters: Clusters, family: str, exchangeable: bool,
    weights: np.ndarray | None = None,
) -> Solution:  # fmt: skip
    """Solve the estimating equations.

    Args:
        y: Outcomes; (n,), in [0, 1] for the family binomial.
        x: Design of full rank; (n, p).
        clusters: Clusters of the rows.
        family: ``binomial`` (logit) or ``gaussian`` (identity).
        exchangeable: Estimate a correlation within clusters, instead of independence.
        weights: Weights of the rows with mean 1; (n,). None for equal weights.

    Raises:
        numpy.linalg.LinAlgError: If the equations are singular.
    """
    beta, alpha, is_solved = np.zeros(x.shape[1]), 0.0, False
    for step in range(STEPS):
        if exchangeable and step > 2:
            alpha = correlation(y, x, beta, clusters, family, weights)
        bread, scores = _sums(y, x, beta, clusters, family, alpha, weights)
        change = np.linalg.solve(bread, scores.sum(axis=0))
        # far from the solution a whole step of a logit can overshoot
        change *= min(1.0, 5.0 / max(np.abs(x @ change).max(), 1e-300))
        beta = beta + change
        is_solved = bool(np.all(np.abs(change) < TOLERANCE * (1 + np.abs(beta))))
        if (is_solved and (not exchangeable or step > 3)) or not np.isfinite(beta).all():
            break
    return evaluate(y, x, beta, clusters, family, alpha, is_solved, weights)


def evaluate(
    y: np.ndarray, x: np.ndarray, beta: np.ndarray, clusters: Clusters, family: str, alpha: float = 0.0,
    is_solved: bool = True, weights: np.ndarray | None = None,
) -> Solution:  # fmt: skip
    """Return the equations' sums at given coefficients."""
    bread, scores = _sums(y, x, beta, clusters, family, alpha, weights)
    return Solution(beta, alpha, bread, scores, is_solved)


def correlation(
    y: np.ndarray, x: np.ndarray, beta: np.ndarray, clusters: Clusters, family: str, weights: np.ndarray | None = None
) -> float:
    """Return the exchangeable correlation of the Pearson residuals, by moments."""
    eta, p = x @ beta, x.shape[1]
    variance = slope_of(eta, family)
    root = np.ones(len(y)) if weights is None else np.sqrt(weights)
    residual = root * (y - mean_of(eta, family)) / np.sqrt(np.maximum(variance, 1e-12))
    scale = (residual**2).sum() / max(len(y) - p, 1)
    products = (clusters.sum(residual) ** 2 - clusters.sum(residual**2)).sum() / 2
    pairs = (clusters.sum(root) ** 2 - clusters.sum(root**2)).sum() / 2
    if pairs <= p or scale <= 0:
        return 0.0
    # the correlation matrix of the largest cluster must stay positive definite
    lowest = -0.95 / max(clusters.sizes.max() - 1, 1)
    return float(np.clip(products / (pairs - p) / scale, lowest, 0.95))


def _total_factors(clusters: Clusters, alpha: float) -> np.ndarray:
    """Return ``c`` of each cluster, the weight of its total in the inverse of its correlation."""
    return alpha / (1 + (clusters.sizes - 1) * alpha)


def _sums(
    y: np.ndarray, x: np.ndarray, beta: np.ndarray, clusters: Clusters, family: str, alpha: float,
    weights: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    eta = x @ beta
    slope = np.maximum(slope_of(eta, family), 1e-12)
    part = np.ones(len(y)) if weights is None else weights
    products, residual = x * np.sqrt(part * slope)[:, None], (y - mean_of(eta, family)) * np.sqrt(part / slope)
    row_scores = products * residual[:, None]
    bread, scores = products.T @ products, clusters.sum(row_scores)
    if alpha:
        factors, totals = _total_factors(clusters, alpha), clusters.sum(products)
        bread = (bread - totals.T @ (factors[:, None] * totals)) / (1 - alpha)
        scores = (scores - (factors * clusters.sum(residual))[:, None] * totals) / (1 - alpha)
    return bread, scores


def cluster_influences(
    x: np.ndarray, solution: Solution, clusters: Clusters, family: str, is_adjusted: bool,
    weights: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Return the change of the coefficients that each cluster makes, to first order; (G, p).

    Args:
        x: The design.
        solution: Solved equations.
        clusters: Clusters of the rows.
        family: As in `solve`.
        is_adjusted: Divide residuals by ``I - H`` of their cluster (Mancl and DeRouen), so that a cluster's own pull on
            the fit is taken out: ``(B - M)^-1 s`` with M and s the cluster's parts of bread and score. In directions
            that one cluster determines alone it has no residual; there the Moore-Penrose inverse is taken.
        weights: As in `solve`.
    """
    inverse_root = np.linalg.inv(np.linalg.cholesky(solution.bread))
    white_scores = solution.scores @ inverse_root.T
    if is_adjusted:
        slope = np.maximum(slope_of(x @ solution.beta, family), 1e-12)
        root = np.sqrt(slope if weights is None else slope * weights)
        rows = ((x * root[:, None]) @ inverse_root.T)[clusters.order]
        for index, (start, size) in enumerate(zip(clusters.starts, clusters.sizes, strict=True)):
            block = _decorrelate(rows[start : start + size], solution.alpha)
            white_scores[index] = _divide(block, white_scores[index])
    return white_scores @ inverse_root


def _decorrelate(rows: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Return R^(-1/2) times a cluster's rows, R being the exchangeable correlation."""
    if not alpha:
        return rows
    plain: float = 1 / np.sqrt(1 - alpha)
    total: float = 1 / np.sqrt(1 + (len(rows) - 1) * alpha)
    mean: NDArray[np.float64] = rows.mean(axis=0, keepdims=True)
    return plain * (rows - mean) + total * mean


def _divide(block: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return ``(I - Z'Z)^+ s``, from the eigenvalues of the smaller of Z'Z and ZZ'."""
    if len(block) < block.shape[1]:
        values, vectors = np.linalg.eigh(block @ block.T)
        directions = vectors.T @ block  # rows of length sqrt(value)
    else:
        values, vectors = np.linalg.eigh(block.T @ block)
        directions = vectors.T * np.sqrt(np.maximum(values, 0))[:, None]
    is_determined = values > _LEVERAGE
    along = directions @ score
    # 1 / (1 - v) - 1 = v / (1 - v), and the squared length of a direction is v
    factors = np.where(is_determined, -1.0, 1 / np.where(is_determined, 1.0, 1 - values))
    divided: np.ndarray = score + directions.T @ (factors * along)
    return divided


def covariance(influences: NDArray[np.float64], n: int, is_adjusted: bool) -> NDArray[np.float64]:
    """Return the covariance of the coefficients; (p, p).

    Args:
        influences: `cluster_influences`.
        n: Number of rows.
        is_adjusted: Whether the influences are those of Mancl and DeRouen; plain ones get the factors
            ``G / (G - 1)`` and ``(n - 1) / (n - p)``.
    """
    groups, p = influences.shape
    total = influences.T @ influences
    return total if is_adjusted else total * groups / max(groups - 1, 1) * (n - 1) / max(n - p, 1)
