"""Rows of the rankings and comparisons of methods that sentences are about."""

from __future__ import annotations

import pandas as pd

from edit_robustness.report.answers.wording import Row
from edit_robustness.report.rows import records
from edit_robustness.tables import select_rows

GENERALIZATION, EFFICACY, PORTABILITY = "generalization", "efficacy", "portability"
SHOWN = 3
"""Most methods, and most kinds of prompt, that a sentence names."""


def best_methods(rankings: pd.DataFrame) -> list[Row]:
    """Return the rows of at most `SHOWN` methods that generalize best; of efficacy if nothing else was asked."""
    for outcome in (GENERALIZATION, EFFICACY):
        ranked_rows = list_ranked(rankings, outcome)
        if ranked_rows:
            return ([row for row in ranked_rows if row["best"]] or ranked_rows[:1])[:SHOWN]
    return []


def list_ranked(rankings: pd.DataFrame, outcome: str) -> list[Row]:
    """Return the rows of an outcome that have a rank, which non-edits do not have."""
    return [row for row in select_outcome(rankings, outcome) if pd.notna(row["rank"])]


def turn_comparison(row: Row, method: str) -> tuple[float, float, float]:
    """Return the difference of a comparison, and its interval, as that of `method` from the other one."""
    if row["method"] == method:
        return row["difference"], row["low"], row["high"]
    return -row["difference"], -row["high"], -row["low"]


def select_outcome(table: pd.DataFrame, outcome: str) -> list[Row]:
    """Return the rows of one outcome."""
    return [*records(select_rows(table, outcome=outcome))]
