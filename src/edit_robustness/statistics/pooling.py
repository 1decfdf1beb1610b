"""Rank correlations within relations, and their mean over relations by random effects.

A correlation over all facts also arises if relations with famous subjects happen to have easy objects. Within a
relation it cannot. The random-effects mean describes the average relation, I-squared the share of the variance between
relations that is no sampling error, and the prediction interval a relation that was not measured.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from edit_robustness.statistics.correlation import FEWEST_RARE, FEWEST_ROWS, intervals, p_values

POOLED = ("within_rho", "within_low", "within_high", "i2", "prediction_low", "prediction_high")

_TOLERANCE = 1e-6
"""Tolerance of Paule and Mandel's equation. With one near machine precision, the library's iteration can step past the
root by a rounding error, and then returns a variance of 0."""

_NO_RELATIONS = pd.DataFrame(
    {
        **{"relation": np.empty(0, dtype=object), **dict.fromkeys(("rho", "low", "high", "p"), np.empty(0))},
        **dict.fromkeys(("n_facts", "n_subjects"), np.empty(0, dtype=np.int64)),
    }
)
"""The table of a sample in which no relation has enough facts, which in a small run is almost every one."""


def within_relations(
    x: ArrayLike, y: ArrayLike, relations: ArrayLike, subjects: ArrayLike | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """Compute Spearman's correlation within each relation.

    Args:
        x: (n,) a feature; NaN: missing.
        y: (n,) an outcome; NaN: missing.
        relations: (n,) the relation of each fact.
        subjects: (n,) the subject of each fact; None: all differ. A relation's interval is that for its number of
            subjects, because facts of one subject are not independent.
        confidence: Level of the intervals.

    Returns:
        relation, rho, low, high, p, n_facts, n_subjects for each relation with facts of at least `FEWEST_ROWS` subjects
        that are not constant. No bounds and no p (NaN) with fewer than `FEWEST_RARE` facts apart from the commonest
        value.
    """
    a, b, names = np.asarray(x, float), np.asarray(y, float), np.asarray(relations, dtype=object)
    complete = ~(np.isnan(a) | np.isnan(b) | pd.isna(names))
    codes, labels = pd.factorize(names[complete], sort=True)
    k = len(labels)
    clusters = np.arange(len(codes)) if subjects is None else pd.factorize(np.asarray(subjects)[complete])[0]
    n_facts = np.bincount(codes, minlength=k)
    distinct_pairs = np.unique(np.column_stack([codes, clusters]), axis=0)
    n_subjects = np.bincount(distinct_pairs[:, 0], minlength=k)
    if not (n_subjects >= FEWEST_ROWS).any():
        return _NO_RELATIONS.copy()
    (rank_a, apart_a), (rank_b, apart_b) = (_rank_within(values[complete], codes, n_facts) for values in (a, b))
    spread_a, spread_b, product = (
        np.bincount(codes, weights=values, minlength=k) for values in (rank_a**2, rank_b**2, rank_a * rank_b)
    )
    usable = (n_subjects >= FEWEST_ROWS) & (spread_a > 0) & (spread_b > 0)
    rho = np.clip(product[usable] / np.sqrt(spread_a * spread_b)[usable], -1, 1)
    size = n_subjects[usable].astype(float)
    low, high = intervals(rho, size, size - 2, confidence)
    p = p_values(rho, size, size - 2)
    # the rarer value in each relation, as `correlation.count_rare` counts it
    is_rare = np.round((apart_a * apart_b)[usable] / n_facts[usable]) < FEWEST_RARE
    low, high, p = (np.where(is_rare, np.nan, values) for values in (low, high, p))
    return pd.DataFrame(
        {"relation": np.asarray(labels, dtype=object)[usable], "rho": rho, "low": low, "high": high, "p": p,
         "n_facts": n_facts[usable], "n_subjects": n_subjects[usable]}
    )  # fmt: skip


def _rank_within(values: np.ndarray, codes: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute mid-ranks within groups, less their mean, and the facts per group apart from the commonest value.

    Args:
        values: (n,) values without NaN.
        codes: (n,) groups from 0.
        sizes: (k,) facts per group.

    Returns:
        (n,) centred ranks, and (k,) counts; all facts if no value repeats.
    """
    order = np.lexsort((values, codes))
    sorted_values, sorted_codes = values[order], codes[order]
    is_first = np.ones(len(values), dtype=bool)
    is_first[1:] = (sorted_values[1:] != sorted_values[:-1]) | (sorted_codes[1:] != sorted_codes[:-1])
    runs = np.cumsum(is_first) - 1
    lengths = np.bincount(runs)
    ranks = np.empty(len(values))
    ranks[order] = (np.cumsum(lengths) - (lengths - 1) / 2)[runs]
    means = np.bincount(codes, weights=ranks, minlength=len(sizes)) / np.maximum(sizes, 1)
    commonest = np.zeros(len(sizes), dtype=int)
    np.maximum.at(commonest, sorted_codes[is_first], lengths)
    return ranks - means[codes], np.where(commonest > 1, sizes - commonest, sizes)


def pool_relations(by_relation: pd.DataFrame, confidence: float = 0.95) -> dict[str, float]:
    """Pool the correlations of relations by random effects.

    Fisher's z of each relation has the variance (1 + rho^2 / 2) / (n - 3), Bonett and Wright (2000), Psychometrika 65,
    with n its subjects. The variance between relations is Paule and Mandel's (1982). The interval is Hartung and
    Knapp's (2001) with k - 1 degrees of freedom, not narrower than the ordinary one with that quantile (`test="adhoc"`
    in R's metafor). I-squared is the share of the variance between relations, for a typical relation: Higgins and
    Thompson (2002), equation 9. The prediction interval is that of Higgins, Thompson and Spiegelhalter (2009), with
    the error and the k - 1 degrees of freedom of the interval, as metafor computes it.

    Args:
        by_relation: rho and n_subjects of each relation (`within_relations`).
        confidence: Level of both intervals.

    Returns:
        within_rho, within_low, within_high, i2 (0 to 1), prediction_low, prediction_high, n_relations; NaN with fewer
        than two relations.
    """
    is_usable = by_relation["n_subjects"].to_numpy() > 3
    k = int(is_usable.sum())
    if k < 2:
        return {**dict.fromkeys(POOLED, float("nan")), "n_relations": k}
    usable = by_relation[is_usable]
    rho = usable["rho"].clip(-0.999, 0.999).to_numpy()
    variance = (1 + rho**2 / 2) / (usable["n_subjects"].to_numpy() - 3)
    # relations that agree exactly give an infinite ratio that is not used here
    with np.errstate(divide="ignore"):
        result = combine_effects(np.arctanh(rho), variance, method_re="iterated", atol=_TOLERANCE, maxiter=200)
    tau2, mean = max(float(result.tau2), 0.0), float(result.mean_effect_re)
    error = max(float(result.sd_eff_w_re), float(result.sd_eff_w_re_hksj))
    weight = 1 / variance
    typical = (k - 1) * weight.sum() / (weight.sum() ** 2 - (weight**2).sum())
    quantile = stats.t.ppf((1 + confidence) / 2, k - 1)
    half, spread = quantile * error, quantile * np.sqrt(tau2 + error**2)
    z = {
        "within_rho": mean, "within_low": mean - half, "within_high": mean + half,
        "prediction_low": mean - spread, "prediction_high": mean + spread,
    }  # fmt: skip
    values = {name: float(np.tanh(value)) for name, value in z.items()}
    return {**values, "i2": float(tau2 / (tau2 + typical)), "n_relations": k}
