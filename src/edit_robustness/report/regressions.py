"""Regressions on the page: one table per model and regression, effects first, and the checks below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

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


def list_regressions(table: pd.DataFrame, checks: pd.DataFrame) -> Iterator[Regression]:
    """Yield the regressions in the order of the configuration.

    Args:
        table: `statistics.regression.regress`, the first table.
        checks: The second one.
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
            records(rows[~is_refusal & ~is_within & ~is_without]),
            records(rows[is_within]),
            int(is_without.sum()),
            records(of_model),
        )
