"""The design of a logistic regression of success on method, kind of prompt and features of the fact.

Each feature has a linear term, a curve (restricted cubic spline with three knots: Harrell 2015, "Regression Modeling
Strategies", equation 2.25), and an indicator of missing values. Its linear term also has a slope per method and per
family of kinds. All columns of features are centred at the training facts, so a fact for which they are zero is an
average one, and the columns of one feature add up to what that feature contributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

KNOTS = (0.1, 0.5, 0.9)
"""Quantiles of the knots."""

_CURVED_FROM = 10
"""Distinct values from which a feature gets a curve."""


@dataclass(frozen=True)
class Trials:
    """Probes of edits, coded for estimation.

    Attributes:
        target: (n,) 1 if the probe succeeds, or else 0.
        fact: (n,) row of the probe's fact in `values`.
        method: (n,) names of methods.
        kind: (n,) names of kinds of prompt.
        family: (n,) families of the kinds.
        values: (n_facts, n_features) features, NaN if missing.
        features: Names of the features.
        group: (n,) what is never in training and test at once.
        dataset: (n,) the data set of the fact.
        subject: (n,) the subject of the fact.
        fact_ids: (n_facts,) names of the facts.
        weight: (n,) weights of the facts in the sample; None if all are equal.
    """

    target: np.ndarray
    fact: np.ndarray
    method: np.ndarray
    kind: np.ndarray
    family: np.ndarray
    values: np.ndarray
    features: tuple[str, ...]
    group: np.ndarray
    dataset: np.ndarray
    subject: np.ndarray
    fact_ids: np.ndarray
    weight: np.ndarray | None = None

    @classmethod
    def of(cls, rows: pd.DataFrame, features: Sequence[str], groups: str) -> Trials:
        """Return the trials of rows with value, fact_id, method, kind, family, dataset, subject, weight and features.

        Features belong to the fact: its first row has them. Infinite values count as missing.
        """
        codes, ids = pd.factorize(rows["fact_id"])
        first = rows.drop_duplicates("fact_id")
        values = first[list(features)].to_numpy(dtype=float, na_value=np.nan)
        columns = {name: rows[name].astype(str).to_numpy(dtype=object) for name in ("method", "kind", "family")}
        return cls(
            target=rows["value"].to_numpy(dtype=float).astype(int),
            fact=codes,
            **columns,
            values=np.where(np.isfinite(values), values, np.nan),
            features=tuple(features),
            group=rows[groups].astype(str).to_numpy(dtype=object),
            dataset=_column(rows, "dataset"),
            subject=rows["subject"].astype(str).to_numpy(dtype=object),
            fact_ids=np.asarray(ids, dtype=object),
            weight=_weights(rows),
        )

    def __len__(self) -> int:
        return len(self.target)

    def take(self, rows: np.ndarray) -> Trials:
        """Return some of the trials, by position or mask; the table of facts stays whole."""
        names = ("target", "fact", "method", "kind", "family", "group", "dataset", "subject")
        parts = {name: getattr(self, name)[rows] for name in names}
        weight = None if self.weight is None else self.weight[rows]
        return Trials(**parts, values=self.values, features=self.features, fact_ids=self.fact_ids, weight=weight)

    @property
    def share(self) -> float:
        """Return the share of successes, by the weights if there are any."""
        return float(self.target.mean() if self.weight is None else np.average(self.target, weights=self.weight))


def _weights(rows: pd.DataFrame) -> np.ndarray | None:
    """Return the weights with mean 1; None if all are equal."""
    if "weight" not in rows or not len(rows):
        return None
    weights = rows["weight"].to_numpy(dtype=float)
    return weights / weights.mean() if np.ptp(weights) > 1e-9 * weights.mean() else None


def _column(rows: pd.DataFrame, name: str) -> np.ndarray:
    return rows[name].astype(str).to_numpy(dtype=object) if name in rows else np.full(len(rows), "", dtype=object)


@dataclass(frozen=True)
class FeatureScale:
    """How a feature enters a design, learned from the training facts.

    Attributes:
        name: The feature.
        fill: Value in place of a missing one: the median.
        mean: Mean after filling.
        scale: Standard deviation after filling.
        low: Smallest training value; values outside are clipped.
        high: Largest training value.
        knots: Knots of the curve; None for a feature without one.
        curve_mean: Mean of the curve.
        curve_scale: Standard deviation of the curve.
        share_missing: Share of the training facts without a value; above 0 there is an indicator.
    """

    name: str
    fill: float
    mean: float
    scale: float
    low: float
    high: float
    knots: tuple[float, float, float] | None
    curve_mean: float
    curve_scale: float
    share_missing: float

    @classmethod
    def fit(cls, name: str, values: np.ndarray) -> FeatureScale | None:
        """Learn from the values of the training facts; None if they do not vary."""
        present = values[np.isfinite(values)]
        if not len(present):
            return None
        low, high = float(present.min()), float(present.max())
        share_missing = float(1 - len(present) / len(values))
        if low == high:
            return None
        fill = float(np.median(present))
        full_values = np.where(np.isfinite(values), values, fill)
        knots = _choose_knots(present)
        curve = _curve(full_values, knots) if knots else np.zeros(1)
        if curve.std() == 0:
            knots = None
        scales = (float(full_values.mean()), float(full_values.std()))
        return cls(name, fill, *scales, low, high, knots, float(curve.mean()), float(curve.std()) or 1.0, share_missing)

    def parts(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return the centred columns of values: ``linear``, ``curve`` (if there are knots), ``missing`` (if any)."""
        absent = ~np.isfinite(values)
        full_values = np.clip(np.where(absent, self.fill, values), self.low, self.high)
        parts = {"linear": (full_values - self.mean) / self.scale}
        if self.knots is not None:
            parts["curve"] = (_curve(full_values, self.knots) - self.curve_mean) / self.curve_scale
        if self.share_missing > 0:
            parts["missing"] = absent - self.share_missing
        return parts

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Return which values are outside the range of the training facts; missing ones are not."""
        return (values < self.low) | (values > self.high)


def _choose_knots(present: np.ndarray) -> tuple[float, float, float] | None:
    if len(np.unique(present)) < _CURVED_FROM:
        return None
    first, middle, last = (float(knot) for knot in np.quantile(present, KNOTS))
    return (first, middle, last) if first < middle < last else None


def _curve(values: np.ndarray, knots: tuple[float, float, float]) -> np.ndarray:
    """Return the non-linear term of a restricted cubic spline, linear beyond the outer knots."""
    first, middle, last = knots
    cubes = [np.clip(values - knot, 0, None) ** 3 for knot in knots]
    bent = cubes[0] - cubes[1] * (last - first) / (last - middle) + cubes[2] * (middle - first) / (last - middle)
    return bent / (last - first) ** 2


@dataclass(frozen=True)
class Term:
    """A column of the design. An empty name stands for all of them.

    Attributes:
        method: The method whose rows have the column.
        kind: The kind of prompt.
        family: The family of kinds.
        feature: The feature; empty for a term of methods and kinds alone.
        part: ``linear``, ``curve`` or ``missing``.
    """

    method: str = ""
    kind: str = ""
    family: str = ""
    feature: str = ""
    part: str = ""


@dataclass(frozen=True)
class Design:
    """The columns of a logistic regression.

    Attributes:
        methods: Known methods.
        kinds: From each known kind to its family.
        scales: The features.
        cells: Whether methods and kinds are terms.
    """

    methods: tuple[str, ...]
    kinds: Mapping[str, str]
    scales: tuple[FeatureScale, ...]
    cells: bool = True

    @classmethod
    def fit(cls, trials: Trials, features: Sequence[str], *, cells: bool = True) -> Design:
        """Learn levels and scales from training trials.

        Args:
            trials: The training trials.
            features: Names of the features to use. Those that do not vary are left out.
            cells: Whether methods, kinds, and slopes per method and family are terms.
        """
        facts = np.unique(trials.fact)
        columns = [trials.features.index(name) for name in features]
        scales = [
            FeatureScale.fit(name, trials.values[facts, column]) for name, column in zip(features, columns, strict=True)
        ]
        kinds = pd.DataFrame({"kind": trials.kind, "family": trials.family}).drop_duplicates().sort_values("kind")
        return cls(
            methods=tuple(sorted(set(trials.method))),
            kinds=dict(zip(kinds["kind"], kinds["family"], strict=True)),
            scales=tuple(scale for scale in scales if scale is not None),
            cells=cells,
        )

    @property
    def families(self) -> tuple[str, ...]:
        """Return the families of the kinds."""
        return tuple(sorted(set(self.kinds.values())))

    @property
    def terms(self) -> tuple[Term, ...]:
        """Return the columns in their order; a factor with one level has none."""
        methods = self.methods if self.cells and len(self.methods) > 1 else ()
        kinds = tuple(self.kinds) if self.cells and len(self.kinds) > 1 else ()
        families = self.families if self.cells and len(self.families) > 1 else ()
        return (
            *(Term(method=method) for method in methods),
            *(Term(kind=kind) for kind in kinds),
            *(Term(method=method, kind=kind) for method in methods for kind in kinds),
            *(Term(feature=scale.name, part=part) for scale in self.scales for part in _part_names(scale)),
            *(Term(method=method, feature=s.name, part="linear") for s in self.scales for method in methods),
            *(Term(family=family, feature=s.name, part="linear") for s in self.scales for family in families),
        )

    def matrix(self, trials: Trials) -> NDArray[np.float64]:
        """Return the design matrix (n, number of terms)."""
        of_method = {method: trials.method == method for method in self.methods}
        of_kind = {kind: trials.kind == kind for kind in self.kinds}
        of_family = {family: trials.family == family for family in self.families}
        parts = self.fact_parts(trials)
        matrix = np.empty((len(trials), len(self.terms)), order="F")
        for column, term in enumerate(self.terms):
            values: np.ndarray | float = 1.0
            if term.feature:
                values = parts[term.feature, term.part][trials.fact]
            if term.method:
                values = values * of_method[term.method]
            if term.kind:
                values = values * of_kind[term.kind]
            if term.family:
                values = values * of_family[term.family]
            matrix[:, column] = values
        return matrix

    def fact_parts(self, trials: Trials) -> dict[tuple[str, str], np.ndarray]:
        """Return the columns of features per fact, by feature and part."""
        return {
            (scale.name, part): column
            for scale in self.scales
            for part, column in scale.parts(trials.values[:, trials.features.index(scale.name)]).items()
        }


def _part_names(scale: FeatureScale) -> list[str]:
    return ["linear", *(["curve"] if scale.knots else []), *(["missing"] if scale.share_missing > 0 else [])]
