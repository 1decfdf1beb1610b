"""An outcome against a feature: as a smooth curve with its band, and on request by classes of the feature.

A class hides where in it a fact lies, and its bounds are arbitrary. So the curve is the default, and the classes are
there for the comparison with paper 1 (arXiv 2402.05827), which has the points that each class loses against the mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from edit_robustness.statistics.intervals import proportion, wilson

CURVE_COLUMNS = ["model", "method", "protocol", "outcome", "feature", "x", "value", "low", "high", "n_facts"]
CLASS_COLUMNS = [
    *("model", "method", "protocol", "outcome", "feature", "from", "to", "centre", "value", "low", "high"),
    *("points", "points_low", "points_high", "n_facts"),
]

FEWEST_FACTS = 10
"""Fewest facts for a curve."""

_FRACTION = 2 / 3
"""Share of the facts near a point that its value is fitted to, as in lowess."""

_POINTS = 40
_TAIL = 0.02
"""Share of the facts at either end beyond which no curve is drawn: it would follow a few facts."""

_QUANTILES = 5
"""Number of classes of a feature that is no logarithm."""


def smooth(
    x: np.ndarray, y: np.ndarray, codes: np.ndarray, points: np.ndarray, confidence: float = 0.95
) -> pd.DataFrame:
    """Fit a local linear curve to shares, with a pointwise band.

    The curve is Cleveland's lowess (1979) without its robust iterations, which would discard the rarer value of an
    outcome of 0 and 1. The band is Wilson's interval with the effective number of facts at the point,
    p (1 - p) / var(p), where var is the cluster-robust variance of the local fit. It is clipped between the size for
    one fact per cluster and that for independent facts, and is the former if p is 0 or 1. So the band has a sensible
    width where all edits succeed, unlike a bootstrap. The band covers sampling error and not the bias of smoothing.

    Args:
        x: (n,) finite values of the feature.
        y: (n,) outcomes in [0, 1].
        codes: (n,) numbers of clusters from 0.
        points: (k,) where the curve is computed.
        confidence: Level of the band at each point.

    Returns:
        x, value, low, high at each point.
    """
    rows = [(point, *_local_share(x - point, y, codes, confidence)) for point in points]
    return pd.DataFrame(rows, columns=["x", "value", "low", "high"])


def _local_share(
    distance: np.ndarray, y: np.ndarray, codes: np.ndarray, confidence: float
) -> tuple[float, float, float]:
    n_near = max(2, int(_FRACTION * len(y) + 1e-10))
    width = np.partition(np.abs(distance), n_near - 1)[n_near - 1]
    kernel = np.clip(1 - (np.abs(distance) / max(width, 1e-12)) ** 3, 0, 1) ** 3
    if not kernel.any():
        kernel = (np.abs(distance) <= width).astype(float)
    kernel = kernel / kernel.sum()
    centre = (kernel * distance).sum()
    spread = (kernel * (distance - centre) ** 2).sum()
    weights = kernel if spread < 1e-12 else kernel * (1 - centre * (distance - centre) / spread)
    # rounded, so that a fit through ones alone is 1
    value = float(np.clip(round((weights * y).sum(), 9), 0, 1))
    slope = 0.0 if spread < 1e-12 else float((kernel * (distance - centre) * y).sum() / spread)
    totals = np.bincount(codes, weights=weights * (y - value - slope * distance))
    cluster_weights = np.bincount(codes, weights=weights)
    independent, n_clusters = 1 / (weights**2).sum(), 1 / (cluster_weights**2).sum()
    k = int((cluster_weights != 0).sum())
    variance = (totals**2).sum() * k / max(k - 1, 1)
    bounds = sorted((n_clusters, independent))
    size = n_clusters if value in (0, 1) else float(np.clip(value * (1 - value) / max(variance, 1e-12), *bounds))
    tail = (1 + confidence) / 2
    # few clusters estimate the variance poorly: Korn and Graubard (1998), as in `intervals.effective_size`
    size *= (stats.norm.ppf(tail) / stats.t.ppf(tail, max(n_clusters - 1, 1))) ** 2
    low, high = wilson(value * size, size, confidence)
    return value, low, high


def popularity_curves(cells: pd.DataFrame, features: Sequence[str], confidence: float = 0.95) -> pd.DataFrame:
    """Fit a curve of each outcome over each feature, per model, method and protocol.

    Args:
        cells: model, method, protocol, outcome, subject, value in [0, 1] and the columns `features`: a row per fact.
        features: Names of the features.
        confidence: Level of the bands.

    Returns:
        `CURVE_COLUMNS`; no rows for fewer than `FEWEST_FACTS` facts or a feature without variation.
    """
    parts = []
    for keys, x, y, codes in _complete(cells, features):
        if len(x) < FEWEST_FACTS or np.ptp(x) == 0:
            continue
        low, high = np.quantile(x, [_TAIL, 1 - _TAIL])
        points = np.linspace(low, high, _POINTS)
        parts.append(smooth(x, y, codes, points, confidence).assign(**keys, n_facts=len(x)))
    return pd.concat(parts, ignore_index=True)[CURVE_COLUMNS] if parts else pd.DataFrame(columns=CURVE_COLUMNS)


def popularity_classes(cells: pd.DataFrame, scales: Mapping[str, str], confidence: float = 0.95) -> pd.DataFrame:
    """Compute each outcome by classes of each feature, and the points that a class loses against the mean.

    Args:
        cells: As for `popularity_curves`.
        scales: The scale of each feature. Classes of one with scale ``log10`` are its decades, of others fifths of the
            facts.
        confidence: Level of the intervals.

    Returns:
        `CLASS_COLUMNS`: the class, the mean of the feature in it (centre), the outcome with Wilson's interval with
        design effect, and the difference from the mean over all facts in percentage points. Its interval combines those
        of the class and of the other facts: Newcombe (1998), method 10. Empty classes have no row.
    """
    rows = []
    for keys, x, y, codes in _complete(cells, list(scales)):
        edges = _edges(x, scales[keys["feature"]])
        places = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
        for place in np.unique(places):
            inside = places == place
            share = proportion(y[inside], codes[inside], confidence)
            rows.append(
                {**keys, "from": edges[place], "to": edges[place + 1], "centre": float(x[inside].mean()),
                 "value": share.value, "low": share.low, "high": share.high, "n_facts": int(inside.sum()),
                 **_lost_points(y, codes, inside, confidence)}
            )  # fmt: skip
    return pd.DataFrame(rows, columns=CLASS_COLUMNS)


def _complete(
    cells: pd.DataFrame, features: Sequence[str]
) -> Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray]]:
    """Yield keys, feature, outcome and clusters of the complete facts of each outcome and feature."""
    names = ["model", "method", "protocol", "outcome"]
    for key, rows in cells.groupby(names, sort=False, observed=True):
        for feature in features:
            pairs = rows[np.isfinite(rows[feature].astype(float)) & rows["value"].notna()]
            if len(pairs):
                codes = pd.factorize(pairs["subject"])[0]
                keys = dict(zip(names, key, strict=True)) | {"feature": feature}
                yield keys, pairs[feature].to_numpy(dtype=float), pairs["value"].to_numpy(dtype=float), codes


def _edges(x: np.ndarray, scale: str) -> np.ndarray:
    if scale == "log10":
        return np.arange(np.floor(x.min()), np.floor(x.max()) + 2)
    edges = np.unique(np.quantile(x, np.linspace(0, 1, _QUANTILES + 1)))
    return edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1])


def _lost_points(y: np.ndarray, codes: np.ndarray, inside: np.ndarray, confidence: float) -> dict[str, float]:
    """Compute the class's share minus the mean over all facts, in percentage points, with its interval."""
    if inside.all():
        return {"points": 0.0, "points_low": np.nan, "points_high": np.nan}
    # the mean holds the class: its difference from the mean is that from the other facts, times their share
    inside_share, outside_proportion = (proportion(y[mask], codes[mask], confidence) for mask in (inside, ~inside))
    outside_share = 100 * float((~inside).mean())
    difference = inside_share.value - outside_proportion.value
    down = sqrt(
        (inside_share.value - inside_share.low) ** 2 + (outside_proportion.high - outside_proportion.value) ** 2
    )
    up = sqrt((inside_share.high - inside_share.value) ** 2 + (outside_proportion.value - outside_proportion.low) ** 2)
    return {
        "points": outside_share * difference, "points_low": outside_share * (difference - down),
        "points_high": outside_share * (difference + up),
    }  # fmt: skip
