"""One feature against one outcome, by every estimate that is reported of it, and the correction over all of them.

Holm's correction covers a family: the primary tests of one model under one protocol, for recall and for edits apart.
Primary tests are fixed in the configuration before a run. Benjamini and Hochberg's false discovery rate covers all
tests of the table, primary or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from edit_robustness.statistics.correlation import detectable, spearman
from edit_robustness.statistics.multiplicity import benjamini_hochberg, first_level, holm
from edit_robustness.statistics.partial import PARTIAL, partial_spearman
from edit_robustness.statistics.pooling import pool_relations, within_relations

KEYS = ("model", "family", "method", "protocol", "outcome", "feature")
FAMILY = ["model", "family", "protocol"]
"""Columns that a family of Holm's correction has in common."""

CORRELATION_COLUMNS = [
    *KEYS, "primary", "rho", "low", "high", "p", "p_holm", "q_bh", "tau", "tau_p",
    "within_rho", "within_low", "within_high", "i2", "prediction_low", "prediction_high", "n_relations",
    "partial_rho", "partial_low", "partial_high", "partial_p",
    "population_rho", "population_low", "population_high",
    "n_facts", "n_missing", "n_cut", "n_unknown", "n_excluded", "n_rare", "n_tests", "detectable", "note",
]  # fmt: skip
"""Columns of the table of correlations; docs/reference/correlations.md describes them."""

RELATION_COLUMNS = [*KEYS, "relation", "rho", "low", "high", "p", "n_facts"]

_POPULATION = {"rho": "population_rho", "low": "population_low", "high": "population_high"}


@dataclass(frozen=True)
class Sample:
    """The facts of one outcome, as arrays. An outcome meets every feature, and pandas would take most of the time.

    Attributes:
        outcome: (n,) values; NaN: missing.
        subjects: (n,) number of the subject of each fact.
        relations: (n,) relation of each fact; None: unknown.
        weights: (n,) weight of each fact; None if all facts weigh the same.
    """

    outcome: np.ndarray
    subjects: np.ndarray
    relations: np.ndarray
    weights: np.ndarray | None

    @classmethod
    def of(cls, outcome: ArrayLike, facts: pd.DataFrame) -> Sample:
        """Make the arrays from subject, relation (empty: unknown) and, if the sample is weighted, weight."""
        relations = facts["relation"].to_numpy(dtype=object, copy=True)
        relations[pd.isna(relations) | (relations == "")] = None
        weights = facts["weight"].to_numpy(dtype=float) if "weight" in facts else np.zeros(len(facts))
        return cls(
            outcome=np.asarray(outcome, float),
            subjects=pd.factorize(facts["subject"])[0],
            relations=relations,
            weights=weights if len(weights) and np.ptp(weights) > 0 else None,
        )


def associate(
    x: ArrayLike, sample: Sample, controls: np.ndarray | None = None, confidence: float = 0.95
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Estimate the rank correlation of a feature and an outcome, overall, within relations, and given others.

    Args:
        x: (n,) the feature of each fact; NaN: missing.
        sample: The outcome of each fact, and what the facts are about.
        controls: (n, g) features to hold constant in the partial correlation; None or no columns: no such correlation.
        confidence: Level of all intervals.

    Returns:
        The estimates by `CORRELATION_COLUMNS`, without those that `correct` adds, and `pooling.within_relations`.
        population_rho is NaN if all facts weigh the same.
    """
    y, subjects = sample.outcome, sample.subjects
    result: dict[str, Any] = spearman(x, y, subjects, confidence=confidence)
    result |= {**dict.fromkeys(PARTIAL, np.nan), **dict.fromkeys(_POPULATION.values(), np.nan)}
    if controls is not None and controls.shape[1] and not result["note"]:
        result |= partial_spearman(x, y, controls, subjects, confidence)
    if sample.weights is not None and not result["note"]:
        population = spearman(x, y, subjects, confidence=confidence, weights=sample.weights)
        result |= {column: population[name] for name, column in _POPULATION.items()}
    by_relation = within_relations(x, y, sample.relations, subjects, confidence)
    return result | pool_relations(by_relation, confidence), by_relation


def correct(rows: list[dict[str, Any]], confidence: float = 0.95, power: float = 0.8) -> pd.DataFrame:
    """Add the corrections for multiplicity, and the correlation that could be detected after them.

    Args:
        rows: For each test `KEYS`, primary and the estimates of `associate`.
        confidence: The level is 1 - confidence.
        power: Probability with which a correlation of the detectable size is found.

    Returns:
        `CORRELATION_COLUMNS`. p_holm is NaN if the test is not primary. n_tests is the number of tests that p is
        corrected for: those of the family, or for a test that is not primary all of the table. detectable is the
        smallest correlation that n_facts facts show at level (1 - confidence) / n_tests.
    """
    table = pd.DataFrame(rows).reindex(columns=CORRELATION_COLUMNS)
    if table.empty:
        return table
    is_test = table["p"].notna()
    table["q_bh"] = benjamini_hochberg(table["p"])
    table["n_tests"] = max(int(is_test.sum()), 1)
    is_primary = table["primary"].astype(bool)
    for _, family in table[is_primary].groupby(FAMILY, sort=False):
        table.loc[family.index, "p_holm"] = holm(family["p"])
        table.loc[family.index, "n_tests"] = max(int(family["p"].notna().sum()), 1)
    table["detectable"] = [
        detectable(n_facts, first_level(1 - confidence, n_tests), power)
        for n_facts, n_tests in zip(table["n_facts"], table["n_tests"], strict=True)
    ]
    counts = ["n_cut", "n_unknown", "n_excluded"]
    return table.assign(**{name: table[name].fillna(0).astype("int64") for name in counts})
