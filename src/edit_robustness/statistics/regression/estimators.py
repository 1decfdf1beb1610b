"""Estimators of regressions. All have one interface, so that no other code asks for an estimator's name.

To add an estimator, write a class with the attributes and the method of `Estimator` and add an object to `ESTIMATORS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from edit_robustness.statistics.regression.checks import Check, check_fit, compare_complete
from edit_robustness.statistics.regression.fits import Equations, Fit, NotFitted, Regression, fit_model
from edit_robustness.statistics.regression.table import Row, list_rows
from edit_robustness.statistics.regression.within_groups import estimate_within_groups


@dataclass(frozen=True)
class Estimate:
    """Result of an estimator.

    Attributes:
        terms: A row per term (`table.TERM_COLUMNS`).
        n_clusters: Clusters that the estimates rest on.
        checks: The assumptions that were checked.
    """

    terms: list[Row]
    n_clusters: int
    checks: list[Check]


class Estimator(Protocol):
    """One way to estimate a regression."""

    @property
    def name(self) -> str:
        """Return the name in the configuration."""
        ...

    @property
    def families(self) -> tuple[str, ...]:
        """Return the families of outcomes that it can estimate."""
        ...

    @property
    def is_graded(self) -> bool:
        """Return whether its outcome has three values, new object, neither and old object."""
        ...

    @property
    def is_weighted(self) -> bool:
        """Return whether it uses the weights of the sample."""
        ...

    def estimate(self, regression: Regression, confidence: float) -> Estimate:
        """Estimate a regression.

        Args:
            regression: The data.
            confidence: Level of the intervals.

        Raises:
            NotFitted: If the data cannot support the model.
        """
        ...


@dataclass(frozen=True)
class EstimatingEquations:
    """Marginal regressions with cluster-robust errors."""

    name: str
    families: tuple[str, ...]
    equations: Equations

    @property
    def is_graded(self) -> bool:
        """Return whether the equations are those of cumulative logits."""
        return self.equations.cumulative

    @property
    def is_weighted(self) -> bool:
        """Return whether the rows have weights; the two steps of an ordinal outcome have none."""
        return not self.equations.cumulative

    def estimate(self, regression: Regression, confidence: float) -> Estimate:
        """Solve the equations, and check the assumptions (`Estimator.estimate`)."""
        fit = fit_model(regression, self.equations, confidence)
        checks = list(check_fit(fit, regression.groups, confidence))
        if regression.design.missing:
            checks.append(self._compare_complete(fit, regression, confidence))
        return Estimate(list_rows(fit, confidence), len(fit.clusters.sizes), checks)

    def _compare_complete(self, fit: Fit, regression: Regression, confidence: float) -> Check:
        try:
            complete = fit_model(regression.with_complete_rows(), self.equations, confidence, with_bounds=False)
        except NotFitted as reason:
            return compare_complete(fit, None, str(reason))
        return compare_complete(fit, complete)


@dataclass(frozen=True)
class ConditionalLogit:
    """Logistic regression within groups, given the number of successes of each group."""

    name: str
    families: tuple[str, ...]
    is_graded: bool = False
    is_weighted: bool = False

    def estimate(self, regression: Regression, confidence: float) -> Estimate:
        """Maximise the conditional likelihood (`Estimator.estimate`)."""
        return Estimate(*estimate_within_groups(regression, confidence))


_ALL: tuple[Estimator, ...] = (
    EstimatingEquations("gee", ("binomial", "gaussian"), Equations(exchangeable=True)),
    EstimatingEquations("glm_cluster", ("binomial", "gaussian"), Equations(adjusted=False)),
    EstimatingEquations("ordinal", ("ordinal",), Equations(cumulative=True)),
    ConditionalLogit("conditional_logit", ("conditional",)),
)

ESTIMATORS: Mapping[str, Estimator] = {estimator.name: estimator for estimator in _ALL}
"""All estimators by name."""


def names_for(family: str) -> list[str]:
    """Return the names of the estimators of a family of outcomes; the first is the default."""
    return [estimator.name for estimator in _ALL if family in estimator.families]
