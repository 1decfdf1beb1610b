"""Rank correlations with a subject's popularity, and the correlations that a sample can detect.

Facts about one subject are not independent, so intervals resample subjects and p-values permute page views between
subjects. A fact without page views is left out and counted. It is never imputed.
"""

from __future__ import annotations

from math import atanh, ceil, sqrt, tanh

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.multitest import multipletests

FEWEST_ROWS = 5
"""Fewest rows for a rank correlation. Fisher's z needs more than three."""


def spearman(
    x: ArrayLike,
    y: ArrayLike,
    subjects: ArrayLike,
    *,
    confidence: float = 0.95,
    bootstrap: int = 2000,
    seed: int = 0,
) -> dict[str, object]:
    """Estimate Spearman's correlation, with a subject bootstrap interval and a subject permutation p-value.

    Args:
        x: A property of the subject; the permutation uses the first of several rows of one subject.
        y: An outcome.
        subjects: The cluster of each row.
        confidence: Level of the interval.
        bootstrap: Number of resamples, and of permutations.
        seed: Seed of both.

    Returns:
        rho, low, high, p, n_facts (rows used), n_missing (rows without x or y), note (the reason if there is no
        estimate).
    """
    rows = pd.DataFrame({"x": np.asarray(x, float), "y": np.asarray(y, float), "subject": np.asarray(subjects)})
    pairs = rows.replace([np.inf, -np.inf], np.nan).dropna(subset=["x", "y"])
    counts = {"n_facts": len(pairs), "n_missing": len(rows) - len(pairs)}
    reason = _explain_missing(pairs)
    if reason:
        no_values = dict.fromkeys(("rho", "low", "high", "p"), float("nan"))
        return {**no_values, **counts, "note": reason}
    a, b = pairs["x"].to_numpy(), pairs["y"].to_numpy()
    codes, _ = pd.factorize(pairs["subject"])
    rng = np.random.default_rng(seed)
    rho = float(stats.spearmanr(a, b).statistic)
    low, high = _bootstrap_interval(a, b, codes, confidence, bootstrap, rng)
    return {
        "rho": rho,
        "low": low,
        "high": high,
        "p": _permutation_p(rho, a, b, codes, bootstrap, rng),
        **counts,
        "note": "",
    }


def _explain_missing(pairs: pd.DataFrame) -> str:
    if len(pairs) < FEWEST_ROWS:
        return f"only {len(pairs)} facts: too few"
    if pairs["y"].nunique() == 1:
        return "the outcome is the same for every fact"
    if pairs["x"].nunique() == 1:
        return "page views are the same for every fact"
    return ""


def _bootstrap_interval(
    x: np.ndarray, y: np.ndarray, codes: np.ndarray, confidence: float, times: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Compute percentiles of the correlation over resampled subjects.

    A resample is a weight for each row: how often its subject was drawn.
    """
    n_subjects = codes.max() + 1
    draws = rng.multinomial(n_subjects, np.full(n_subjects, 1 / n_subjects), size=times)
    rhos = weighted_spearman(x, y, draws[:, codes].astype(float))
    tail = 100 * (1 - confidence) / 2
    low, high = np.nanpercentile(rhos, [tail, 100 - tail])
    return float(low), float(high)


def weighted_spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute Spearman's correlation of rows repeated by integer weights, for each row of `weights`.

    Args:
        x: (n,) values.
        y: (n,) values.
        weights: (resamples, n) whole numbers.

    Returns:
        (resamples,) correlations; NaN if a resample is constant.
    """
    rank_x, rank_y = _weighted_ranks(x, weights), _weighted_ranks(y, weights)
    total = weights.sum(axis=1, keepdims=True)
    dx = rank_x - (weights * rank_x).sum(axis=1, keepdims=True) / total
    dy = rank_y - (weights * rank_y).sum(axis=1, keepdims=True) / total
    spread = np.sqrt((weights * dx**2).sum(axis=1) * (weights * dy**2).sum(axis=1))
    product = (weights * dx * dy).sum(axis=1)
    return np.divide(product, spread, out=np.full(len(weights), np.nan), where=spread > 0)


def _weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute mid-ranks when row i is repeated weights[:, i] times; (resamples, n)."""
    distinct, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(distinct)))
    sizes = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.cumsum(sizes, axis=1) - sizes + (sizes + 1) / 2
    return ranks[:, group]


def _permutation_p(
    rho: float, x: np.ndarray, y: np.ndarray, codes: np.ndarray, times: int, rng: np.random.Generator
) -> float:
    """Compute the two-sided p-value from permutations of x between subjects; all rows of a subject keep one x."""
    _, first = np.unique(codes, return_index=True)
    permutations = rng.permuted(np.tile(x[first], (times, 1)), axis=1)[:, codes]
    ranks = stats.rankdata(permutations, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    target = stats.rankdata(y) - (len(y) + 1) / 2
    rhos = ranks @ target / np.sqrt((ranks**2).sum(axis=1) * (target**2).sum())
    return float((1 + (np.abs(rhos) >= abs(rho) - 1e-12).sum()) / (times + 1))


def within_relations(x: ArrayLike, y: ArrayLike, relations: ArrayLike) -> pd.DataFrame:
    """Compute Spearman's correlation within each relation.

    This removes a correlation that arises only because some relations have both famous subjects and easy objects.

    Returns:
        relation, rho, n for each relation with at least `FEWEST_ROWS` complete rows that are not constant.
    """
    rows = pd.DataFrame({"x": np.asarray(x, float), "y": np.asarray(y, float), "relation": np.asarray(relations)})
    pairs = rows.replace([np.inf, -np.inf], np.nan).dropna()
    results = [
        {"relation": relation, "rho": float(stats.spearmanr(group["x"], group["y"]).statistic), "n": len(group)}
        for relation, group in pairs.groupby("relation")
        if not _explain_missing(group)
    ]
    return pd.DataFrame(results, columns=["relation", "rho", "n"])


def pool_relations(by_relation: pd.DataFrame, confidence: float = 0.95) -> dict[str, float]:
    """Pool the correlations of relations: Fisher's z, random effects over relations (Paule and Mandel).

    The variance of z is (1 + rho^2 / 2) / (n - 3), Bonett and Wright (2000), Psychometrika 65, equation for Spearman.

    Returns:
        within_rho, within_low, within_high, n_relations; NaN with fewer than two relations.
    """
    no_values = dict.fromkeys(("within_rho", "within_low", "within_high"), float("nan"))
    usable = by_relation[by_relation["n"] > 3]
    if len(usable) < 2:
        return {**no_values, "n_relations": len(usable)}
    rho = usable["rho"].clip(-0.999, 0.999).to_numpy()
    result = combine_effects(np.arctanh(rho), (1 + rho**2 / 2) / (usable["n"].to_numpy() - 3), method_re="iterated")
    # the level is that of the frame: `combine_effects` has one for the intervals of single relations only
    row = result.summary_frame(alpha=1 - confidence).loc["random effect"]
    bounds = {"within_rho": row["eff"], "within_low": row["ci_low"], "within_high": row["ci_upp"]}
    return {**{name: tanh(float(z)) for name, z in bounds.items()}, "n_relations": len(usable)}


def n_to_detect(rho: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Compute the number of facts with which a two-sided test at `alpha` detects `rho` with probability `power`.

    By Fisher's z: n = ((z_{1-alpha/2} + z_{power}) / atanh(rho))^2 + 3, Cohen (1988), chapter 3.

    Raises:
        ValueError: If `rho` is 0 or not inside (-1, 1).
    """
    if not 0 < abs(rho) < 1:
        raise ValueError(f"rho must satisfy 0 < |rho| < 1 (it is {rho})")
    return ceil(((stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)) / atanh(abs(rho))) ** 2 + 3)


def detectable(n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Compute the smallest correlation that `n` facts detect with probability `power`, the inverse of `n_to_detect`."""
    if n <= 3:
        return float("nan")
    return tanh((stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)) / sqrt(n - 3))


def holm(p: ArrayLike) -> np.ndarray:
    """Compute Holm's (1979) adjusted p-values of one family of tests; NaN is not a test and stays NaN."""
    raw = np.asarray(p, dtype=float)
    p_values = np.full(len(raw), np.nan)
    is_test = ~np.isnan(raw)
    if is_test.any():
        p_values[is_test] = multipletests(raw[is_test], method="holm")[1]
    return p_values
