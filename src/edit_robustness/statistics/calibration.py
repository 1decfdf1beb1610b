"""Calibration of predicted probabilities: maps that correct them, and how far they are off.

The maps are Platt's (1999, "Probabilistic outputs for support vector machines"), a logistic regression on the log odds,
and isotonic regression (Zadrozny and Elkan 2002). How far probabilities are off is the slope and the intercept of such
a logistic regression (Cox 1958; Van Calster et al. 2016, "A calibration hierarchy for risk models"): a slope below 1
means probabilities that are too extreme, an intercept above 0 means probabilities that are too low on average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from edit_robustness.statistics.correlation import clustered_information
from edit_robustness.statistics.discrimination import Estimate, Resamples
from edit_robustness.statistics.intervals import Proportion, proportion, wilson

BINS = 10
"""Classes of a calibration curve, equal in number of probes."""

_LOGIT_BINS = 400
"""Classes of log odds within which slope and intercept take the odds as equal."""

_STEPS = 25
_RIDGE = 1e-9
_EXTREME = 1e-6
"""Probabilities are kept this far from 0 and 1, where log odds are infinite."""


class CalibrationMap(Protocol):
    """A monotone map of probabilities."""

    def __call__(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the corrected probabilities."""
        ...

    def plain(self) -> dict[str, Any]:
        """Return the map as JSON values."""
        ...


@dataclass(frozen=True)
class Platt:
    """The logistic function of ``intercept + slope * log odds``."""

    slope: float
    intercept: float

    @classmethod
    def fit(cls, probability: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> Platt:
        """Fit the map to predictions on trials that were not used to train."""
        odds = log_odds(probability)
        if np.ptp(odds) < _RIDGE or len(set(target)) < 2:
            return cls(1.0, 0.0)
        fit = LogisticRegression(C=np.inf, tol=1e-10, max_iter=200).fit(odds[:, None], target, sample_weight=weights)
        slope = float(fit.coef_[0, 0])
        # a map that turns the order around would make the predictor say the opposite of what it learned
        return cls(slope, float(fit.intercept_[0])) if slope > 0 else cls(1.0, 0.0)

    def __call__(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the corrected probabilities."""
        return logistic(self.intercept + self.slope * log_odds(probability))

    def plain(self) -> dict[str, Any]:
        """Return the map as JSON values."""
        return {"form": "platt", "slope": self.slope, "intercept": self.intercept}


@dataclass(frozen=True)
class Isotonic:
    """A monotone step function, linear between its points and constant outside them."""

    points: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def fit(cls, probability: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> Isotonic:
        """Fit the map to predictions on trials that were not used to train."""
        fit = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(
            probability, target, sample_weight=weights
        )
        return cls(tuple(map(float, fit.X_thresholds_)), tuple(map(float, fit.y_thresholds_)))

    def __call__(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the corrected probabilities."""
        return np.interp(probability, self.points, self.values)

    def plain(self) -> dict[str, Any]:
        """Return the map as JSON values."""
        return {"form": "isotonic", "points": list(self.points), "values": list(self.values)}


FORMS: Mapping[str, type[Platt] | type[Isotonic]] = {"platt": Platt, "isotonic": Isotonic}


def read_map(plain: Mapping[str, Any]) -> Platt | Isotonic:
    """Return the map in JSON values; the inverse of `plain`.

    Raises:
        ValueError: If there is no such form of map.
    """
    if plain.get("form") == "platt":
        return Platt(float(plain["slope"]), float(plain["intercept"]))
    if plain.get("form") == "isotonic":
        return Isotonic(tuple(map(float, plain["points"])), tuple(map(float, plain["values"])))
    raise ValueError(f"calibration: form must be one of {', '.join(FORMS)}; it is {plain.get('form')!r}")


def log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return natural log odds; probabilities of 0 and 1 are taken as almost so."""
    probabilities = np.clip(probability, _EXTREME, 1 - _EXTREME)
    return np.log(probabilities / (1 - probabilities))


def logistic(odds: np.ndarray) -> np.ndarray:
    """Return probabilities of log odds."""
    return 0.5 * (1 + np.tanh(0.5 * odds))


def slope_and_intercept(probability: np.ndarray, target: np.ndarray, resamples: Resamples) -> tuple[Estimate, Estimate]:
    """Estimate the calibration slope, and the intercept given a slope of 1 (calibration in the large).

    The log odds are rounded to the means of 400 classes, so that a resample is fitted to the counts of these.

    Returns:
        The slope (1 is right) and the intercept (0 is right); NaN for probabilities that do not vary.
    """
    odds = log_odds(probability)
    bins = pd.Series(pd.qcut(odds, _LOGIT_BINS, labels=False, duplicates="drop")).fillna(0).astype(int).to_numpy()
    n_bins = int(bins.max()) + 1
    centres = np.bincount(bins, weights=odds) / np.maximum(np.bincount(bins), 1)
    cells = resamples.codes * n_bins + bins
    size = resamples.n_clusters * n_bins
    trials, successes = (
        np.bincount(cells, weights=resamples.weighted(values), minlength=size).reshape(-1, n_bins)
        for values in (np.ones(len(target)), target.astype(float))
    )
    weights = np.vstack([np.ones(resamples.n_clusters), resamples.weights])
    n, y = weights @ trials, weights @ successes
    slope = _fit_slope(centres, n, y) if np.ptp(odds) > _RIDGE else np.full(len(weights), np.nan)
    intercept = _fit_intercept(centres, n, y)
    return Estimate(float(slope[0]), slope[1:]), Estimate(float(intercept[0]), intercept[1:])


def _fit_slope(odds: np.ndarray, n: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the slopes of logistic regressions of y successes in n trials, one per row, by Newton's method."""
    a, b = np.zeros(len(n)), np.ones(len(n))
    for _ in range(_STEPS):
        probability = logistic(a[:, None] + b[:, None] * odds)
        residual, weight = y - n * probability, n * probability * (1 - probability)
        gradient = residual.sum(axis=1), residual @ odds
        aa, ab, bb = weight.sum(axis=1) + _RIDGE, weight @ odds, weight @ odds**2 + _RIDGE
        determinant = np.maximum(aa * bb - ab**2, _RIDGE)
        step_a = (bb * gradient[0] - ab * gradient[1]) / determinant
        step_b = (aa * gradient[1] - ab * gradient[0]) / determinant
        # a resample in which the odds separate the outcomes has no finite slope
        a, b = a + np.clip(step_a, -2, 2), b + np.clip(step_b, -2, 2)
        if max(np.abs(step_a).max(), np.abs(step_b).max()) < 1e-8:
            break
    return b


def _fit_intercept(odds: np.ndarray, n: np.ndarray, y: np.ndarray) -> np.ndarray:
    a = np.zeros(len(n))
    for _ in range(_STEPS):
        probability = logistic(a[:, None] + odds)
        step = (y - n * probability).sum(axis=1) / ((n * probability * (1 - probability)).sum(axis=1) + _RIDGE)
        a = a + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    return a


def weighted_proportion(
    values: np.ndarray, clusters: np.ndarray, weights: np.ndarray | None, confidence: float
) -> Proportion:
    """Estimate a weighted share with its cluster-robust Wilson interval; without weights that of `proportion`.

    The effective size is p(1 - p) over the variance of the ratio of the clusters' weighted totals, at least Kish's, and
    is scaled by the t quantiles (Korn and Graubard 1998).
    """
    if weights is None:
        return proportion(values, clusters, confidence)
    value, (codes, names) = float(np.average(values, weights=weights)), pd.factorize(clusters)
    tail = (1 + confidence) / 2
    if len(names) < 2:
        size = 1.0
    else:
        size = clustered_information(values - value, codes, weights, n_parameters=1).size
        size *= (stats.norm.ppf(tail) / stats.t.ppf(tail, len(names) - 1)) ** 2
    low, high = wilson(value * size, size, confidence)
    return Proportion(value, low, high, len(values), len(names))


def curve(
    probability: np.ndarray,
    target: np.ndarray,
    clusters: np.ndarray,
    confidence: float,
    weights: np.ndarray | None = None,
) -> pd.DataFrame:
    """Compute the calibration curve: in each class of predictions the mean of these, and the share of successes.

    Returns:
        bin, predicted, observed, low, high (cluster-robust Wilson interval of the share), n_probes. Classes have equal
        numbers of probes; equal predictions are in one class. Means and shares are weighted.
    """
    bins = pd.qcut(probability, BINS, labels=False, duplicates="drop")
    codes = np.nan_to_num(bins).astype(int)
    rows = []
    for number, code in enumerate(np.unique(codes)):
        mask = codes == code
        bin_weights = None if weights is None else weights[mask]
        share = weighted_proportion(target[mask], clusters[mask], bin_weights, confidence)
        rows.append(
            {
                "bin": number + 1,
                "predicted": float(np.average(probability[mask], weights=bin_weights)),
                "observed": share.value,
                "low": share.low,
                "high": share.high,
                "n_probes": share.n,
            }
        )
    return pd.DataFrame(rows)
