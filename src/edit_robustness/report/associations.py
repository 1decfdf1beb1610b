"""Correlations on the page: one table per model and feature, which is closed until a reader opens it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from edit_robustness.report.rows import records

FAMILIES = {"edit": "outcomes of edits", "recall": "recall"}
"""Outcomes of the families of tests: recall is of the unedited model, and says nothing about edits."""

LEFT_OUT = ("n_missing", "n_cut", "n_unknown", "n_excluded")
"""Columns that count the facts without a value, by reason."""


@dataclass(frozen=True)
class FeatureCorrelations:
    """Primary correlations of one feature.

    Attributes:
        model: The language model.
        feature: The label of the feature.
        rows: The correlations with an estimate; `n_left_out` counts the facts that are not in it.
        n_tests: The number of correlations, with and without an estimate.
        reasons: Why there is no estimate, with the number of correlations.
        is_unmeasured: Whether no fact has a value of the feature, so that nothing was tested.
    """

    model: str
    feature: str
    rows: list[dict[str, Any]]
    n_tests: int
    reasons: dict[str, int]
    is_unmeasured: bool = False

    @property
    def result(self) -> str:
        """Return the result of the tests in short; without an estimate there is nothing to count."""
        if self.is_unmeasured:
            return "not measured"
        if not self.rows:
            return "no correlation could be estimated"
        parts = []
        for family, outcomes in FAMILIES.items():
            tests = [row["significant"] for row in self.rows if row["family"] == family]
            if tests:
                parts.append(f"{sum(tests)} of {len(tests)} correlations with {outcomes} significant")
        return ", ".join(parts)


def list_correlations(
    correlations: pd.DataFrame, labels: Mapping[str, str], confidence: float = 0.95
) -> Iterator[FeatureCorrelations]:
    """Yield the primary correlations of recall, and of edits by free generation, per model and feature.

    Args:
        correlations: `statistics.difficulty.correlations`.
        labels: Labels of features.
        confidence: A correlation is significant if Holm's p is below 1 - confidence.
    """
    if correlations.empty:
        return
    is_shown = (correlations["family"] == "recall") | (correlations["protocol"] == "free")
    table = correlations[is_shown & correlations["primary"].astype(bool)]
    table = table.assign(
        n_left_out=table[list(LEFT_OUT)].sum(axis=1).astype(int), significant=table["p_holm"] < 1 - confidence
    )
    for (model, feature), rows in table.groupby(["model", "feature"], sort=False):
        has_estimate = rows["note"] == ""
        yield FeatureCorrelations(
            str(model),
            labels.get(str(feature), str(feature)),
            records(rows[has_estimate]),
            len(rows),
            {
                str(reason): int(number)
                for reason, number in rows.loc[~has_estimate, "note"].map(_reason).value_counts().items()
            },
            bool(rows["n_facts"].eq(0).all()),
        )


def _reason(note: str) -> str:
    """Return a reason without its numbers, so that tests with the same reason can be counted."""
    return re.sub(r"(?:only )?\b\d+ ", "too few ", note.partition(":")[0])
