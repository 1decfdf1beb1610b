"""Predictors of success and their fit: the strength of regularisation and the calibration come from inner folds.

Inner folds are parts of the training trials, made like the outer ones: a group is never on both sides. So a test trial
has no part in any choice (Varma and Simon 2006, "Bias in error estimation when using cross-validation for model
selection").

If the sample has weights, every fit, choice and calibration uses them, so that probabilities are those of the table of
facts and not of a sample that is balanced on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold

from edit_robustness.statistics.calibration import FORMS, CalibrationMap, logistic
from edit_robustness.statistics.design import Design, Trials

PERPLEXITY = "log_perplexity_new"
"""The feature that a predictor has alone: it is known to predict failure (arXiv 2406.17253)."""

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse strengths of regularisation to choose from, of the weakest fit first (`C` of scikit-learn)."""

INNER_FOLDS = 3
ROUNDS = (25, 50, 100, 200)
"""Numbers of trees to choose from."""

_LIMITS = 1e-9


class Fit(Protocol):
    """A fitted predictor."""

    def probability(self, trials: Trials) -> np.ndarray:
        """Return the calibrated probabilities of success."""
        ...


Fitter = Callable[[Trials, int, str], Fit]
"""Fits a predictor to trials, with the seed of its folds and the form of its calibration."""


@dataclass(frozen=True)
class ConstantFit:
    """The share of successes in training."""

    share: float

    def probability(self, trials: Trials) -> np.ndarray:
        """Return the same probability for all trials."""
        return np.full(len(trials), self.share)


@dataclass(frozen=True)
class LogisticFit:
    """A regularised logistic regression with its calibration.

    Attributes:
        design: The columns.
        coefficients: One per term of the design.
        intercept: Log odds where all columns are 0.
        calibration: Corrects the probabilities.
        strength: The chosen inverse strength of regularisation.
    """

    design: Design
    coefficients: NDArray[np.float64]
    intercept: float
    calibration: CalibrationMap
    strength: float

    def probability(self, trials: Trials) -> np.ndarray:
        """Return the calibrated probabilities of success."""
        return self.calibration(logistic(self.odds(trials)))

    def odds(self, trials: Trials) -> NDArray[np.float64]:
        """Return the log odds before calibration."""
        return self.intercept + self.design.matrix(trials) @ self.coefficients

    def contribution(self, feature: str, trials: Trials, facts: np.ndarray | None = None) -> np.ndarray:
        """Return what a feature adds to the log odds of each trial; 0 for an average fact.

        Args:
            feature: The feature; one that the design leaves out adds 0.
            trials: The trials.
            facts: (n,) rows of the facts whose values of the feature are taken; by default the trials' own.
        """
        facts = trials.fact if facts is None else facts
        total = np.zeros(len(trials))
        scale = next((scale for scale in self.design.scales if scale.name == feature), None)
        if scale is None:
            return total
        parts = scale.parts(trials.values[:, trials.features.index(feature)])
        for term, coefficient in zip(self.design.terms, self.coefficients, strict=True):
            if term.feature == feature:
                values = parts[term.part][facts] * coefficient
                if term.method:
                    values = values * (trials.method == term.method)
                if term.family:
                    values = values * (trials.family == term.family)
                total += values
        return total


@dataclass(frozen=True)
class BoostingFit:
    """Gradient boosted trees with their calibration."""

    trees: HistGradientBoostingClassifier
    methods: tuple[str, ...]
    kinds: tuple[str, ...]
    calibration: CalibrationMap

    def probability(self, trials: Trials) -> np.ndarray:
        """Return the calibrated probabilities of success."""
        return self.calibration(self.trees.predict_proba(_table(trials, self.methods, self.kinds))[:, 1])


def split(trials: Trials, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield training and test rows of folds whose groups are whole and whose shares of success are alike."""
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    yield from splitter.split(np.zeros((len(trials), 1)), trials.target, trials.group)


def fit_constant(trials: Trials, seed: int, form: str) -> Fit:
    """Fit the share of successes."""
    return ConstantFit(trials.share)


def logistic_fitter(features: Sequence[str], *, cells: bool = True) -> Fitter:
    """Return the fitter of a logistic regression on these features.

    Args:
        features: Names of features of the facts.
        cells: Whether methods and kinds are terms, too.
    """

    def fit(trials: Trials, seed: int, form: str) -> LogisticFit:
        # without a slope of a feature there is next to nothing to regularise
        strengths = STRENGTHS if features else STRENGTHS[-2:]
        inner = {strength: np.full(len(trials), trials.share) for strength in strengths}
        for train, test in inner_folds(trials, seed):
            part, test_part = trials.take(train), trials.take(test)
            design = Design.fit(part, features, cells=cells)
            if not design.terms:
                continue
            matrix, test_matrix = design.matrix(part), design.matrix(test_part)
            for strength, coefficients, intercept in fit_path(matrix, part.target, strengths, part.weight):
                inner[strength][test] = logistic(intercept + test_matrix @ coefficients)
        best = min(strengths, key=lambda strength: _loss(trials, inner[strength]))
        design = Design.fit(trials, features, cells=cells)
        coefficients, intercept = np.zeros(0), float(np.log(trials.share / (1 - trials.share)))
        if design.terms:
            upto = [strength for strength in strengths if strength <= best]
            *_, (_, coefficients, intercept) = fit_path(design.matrix(trials), trials.target, upto, trials.weight)
        calibration = FORMS[form].fit(inner[best], trials.target, trials.weight)
        return LogisticFit(design, coefficients, intercept, calibration, best)

    return fit


def boosting_fitter(features: Sequence[str]) -> Fitter:
    """Return the fitter of gradient boosted trees on method, kind and features (Friedman 2001)."""

    def fit(trials: Trials, seed: int, form: str) -> BoostingFit:
        methods, kinds = tuple(sorted(set(trials.method))), tuple(sorted(set(trials.kind)))
        inner = {rounds: np.full(len(trials), trials.share) for rounds in ROUNDS}
        for train, test in inner_folds(trials, seed):
            part, test_part = trials.take(train), trials.take(test)
            trees = _grow(_table(part, methods, kinds), part, ROUNDS[-1], seed)
            for number, stage in enumerate(trees.staged_predict_proba(_table(test_part, methods, kinds)), 1):
                if number in inner:
                    inner[number][test] = stage[:, 1]
        best = min(ROUNDS, key=lambda rounds: _loss(trials, inner[rounds]))
        trees = _grow(_table(trials, methods, kinds), trials, best, seed)
        return BoostingFit(trees, methods, kinds, FORMS[form].fit(inner[best], trials.target, trials.weight))

    return fit


def fitters(features: Sequence[str]) -> Mapping[str, Fitter]:
    """Return the predictors by name, each after the one that it is compared with."""
    alone = [PERPLEXITY] if PERPLEXITY in features else []
    return {
        "constant": fit_constant,
        "method_kind": logistic_fitter([]),
        **({"perplexity": logistic_fitter(alone, cells=False)} if alone else {}),
        **({"method_kind_perplexity": logistic_fitter(alone)} if alone else {}),
        "full": logistic_fitter(features),
        "boosting": boosting_fitter(features),
    }


AGAINST: Mapping[str, tuple[str, ...]] = {
    "method_kind": ("constant",),
    "perplexity": ("constant",),
    "method_kind_perplexity": ("method_kind",),
    "full": ("method_kind_perplexity", "method_kind"),
    "boosting": ("full",),
}
"""Predictor that each one is compared with: the first of these that exists."""


def inner_folds(trials: Trials, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the inner folds whose training part has both outcomes; none if there are too few groups."""
    if len(set(trials.group)) < INNER_FOLDS:
        return []
    folds = split(trials, INNER_FOLDS, seed)
    return [(train, test) for train, test in folds if len(set(trials.target[train])) == 2]


def fit_path(
    matrix: np.ndarray, target: np.ndarray, strengths: Sequence[float], weights: np.ndarray | None = None
) -> Iterator[tuple[float, np.ndarray, float]]:
    """Yield coefficients and intercept for each strength, each fit starting from the one before."""
    model = LogisticRegression(solver="newton-cholesky", warm_start=True, tol=1e-6, max_iter=100)
    for strength in strengths:
        model.set_params(C=strength).fit(matrix, target, sample_weight=weights)
        yield strength, model.coef_[0].copy(), float(model.intercept_[0])


def _grow(table: np.ndarray, trials: Trials, rounds: int, seed: int) -> HistGradientBoostingClassifier:
    # scikit-learn cannot bin a column without a value; in a constant one there is no split
    table = np.where(np.isnan(table).all(axis=0), 0.0, table)
    trees: Any = HistGradientBoostingClassifier(
        max_iter=rounds,
        learning_rate=0.05,
        max_leaf_nodes=8,
        min_samples_leaf=20,
        l2_regularization=1.0,
        categorical_features=[0, 1],
        early_stopping=False,
        random_state=seed,
    )
    return trees.fit(table, trials.target, sample_weight=trials.weight)


def _table(trials: Trials, methods: Sequence[str], kinds: Sequence[str]) -> np.ndarray:
    """Return codes of method and kind beside the features; unknown levels and values are NaN."""
    table = np.empty((len(trials), 2 + len(trials.features)))
    for column, (values, levels) in enumerate([(trials.method, methods), (trials.kind, kinds)]):
        codes = {level: float(code) for code, level in enumerate(levels)}
        table[:, column] = [codes.get(value, np.nan) for value in values]
    table[:, 2:] = trials.values[trials.fact]
    return table


def _loss(trials: Trials, probability: np.ndarray) -> float:
    return float(log_loss(trials.target, _inside(probability), labels=[0, 1], sample_weight=trials.weight))


def _inside(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(probability, _LIMITS, 1 - _LIMITS)
