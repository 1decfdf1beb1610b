"""Fit of one regression: coefficients, their cluster-robust covariance, and bounds where separation leaves none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from edit_robustness.statistics.regression.design import INTERCEPT, Column, Design
from edit_robustness.statistics.regression.equations import (
    Clusters,
    Solution,
    cluster_influences,
    covariance,
    evaluate,
    solve,
)
from edit_robustness.statistics.regression.formulas import Formula
from edit_robustness.statistics.regression.separation import Separation, bound, estimate_firth, find_separation

FEWEST_CLUSTERS = 10
"""Fewest clusters, beyond the terms that differ between them, for a reliable cluster-robust covariance."""

FEWEST_RARE = 5
"""Fewest clusters in which the rarer outcome must occur."""

NO_SEPARATION = Separation(np.empty((0, 0)), np.empty((0, 0)), np.empty(0))

THRESHOLD = "threshold"
"""Column of an ordinal regression: the second step of the answer (new object) against the first (not the old one)."""


class NotFitted(ValueError):
    """The data cannot support the model; the message is the reason."""


@dataclass(frozen=True)
class Regression:
    """The data of one regression.

    Attributes:
        rows: A row per observation.
        design: The formula's columns in these rows.
        family: The family of the outcome, as in the configuration.
        groups: Column of the clusters.
    """

    rows: pd.DataFrame
    design: Design
    family: str
    groups: str

    @property
    def weights(self) -> np.ndarray | None:
        """Return the weights of the rows, with mean 1; None if all are equal."""
        if "weight" not in self.rows:
            return None
        weights = self.rows["weight"].to_numpy(dtype=float)
        return weights / weights.mean() if np.ptp(weights) > 1e-9 * weights.mean() else None

    def with_complete_rows(self) -> Regression:
        """Return the regression of the rows that lack no feature.

        Raises:
            NotFitted: If these rows cannot support any model.
        """
        rows = drop_missing(self.rows, self.design.formula)
        refuse_rows(rows, self.groups)
        return Regression(rows, Design(self.design.formula, rows, indicators=False), self.family, self.groups)


@dataclass(frozen=True)
class Equations:
    """Which estimating equations are solved.

    Attributes:
        exchangeable: Whether a correlation within clusters is estimated, instead of independence.
        adjusted: Whether the covariance is that of Mancl and DeRouen, instead of the sandwich with factors.
        cumulative: Whether the outcome has three values, which are two steps of one row each (cumulative logits).
    """

    exchangeable: bool = False
    adjusted: bool = True
    cumulative: bool = False


@dataclass(frozen=True)
class Fit:
    """Estimates of one regression.

    Attributes:
        design: The formula's columns.
        rows: The table that was fitted; (n rows).
        y: Outcomes; (n,), for an ordinal outcome (2n,).
        x: Columns that were estimated.
        columns: What each column of `x` is.
        family: ``binomial`` or ``gaussian``.
        solution: Coefficients, correlation, bread and scores.
        clusters: Clusters of the rows of `x`.
        influences: Change of the coefficients by each cluster; (G, p).
        covariance: (p, p).
        n_between: Columns that differ between clusters only.
        freedom: Degrees of freedom of Student's t.
        separation: Directions without a finite maximum likelihood estimate.
        directions: Columns without one, with its sign; 0 if the data say nothing of it.
        bounds: One-sided bound and p of those that the table shows.
        weights: Weights of the rows of `x`, with mean 1; None if all are equal.
    """

    design: Design
    rows: pd.DataFrame
    y: np.ndarray
    x: np.ndarray
    columns: list[Column]
    family: str
    solution: Solution
    clusters: Clusters
    influences: np.ndarray
    covariance: np.ndarray
    n_between: int
    freedom: int
    separation: Separation
    directions: Mapping[int, int] = field(default_factory=dict)
    bounds: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    weights: np.ndarray | None = None

    @property
    def beta(self) -> np.ndarray:
        """Return the coefficients."""
        return self.solution.beta

    def to_columns(self, matrix: np.ndarray) -> np.ndarray:
        """Return the estimated columns of a design matrix; of an ordinal outcome those of its best value."""
        columns = matrix[:, self.design.kept]
        return columns if columns.shape[1] == self.x.shape[1] else np.column_stack([columns, np.ones(len(columns))])


def refuse_rows(rows: pd.DataFrame, groups: str) -> None:
    """Refuse a table that cannot support any model.

    Raises:
        NotFitted: With the reason.
    """
    if rows.empty:
        raise NotFitted("no probes are left to fit")
    if rows["value"].nunique() < 2:
        value = rows["value"].iloc[0]
        outcome_text = {1.0: "succeeded", 0.0: "failed"}.get(value, f"has the value {value:g}")
        raise NotFitted(f"every probe {outcome_text}: there is nothing to explain")
    n_clusters = rows[groups].nunique()
    if n_clusters < FEWEST_CLUSTERS:
        raise NotFitted(f"{n_clusters} {_plural(groups)} are too few (at least {FEWEST_CLUSTERS})")


def drop_missing(rows: pd.DataFrame, formula: Formula) -> pd.DataFrame:
    """Return the rows that lack none of the formula's features; features that no fact has do not count."""
    names = [name for name in formula.variables if rows[name].dtype != "category"]
    features = [name for name in names if np.isfinite(rows[name]).any()]
    mask = np.isfinite(rows[features].to_numpy(dtype=float)).all(axis=1)
    complete_rows: pd.DataFrame = rows[mask].reset_index(drop=True)
    for name in complete_rows.columns[complete_rows.dtypes == "category"]:
        complete_rows[name] = complete_rows[name].cat.remove_unused_categories()
    return complete_rows


def fit_model(regression: Regression, equations: Equations, confidence: float, with_bounds: bool = True) -> Fit:
    """Fit a regression by estimating equations.

    Args:
        regression: The data.
        equations: Which equations are solved.
        confidence: Level of one-sided bounds.
        with_bounds: Whether to compute these.

    Raises:
        NotFitted: If the data cannot support the model.
    """
    design, rows, groups = regression.design, regression.rows, regression.groups
    family = "gaussian" if regression.family == "gaussian" else "binomial"
    y, x, labels, columns = _arrange(regression, family, equations.cumulative)
    clusters = Clusters.of(labels)
    n_between = _count_between(x, clusters, groups)
    weights = None if equations.cumulative else regression.weights
    freedom = max(int(count_effective(clusters, weights)) - n_between, 1)
    if family == "binomial":
        freedom = min(freedom, _count_rare(y, clusters, groups) - 1)
    separation = find_separation(y, x) if family == "binomial" else NO_SEPARATION
    directions = {
        index: separation.sign(unit) for index, unit in enumerate(np.eye(x.shape[1])) if not separation.is_finite(unit)
    }
    # Firth's likelihood is that of independent rows
    is_exchangeable, is_adjusted = equations.exchangeable and not directions, equations.adjusted
    try:
        if directions:
            solution = evaluate(y, x, estimate_firth(y, x, weights), clusters, family, weights=weights)
        else:
            solution = solve(y, x, clusters, family, is_exchangeable, weights)
            if is_exchangeable and not solution.converged:
                # coefficients and correlation can chase each other; without the correlation the estimates stay valid
                solution = solve(y, x, clusters, family, False, weights)
        influences = cluster_influences(x, solution, clusters, family, is_adjusted, weights)
    except (np.linalg.LinAlgError, ValueError) as error:
        raise NotFitted(f"the equations could not be solved ({error})") from None
    spread = covariance(influences, len(y), is_adjusted)
    if not solution.converged or not np.isfinite(spread).all():
        raise NotFitted("the equations did not converge")
    bounds = _bound(y, x, solution.beta, labels, columns, directions, rows, confidence) if with_bounds else {}
    return Fit(
        design=design,
        rows=rows,
        y=y,
        x=x,
        columns=columns,
        family=family,
        solution=solution,
        clusters=clusters,
        influences=influences,
        covariance=spread,
        n_between=n_between,
        freedom=freedom,
        separation=separation,
        directions=directions,
        bounds=bounds,
        weights=weights,
    )


def count_effective(clusters: Clusters, weights: np.ndarray | None) -> float:
    """Return Kish's effective number of clusters, (sum m)^2 / sum m^2 for the mean weight m of each cluster's rows."""
    if weights is None:
        return float(len(clusters.sizes))
    means = clusters.sum(weights) / clusters.sizes
    return float(means.sum() ** 2 / (means**2).sum())


def _arrange(
    regression: Regression, family: str, cumulative: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Column]]:
    """Return outcomes, columns and cluster labels; an ordinal outcome is one row per step (cumulative logits)."""
    rows, design = regression.rows, regression.design
    y, x = rows["value"].to_numpy(dtype=float), design.full.matrix[:, design.kept]
    labels, columns = rows[regression.groups].astype(str).to_numpy(), design.kept_columns
    if not cumulative:
        if family == "binomial" and (y.min() < 0 or y.max() > 1):
            raise NotFitted(f"values between {y.min():g} and {y.max():g} are no shares; set family: gaussian")
        return y, x, labels, columns
    if not {0.0, 1.0, 2.0} <= set(y):
        raise NotFitted("the answers do not have all three values: new object, neither and old object")
    steps = np.repeat([0.0, 1.0], len(y))
    x = np.column_stack([np.vstack([x, x]), steps])
    y = np.concatenate([y >= 1, y >= 2]).astype(float)
    return y, x, np.concatenate([labels, labels]), [*columns, Column(THRESHOLD, -1, ())]


def _count_between(x: np.ndarray, clusters: Clusters, groups: str) -> int:
    """Return the number of columns that differ between clusters only, the intercept among them."""
    sorted_rows = x[clusters.order]
    spread = np.maximum.reduceat(sorted_rows, clusters.starts) - np.minimum.reduceat(sorted_rows, clusters.starts)
    n_between = int((spread.max(axis=0) == 0).sum())
    n_clusters = len(clusters.sizes)
    if n_clusters - n_between < FEWEST_CLUSTERS:
        raise NotFitted(
            f"{n_clusters} {_plural(groups)} are too few for {n_between} terms that differ between them only (at least "
            f"{FEWEST_CLUSTERS} more than such terms)"
        )
    if len(x) <= x.shape[1]:
        raise NotFitted(f"{len(x)} probes are too few for {x.shape[1]} terms")
    return n_between


def _count_rare(y: np.ndarray, clusters: Clusters, groups: str) -> int:
    """Return the clusters in which the rarer outcome occurs: of a rare outcome, they carry nearly all information.

    With a normal quantile, or with the degrees of freedom of all clusters, intervals of shares of 2% are too short.
    """
    is_rare = y > 0 if y.mean() < 0.5 else y < 1
    n_rare = int((clusters.sum(is_rare.astype(float)) > 0).sum())
    if n_rare < FEWEST_RARE:
        raise NotFitted(
            f"the rarer outcome occurs in {n_rare} of {len(clusters.sizes)} {_plural(groups)} (at least {FEWEST_RARE})"
        )
    return n_rare


def _plural(groups: str) -> str:
    return {"fact_id": "facts"}.get(groups, f"{groups}s")


def _bound(
    y: np.ndarray,
    x: np.ndarray,
    beta: np.ndarray,
    labels: np.ndarray,
    columns: Sequence[Column],
    directions: Mapping[int, int],
    rows: pd.DataFrame,
    confidence: float,
) -> dict[int, tuple[float, float]]:
    """Bound the separated columns of the table, each cluster counting once per level of what separates.

    A level's prompts about one subject are not independent, and if all of them succeed, their correlation cannot be
    estimated. So it is taken to be 1, which makes the bound wide. Features and absorbed factors are held at their
    estimates, which are far more certain.
    """
    by_variables: dict[tuple[str, ...], dict[int, int]] = {}
    for index, sign in directions.items():
        column = columns[index]
        if sign and not column.folded and column.name not in (INTERCEPT, THRESHOLD):
            by_variables.setdefault(column.variables, {})[index] = sign
    bounds: dict[int, tuple[float, float]] = {}
    for variables, signs in by_variables.items():
        factors = [name for name in variables if name in rows and rows[name].dtype == "category"]
        cells = pd.DataFrame({name: rows[name].astype(str).to_numpy() for name in factors}, index=rows.index)
        repeats = len(y) // len(rows)
        table = pd.concat([cells.assign(step=step) for step in range(repeats)], ignore_index=True).assign(label=labels)
        sizes = table.groupby([*factors, "label", "step"], observed=True)["step"].transform("size").to_numpy()
        free = [
            index
            for index, column in enumerate(columns)
            if index in signs or (not column.folded and _are_factors(column, rows))
        ]
        offset = x @ beta - x[:, free] @ beta[free]
        places = {free.index(index): sign for index, sign in signs.items()}
        limits = bound(y, x[:, free], offset, 1.0 / (sizes * repeats), places, confidence)
        bounds |= {free[place]: limit for place, limit in limits.items()}
    return bounds


def _are_factors(column: Column, rows: pd.DataFrame) -> bool:
    return all(name in rows and isinstance(rows[name].dtype, pd.CategoricalDtype) for name in column.variables)
