"""How well predicted probabilities tell success from failure, with intervals by a bootstrap over clusters.

Every estimate here is a ratio of sums over clusters, or over pairs of clusters, that are computed once. A sample of
clusters with replacement gives each cluster a weight, so a resample costs one product with these sums, and the
predictors are not fitted again. The intervals therefore hold for the predictors as they were trained: they are about
other facts and relations to predict, and not about other facts to train on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
from scipy import stats


@dataclass(frozen=True)
class Resamples:
    """Weights of clusters: how often each stands in a sample of clusters with replacement.

    Attributes:
        codes: (n,) cluster of each trial.
        weights: (bootstrap, n_clusters) whole numbers.
        confidence: Level of the intervals.
        trial_weights: (n,) weights of the trials in every estimate; None for equal weights.
    """

    codes: np.ndarray
    weights: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    confidence: float
    trial_weights: np.ndarray | None = None

    @classmethod
    def draw(
        cls, clusters: np.ndarray, bootstrap: int, confidence: float, seed: int, trial_weights: np.ndarray | None = None
    ) -> Resamples:
        """Draw the samples; equal seeds give equal samples for equal clusters."""
        codes, labels = pd.factorize(clusters)
        k = len(labels)
        weights = np.random.default_rng(seed).multinomial(k, np.full(k, 1 / k), size=bootstrap).astype(float)
        return cls(codes, weights, confidence, trial_weights)

    @property
    def n_clusters(self) -> int:
        """Return the number of clusters."""
        return self.weights.shape[1]

    def take(self, mask: np.ndarray) -> Resamples:
        """Return the same samples for some of the trials."""
        trial_weights = None if self.trial_weights is None else self.trial_weights[mask]
        return Resamples(self.codes[mask], self.weights, self.confidence, trial_weights)

    def weighted(self, values: np.ndarray) -> np.ndarray:
        """Return the trials' values times their weights."""
        return values if self.trial_weights is None else values * self.trial_weights

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return the weighted sum of the trials' values per cluster."""
        return np.bincount(self.codes, weights=self.weighted(values), minlength=self.n_clusters)

    def interval(self, draws: np.ndarray) -> tuple[float, float]:
        """Return the expanded percentile interval of draws; NaN draws are left out.

        Percentiles of a bootstrap over k clusters are too narrow by the factor sqrt((k - 1) / k), and by that of
        normal to t quantiles; the expanded ones correct both (Hesterberg 2015, "What Teachers Should Know About the
        Bootstrap", section 5.2).
        """
        values, k = draws[np.isfinite(draws)], self.n_clusters
        if k < 2 or not len(values):
            return float("nan"), float("nan")
        tail = float(stats.norm.cdf(-sqrt(k / (k - 1)) * stats.t.ppf((1 + self.confidence) / 2, k - 1)))
        low, high = np.quantile(values, [tail, 1 - tail])
        return float(low), float(high)


@dataclass(frozen=True)
class Estimate:
    """A value with its bootstrap draws, which pair with those of other estimates from the same resamples.

    Attributes:
        value: The estimate.
        draws: (bootstrap,) the estimate in each resample.
    """

    value: float
    draws: np.ndarray

    def __sub__(self, other: Estimate) -> Estimate:
        return Estimate(self.value - other.value, self.draws - other.draws)


@dataclass(frozen=True)
class Concordance:
    """Pairs of a success and a failure, by the clusters of both.

    Attributes:
        concordant: (n_clusters, n_clusters) weighted pairs in which the success has the higher probability; ties count
            half. Rows are the clusters of the successes.
        pairs: (n_clusters, n_clusters) all pairs.
    """

    concordant: np.ndarray
    pairs: np.ndarray

    def auc(self, resamples: Resamples) -> Estimate:
        """Return the share of concordant pairs: the area under the ROC curve, pooled over strata."""
        total = self.pairs.sum()
        weights = resamples.weights
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = _quadratic(weights, self.concordant) / _quadratic(weights, self.pairs)
        return Estimate(float(self.concordant.sum() / total) if total else float("nan"), draws)


def concordance(probability: np.ndarray, target: np.ndarray, strata: np.ndarray, resamples: Resamples) -> Concordance:
    """Count the concordant pairs inside each stratum.

    Args:
        probability: (n,) predicted probabilities.
        target: (n,) 0 or 1.
        strata: (n,) codes; pairs of different strata are not compared.
        resamples: Has the clusters.
    """
    k = resamples.n_clusters
    concordant, pairs = np.zeros((k, k)), np.zeros((k, k))
    for rows in _yield_groups(strata):
        is_success = target[rows] == 1
        successes, failures = rows[is_success], rows[~is_success]
        if not len(successes) or not len(failures):
            continue
        failures = failures[np.argsort(probability[failures], kind="stable")]
        of_failure, failure_clusters = np.unique(resamples.codes[failures], return_inverse=True)
        of_success, success_clusters = np.unique(resamples.codes[successes], return_inverse=True)
        # how many failures of each cluster, by their weights, are among the first ones by probability
        weights = resamples.weighted(np.ones(len(target)))
        counts = np.zeros((len(failures) + 1, len(of_failure)))
        counts[np.arange(1, len(failures) + 1), failure_clusters] = weights[failures]
        np.cumsum(counts, axis=0, out=counts)
        below = np.searchsorted(probability[failures], probability[successes], side="left")
        up_to = np.searchsorted(probability[failures], probability[successes], side="right")
        order = np.argsort(success_clusters, kind="stable")
        starts = np.searchsorted(success_clusters[order], np.arange(len(of_success)))
        shares = weights[successes][:, None] * (counts[below] + counts[up_to]) / 2
        wins = np.add.reduceat(shares[order], starts, axis=0)
        place = np.ix_(of_success, of_failure)
        concordant[place] += wins
        pairs[place] += np.outer(
            np.bincount(success_clusters, weights=weights[successes]),
            np.bincount(failure_clusters, weights=weights[failures]),
        )
    return Concordance(concordant, pairs)


def auc(target: np.ndarray, probability: np.ndarray) -> float:
    """Compute the area under the ROC curve; NaN if the target does not vary."""
    resamples = Resamples(np.zeros(len(target), dtype=int), np.ones((1, 1)), 0.95)
    return (
        concordance(np.asarray(probability), np.asarray(target), np.zeros(len(target), dtype=int), resamples)
        .auc(resamples)
        .value
    )


def mean_of(values: np.ndarray, resamples: Resamples) -> Estimate:
    """Return the mean over trials, such as the Brier score of squared errors."""
    sums, sizes = resamples.sums(values), resamples.sums(np.ones(len(values)))
    value = float(np.average(values, weights=resamples.trial_weights))
    return Estimate(value, (resamples.weights @ sums) / (resamples.weights @ sizes))


def skill(errors: np.ndarray, reference_errors: np.ndarray, resamples: Resamples) -> Estimate:
    """Return the Brier skill score: 1 minus the squared error as a share of a reference's; NaN if that has none."""
    error, reference = mean_of(errors, resamples), mean_of(reference_errors, resamples)
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = 1 - error.draws / reference.draws
    return Estimate(1 - error.value / reference.value if reference.value else float("nan"), draws)


def _quadratic(weights: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    forms: np.ndarray = np.einsum("bk,bk->b", weights @ matrix, weights)
    return forms


def _yield_groups(codes: np.ndarray) -> Iterator[np.ndarray]:
    order = np.argsort(codes, kind="stable")
    boundaries = np.flatnonzero(np.diff(codes[order])) + 1
    yield from np.split(order, boundaries)
