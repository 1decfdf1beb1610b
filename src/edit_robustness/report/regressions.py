"""Regressions on the page: one table per model and regression, effects first, and the checks below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd

from edit_robustness.labels import TERMS, term_label
from edit_robustness.report.rows import records

MODEL_TERM = "(model)"
"""Term of the row with the reason why a regression was not fitted."""


@dataclass(frozen=True)
class Regression:
    """One regression as the page shows it.

    Attributes:
        model: The language model.
        name: Its name in `analyze.models`.
        about: formula, estimator, groups, n_probes, n_facts, n_clusters and family.
        refusal: Why it was not fitted; empty if it was.
        terms: Rows with an estimate, or with a note of their own.
        within: Rows of effects within a level of another factor.
        n_without: Terms without an estimate, because the prompts that they compare always succeed or always fail.
        checks: Rows of the checks.
    """

    model: str
    name: str
    about: Mapping[str, Any]
    refusal: str
    terms: list[dict[str, Any]]
    within: list[dict[str, Any]]
    n_without: int
    checks: list[dict[str, Any]]

    @property
    def cautions(self) -> list[str]:
        """Return a sentence per check that limits the figures."""
        return [text for text in map(describe_calibration, self.checks) if text]


def describe_calibration(check: Mapping[str, Any]) -> str:
    """Return the caution of a check of calibration that failed; empty for other checks.

    Args:
        check: A row of the checks: check, value (the largest gap in points) and flag.
    """
    if check["check"] != "calibration" or check["flag"] == "fine":
        return ""
    return (
        f"Calibration: observed and predicted rates differ by up to {check['value']:.0f} points, so read the direction "
        "of these effects and not their exact size."
    )


def list_regressions(
    table: pd.DataFrame, checks: pd.DataFrame, labels: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Regression]:
    """Yield the regressions in the order of the configuration.

    Args:
        table: `statistics.regression.regress`, the first table.
        checks: The second one.
        labels: Labels of features.
    """
    if table.empty:
        return
    for (model, name), rows in table.groupby(["model", "name"], sort=False):
        is_refusal = rows["term"] == MODEL_TERM
        is_within = rows["term"].str.contains("|", regex=False)
        blank = rows[["odds_ratio", "estimate", "effect"]].isna().all(axis=1)
        is_without = blank & rows["term"].str.contains(":", regex=False) & ~is_within
        of_model = checks[(checks["model"] == model) & (checks["name"] == name)]
        yield Regression(
            str(model),
            str(name),
            records(rows.head(1))[0],
            str(rows.loc[is_refusal, "note"].iloc[0]) if is_refusal.any() else "",
            _label_terms(rows[~is_refusal & ~is_within & ~is_without], labels),
            _label_terms(rows[is_within], labels),
            int(is_without.sum()),
            records(of_model),
        )


def _label_terms(rows: pd.DataFrame, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows with the `label` of each term: that of its feature, if the term is a feature without one."""
    names = {name: label for name, label in labels.items() if name not in TERMS}
    return [{**row, "label": names.get(row["term"]) or term_label(row["term"])} for row in records(rows)]
