"""A naive transcription of generalised estimating equations, to check the library's against.

Liang and Zeger (1986), Biometrika 73: beta solves sum_i D_i' V_i^-1 (y_i - mu_i) = 0, with V_i = A_i^1/2 R(alpha)
A_i^1/2 and R exchangeable; alpha and phi by moments of the Pearson residuals. The covariance is the plain sandwich.
"""

from __future__ import annotations

import numpy as np


def naive_gee(y: np.ndarray, x: np.ndarray, groups: np.ndarray, steps: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of a logistic GEE and their sandwich covariance; (k,), (k, k)."""
    beta = np.zeros(x.shape[1])
    clusters = [groups == g for g in np.unique(groups)]
    for _ in range(steps):
        mean = 1 / (1 + np.exp(-x @ beta))
        alpha = _alpha(y, mean, clusters, len(beta))
        bread, score = _sums(y, x, mean, clusters, alpha)[:2]
        beta = beta + np.linalg.solve(bread, score)
    bread, _, meat = _sums(y, x, 1 / (1 + np.exp(-x @ beta)), clusters, alpha)
    inverse = np.linalg.inv(bread)
    return beta, inverse @ meat @ inverse


def _alpha(y, mean, clusters, k) -> float:
    residual = (y - mean) / np.sqrt(mean * (1 - mean))
    scale = (residual**2).sum() / (len(y) - k)
    pairs = sum(c.sum() * (c.sum() - 1) / 2 for c in clusters)
    products = sum((residual[c].sum() ** 2 - (residual[c] ** 2).sum()) / 2 for c in clusters)
    return products / (pairs - k) / scale


def _sums(y, x, mean, clusters, alpha):
    k = x.shape[1]
    bread, score, meat = np.zeros((k, k)), np.zeros(k), np.zeros((k, k))
    for c in clusters:
        spread = mean[c] * (1 - mean[c])
        d = x[c] * spread[:, None]
        together = np.full((c.sum(), c.sum()), alpha)
        np.fill_diagonal(together, 1)
        v = np.sqrt(spread)[:, None] * together * np.sqrt(spread)[None]
        part = d.T @ np.linalg.solve(v, y[c] - mean[c])
        bread += d.T @ np.linalg.solve(v, d)
        score += part
        meat += np.outer(part, part)
    return bread, score, meat
