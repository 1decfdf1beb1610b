"""A naive transcription of generalised estimating equations, to check the library's against.

Liang and Zeger (1986), Biometrika 73: beta solves sum_i D_i' V_i^-1 (y_i - mu_i) = 0, with V_i = A_i^1/2 R(alpha)
A_i^1/2 and R exchangeable; alpha and phi by moments of the Pearson residuals. The covariance is the plain sandwich.
"""

from __future__ import annotations

import numpy as np


def naive_gee(
    y: np.ndarray, x: np.ndarray, groups: np.ndarray, steps: int = 60, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of a logistic GEE and their sandwich covariance; (k,), (k, k).

    With weights of rows, V_i is A_i^1/2 W_i^-1/2 R(alpha) W_i^-1/2 A_i^1/2, as in R's geepack (Halekoh, Hojsgaard
    and Yan 2006, Journal of Statistical Software 15, section 2).
    """
    beta, weights = np.zeros(x.shape[1]), np.ones(len(y)) if weights is None else weights
    clusters = [groups == g for g in np.unique(groups)]
    for _ in range(steps):
        mean = 1 / (1 + np.exp(-x @ beta))
        alpha = _alpha(y, mean, clusters, len(beta), weights)
        bread, score = _sums(y, x, mean, clusters, alpha, weights)[:2]
        beta = beta + np.linalg.solve(bread, score)
    bread, _, meat = _sums(y, x, 1 / (1 + np.exp(-x @ beta)), clusters, alpha, weights)
    inverse = np.linalg.inv(bread)
    return beta, inverse @ meat @ inverse


def _alpha(y, mean, clusters, k, weights) -> float:
    residual = (y - mean) / np.sqrt(mean * (1 - mean))
    scale = (weights * residual**2).sum() / (len(y) - k)
    pairs = products = 0.0
    for c in clusters:
        rows = np.flatnonzero(c)
        for place, i in enumerate(rows):
            for j in rows[place + 1 :]:
                weight = np.sqrt(weights[i] * weights[j])
                pairs, products = pairs + weight, products + weight * residual[i] * residual[j]
    return products / (pairs - k) / scale


def _sums(y, x, mean, clusters, alpha, weights):
    k = x.shape[1]
    bread, score, meat = np.zeros((k, k)), np.zeros(k), np.zeros((k, k))
    for c in clusters:
        spread = mean[c] * (1 - mean[c])
        d = x[c] * spread[:, None]
        together = np.full((c.sum(), c.sum()), alpha)
        np.fill_diagonal(together, 1)
        root = np.sqrt(spread / weights[c])
        v = root[:, None] * together * root[None]
        part = d.T @ np.linalg.solve(v, y[c] - mean[c])
        bread += d.T @ np.linalg.solve(v, d)
        score += part
        meat += np.outer(part, part)
    return bread, score, meat
