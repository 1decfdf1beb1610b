"""Average marginal effects: what a term changes on the scale of the outcome.

The effect of a level is the mean, over the rows as they are and by their weights, of the predicted outcome with this
level less that with the reference level. The effect of a feature is the mean slope of the predicted outcome, per unit
of the feature (a decade for a log10); of a feature that is 0 or 1 it is the difference between the two. Intervals are
by the delta method from the cluster-robust covariance, with the features' distribution held fixed. If one of the two
levels always succeeds or always fails, the delta method has no width there. Then the interval of the difference is that
of Zou and Donner (2008), Statistics in Medicine 27, from Wilson intervals in which each cluster counts once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from edit_robustness.statistics.regression.design import ABSORBED, MOST_LEVELS
from edit_robustness.statistics.regression.equations import mean_of, slope_of
from edit_robustness.statistics.regression.fits import Fit
from edit_robustness.statistics.regression.formulas import is_spline

_STEP = 1e-4
"""Half width of the difference that stands for a slope, as a share of the feature's range."""


@dataclass(frozen=True)
class Effect:
    """One effect.

    Attributes:
        term: ``kind=cloze``, ``log_views``, or within a level ``log_views|method=rome``.
        variable: The variable that changes.
        reference: Reference level; empty for a feature.
        effect: On the scale of the outcome, with low and high.
        estimate: The same on the scale of the linear predictor (log odds), averaged over the rows.
        error: Its standard error; NaN if it is infinite.
    """

    term: str
    variable: str
    reference: str
    effect: float
    low: float
    high: float
    estimate: float
    error: float


class Effects:
    """Effects of a fit's variables."""

    def __init__(self, fit: Fit, confidence: float) -> None:
        """Prepare the rows of each variable.

        Args:
            fit: The fit.
            confidence: Level of the intervals.
        """
        self._fit, self._confidence = fit, confidence
        self._values = {name: fit.rows[name].astype(str).to_numpy(dtype=object) for name in fit.design.levels}
        self._levels = {
            name: [level for level in levels if (self._values[name] == level).any()]
            for name, levels in fit.design.levels.items()
            if len(levels) <= MOST_LEVELS and name not in ABSORBED
        }
        self._features = list(fit.design.means)
        self._clusters = np.empty(len(fit.clusters.order), dtype=int)
        self._clusters[fit.clusters.order] = np.repeat(np.arange(len(fit.clusters.sizes)), fit.clusters.sizes)

    def list_all(self) -> list[Effect]:
        """Return the effects of all variables, then those within the levels of the factors that they interact with."""
        every_row = np.ones(len(self._fit.rows), dtype=bool)
        effects: list[Effect] = []
        within: list[Effect] = []
        for name in [*self._levels, *self._features]:
            row_numbers = self._number_alike(name)
            effects += self._of_variable(name, every_row, row_numbers, "")
            for factor in self._interactions(name):
                for level in self._levels[factor]:
                    mask = self._values[factor] == level
                    within += self._of_variable(name, mask, row_numbers, f"|{factor}={level}")
        return effects + within

    def _number_alike(self, name: str) -> np.ndarray:
        """Number the rows so that rows with one number are equal once this variable has one value; (n,)."""
        other_columns = [column for column in (*self._fit.design.levels, *self._features) if column != name]
        if name in self._features:
            other_columns.append(name)
        if not other_columns:
            return np.zeros(len(self._fit.rows), dtype=int)
        return self._fit.rows.groupby(other_columns, observed=True, dropna=False, sort=False).ngroup().to_numpy()

    def _interactions(self, name: str) -> Iterator[str]:
        """Yield each factor that a variable shares a term with."""
        factors: dict[str, None] = {}
        for column in self._fit.columns:
            if name in column.variables:
                factors |= {factor: None for factor in column.variables if factor != name and factor in self._levels}
        yield from factors

    def _of_variable(self, name: str, mask: np.ndarray, row_numbers: np.ndarray, suffix: str) -> Iterator[Effect]:
        fit = self._fit
        if name in self._features:
            mask = mask & np.isfinite(fit.rows[name].to_numpy(dtype=float))
        if not mask.any() or not any(name in column.variables for column in fit.columns):
            return
        places = np.flatnonzero(mask)
        _, first, numbers = np.unique(row_numbers[places], return_index=True, return_inverse=True)
        counts = np.bincount(numbers, weights=None if fit.weights is None else fit.weights[places])
        sample = _Sample(places, places[first], counts / counts.sum(), fit)
        if name in self._levels:
            yield from self._of_levels(name, sample, suffix)
        elif name in fit.design.binary:
            high, low = (sample.change(name, value) for value in (1.0, 0.0))
            yield self._difference(f"{name}{suffix}", name, high, low, sample.weights)
        else:
            values, all_values = sample.rows[name].to_numpy(dtype=float), fit.rows[name].to_numpy(dtype=float)
            width = (np.nanmax(all_values) - np.nanmin(all_values)) * _STEP
            if width > 0:
                is_curve = any(is_spline(code) for code in fit.design.codes(name))
                # a spline has no value beyond its outermost knots
                limits = (np.nanmin(all_values), np.nanmax(all_values)) if is_curve else (-np.inf, np.inf)
                above, below = np.clip(values + width, *limits), np.clip(values - width, *limits)
                high, low = (sample.change(name, at) for at in (above, below))
                yield self._difference(f"{name}{suffix}", name, high, low, sample.weights / (above - below))

    def _of_levels(self, name: str, sample: _Sample, suffix: str) -> Iterator[Effect]:
        present = set(self._values[name][sample.places])
        reference = self._fit.design.levels[name][0]
        if reference not in present:
            return
        low = sample.change(name, reference)
        for level in self._levels[name]:
            if level == reference or level not in present:
                continue
            effect = self._difference(f"{name}={level}{suffix}", name, sample.change(name, level), low, sample.weights)
            low_bound, high_bound = effect.low, effect.high
            is_constant = any(self._is_constant(name, of, sample) for of in (level, reference))
            # if only part of each level is determined, the delta method holds
            if np.isnan(effect.error) and is_constant:
                low_bound, high_bound = self._of_shares(name, level, reference, effect.effect, sample)
            yield replace(effect, reference=reference, low=low_bound, high=high_bound)

    def _difference(self, term: str, name: str, high: np.ndarray, low: np.ndarray, weights: np.ndarray) -> Effect:
        fit = self._fit
        eta_high, eta_low = high @ fit.beta, low @ fit.beta
        effect = float(((mean_of(eta_high, fit.family) - mean_of(eta_low, fit.family)) * weights).sum())
        gradient = high.T @ (slope_of(eta_high, fit.family) * weights)
        gradient -= low.T @ (slope_of(eta_low, fit.family) * weights)
        contrast = (high - low).T @ weights
        quantile = stats.t.ppf((1 + self._confidence) / 2, fit.freedom)
        half = quantile * np.sqrt(max(float(gradient @ fit.covariance @ gradient), 0.0))
        error = np.sqrt(max(float(contrast @ fit.covariance @ contrast), 0.0))
        is_finite = fit.separation.is_finite(contrast)
        if not is_finite and name in self._features:
            half = np.nan
        return Effect(
            term, name, "", effect, effect - half, effect + half, float(contrast @ fit.beta),
            error if is_finite else np.nan,
        )  # fmt: skip

    def _is_constant(self, name: str, level: str, sample: _Sample) -> bool:
        values = self._fit.rows["value"].to_numpy()[sample.places]
        return len(np.unique(values[self._values[name][sample.places] == level])) == 1

    def _of_shares(self, name: str, level: str, reference: str, effect: float, sample: _Sample) -> tuple[float, float]:
        """Return the interval of a difference of observed shares around an effect, each cluster counting once."""
        values = self._fit.rows["value"].to_numpy()[sample.places]
        best = values.max() if self._fit.x.shape[0] > len(self._fit.rows) else 1.0
        limits = []
        for of in (level, reference):
            mask = self._values[name][sample.places] == of
            # the best value of an ordinal outcome is its success
            share = float((values[mask] / best).mean() if best == 1.0 else (values[mask] == best).mean())
            n = len(np.unique(self._clusters[sample.places[mask]]))
            limits.append((share, *proportion_confint(share * n, n, alpha=1 - self._confidence, method="wilson")))
        (share_1, low_1, high_1), (share_0, low_0, high_0) = limits
        return (
            effect - float(np.hypot(share_1 - low_1, high_0 - share_0)),
            effect + float(np.hypot(high_1 - share_1, share_0 - low_0)),
        )


class _Sample:
    """Rows over which an effect is averaged: distinct ones, with weights that sum to 1."""

    def __init__(self, places: np.ndarray, distinct: np.ndarray, weights: np.ndarray, fit: Fit) -> None:
        """Take the distinct rows of a fit.

        Args:
            places: Numbers of all rows.
            distinct: Numbers of the distinct ones.
            weights: Their weights.
            fit: The fit.
        """
        self.places, self.weights = places, weights
        self.rows = fit.rows.iloc[distinct]
        self._fit, self._encoding = fit, fit.design.full.take(distinct)

    def change(self, name: str, value: object) -> np.ndarray:
        """Return the estimated columns with one variable set to a value."""
        return self._fit.to_columns(self._fit.design.change(self._encoding, self.rows, name, value))
