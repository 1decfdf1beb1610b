"""Facts that a method could not be measured on, counted beside the figures that lack them."""

from __future__ import annotations

import pandas as pd

LOSING = ("prepare", "edit", "ask", "talk")
"""Stages whose failure leaves a method without a figure about the fact."""

UNEDITED = "none"
_CELL = ["model", "method"]


def failed_facts(failed_items: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Return for each model and method on how many facts it could not be measured.

    Args:
        failed_items: model, method, stage, fact_id of items that failed.
    """
    lost = failed_items[failed_items["stage"].isin(LOSING) & (failed_items["method"] != "")]
    counts = lost.groupby(_CELL, sort=False)["fact_id"].nunique()
    return {(key[0], key[1]): int(number) for key, number in counts.items()}  # type: ignore[index]


def with_failed(table: pd.DataFrame, failed_items: pd.DataFrame) -> pd.DataFrame:
    """Add `n_failed`: on how many facts a method could not be measured.

    A method that failed on all facts is in no score. It gets the rows of the unedited model, without figures.

    Args:
        table: model, method, value, low, high, n_probes, n_facts, n_missing, and columns that say of what.
        failed_items: See `failed_facts`.
    """
    counts = failed_facts(failed_items)
    there = set(zip(table["model"], table["method"], strict=True))
    nothing = {"value": float("nan"), "low": float("nan"), "high": float("nan")}
    zeros = dict.fromkeys(("n_probes", "n_facts", "n_missing"), 0)
    rows = [
        table[(table["model"] == model) & (table["method"] == UNEDITED)].assign(method=method, **nothing, **zeros)
        for model, method in counts
        if (model, method) not in there
    ]
    whole = pd.concat([table, *(part for part in rows if len(part))], ignore_index=True)
    pairs = zip(whole["model"], whole["method"], strict=True)
    return whole.assign(n_failed=pd.Series([counts.get(pair, 0) for pair in pairs], whole.index, dtype="int64"))
