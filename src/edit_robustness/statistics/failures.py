"""Counts of the facts that a method could not be measured on, stored with the figures that lack them."""

from __future__ import annotations

import pandas as pd

from edit_robustness.records import UNEDITED

LOSING = ("prepare", "edit", "ask", "talk")
"""Stages whose failure leaves a method without a score for the fact."""

_CELL = ["model", "method"]


def failed_facts(failed_items: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Return for each model and method the number of facts on which it could not be measured.

    Args:
        failed_items: model, method, stage and fact_id of items that failed.
    """
    losses = failed_items[failed_items["stage"].isin(LOSING) & (failed_items["method"] != "")]
    counts = losses.groupby(_CELL, sort=False)["fact_id"].nunique()
    return {(key[0], key[1]): int(number) for key, number in counts.items()}  # type: ignore[index]


def with_failed(table: pd.DataFrame, failed_items: pd.DataFrame) -> pd.DataFrame:
    """Add `n_failed`: the number of facts on which a method could not be measured.

    A method that failed on all facts has no score. It gets the rows of the unedited model, without values.

    Args:
        table: model, method, value, low, high, n_probes, n_facts, n_missing, and columns that identify the figure.
        failed_items: Input of `failed_facts`.
    """
    counts = failed_facts(failed_items)
    cells = set(zip(table["model"], table["method"], strict=True))
    no_figures = {"value": float("nan"), "low": float("nan"), "high": float("nan")}
    zeros = dict.fromkeys(("n_probes", "n_facts", "n_missing"), 0)
    rows = [
        table[(table["model"] == model) & (table["method"] == UNEDITED)].assign(method=method, **no_figures, **zeros)
        for model, method in counts
        if (model, method) not in cells
    ]
    full_table = pd.concat([table, *(part for part in rows if len(part))], ignore_index=True)
    pairs = zip(full_table["model"], full_table["method"], strict=True)
    return full_table.assign(
        n_failed=pd.Series([counts.get(pair, 0) for pair in pairs], full_table.index, dtype="int64")
    )
