"""Table 1 of "Is it Possible to Edit Large Language Models Robustly?" (arXiv 2402.05827), compared with this run.

The paper used Llama-2-7B-chat, CounterFact (2,000 records), one edit at a time and greedy decoding of 30 tokens. Its
accuracy is the share of answers whose first sentence contains the new object, and its reversion the share with the old
object. Models, facts, wordings and scoring differ from this run (the paper's scoring searches the prompt, too), so only
the direction of differences can be compared. The figures are in ``papers/paper1.csv``. The plain
prompt has no reversion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from edit_robustness.report.papers import read_figures

MODEL = "Llama-2-7B-chat"
METHODS = ("kn", "mend", "rome", "memit", "serac", "ike")

ROW_OF_KIND: Mapping[str, str] = {
    "statement": "plain",
    "paraphrase": "rephrase",
    "cloze": "cloze",
    "related_context": "long",
    "related_context_reference": "long+ref",
    "noisy_context": "noisy long",
    "dialogue": "dialogue",
    "dialogue_reference": "dialogue+ref",
    "noisy_dialogue": "noisy dialogue",
    "doubt": "doubts",
    "doubt_old_object": "doubts",
}
"""Kinds of prompt with the row of the table that they correspond to."""

ROWS = tuple(dict.fromkeys(ROW_OF_KIND.values()))

METRICS = ("success", "reversion")
KEYS = ["model", "row", "method", "metric"]
MEASURED = ["value", "low", "high", "n_probes", "n_facts"]
CUT = "cut"
"""Metric of answers that the token limit cut before they named an object."""

TABLE_COLUMNS = [*KEYS, "paper", *MEASURED, CUT]
ORDERING_COLUMNS = [
    *("model", "metric", "within", "of", "higher", "lower", "paper_higher", "paper_lower", "ours_higher"),
    *("ours_lower", "found"),
]

DIFFERENT = 0.10
"""Smallest difference in the paper that is compared, because the paper gives no intervals."""

AGREES, DISAGREES, CANNOT_TELL = "agrees", "disagrees", "cannot tell"


def paper() -> pd.DataFrame:
    """Return the paper's figures in long form: row, method, metric, paper (a share)."""
    table = read_figures("paper1.csv")
    return table.assign(paper=table["percent"].astype(float) / 100).drop(columns="percent")


def select_rows(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Select the scores that the table covers (free generation, its methods and kinds), and add their `row`."""
    about = (
        outcomes["kind"].isin(ROW_OF_KIND) & outcomes["method"].isin(METHODS) & outcomes["metric"].isin([*METRICS, CUT])
    )
    scores = outcomes[about & (outcomes["protocol"] == "free")]
    return scores.assign(row=scores["kind"].map(ROW_OF_KIND))


def beside(results: pd.DataFrame) -> pd.DataFrame:
    """Join the paper's shares with this run's, for the methods that edited each model, with `cut`: `TABLE_COLUMNS`.

    Args:
        results: `KEYS`, value, low, high, n_probes, n_facts of this run; rows of the paper without probes are NaN.
    """
    methods = results[["model", "method"]].drop_duplicates()
    cell = ["model", "row", "method"]
    cuts = results.loc[results["metric"] == CUT, [*cell, "value"]].rename(columns={"value": CUT})
    table = methods.merge(paper(), on="method").merge(results, on=KEYS, how="left")
    return table.merge(cuts, on=cell, how="left")[TABLE_COLUMNS]


def orderings(table: pd.DataFrame) -> pd.DataFrame:
    """Test which differences of the paper are found in this run: `ORDERING_COLUMNS`, a row per pair.

    Pairs are two methods on one kind of prompt (`within` is ``kind``), and two kinds under one method (``method``).
    `of` is the kind or method that they share, and `higher` is higher in the paper by at least `DIFFERENT`. `found` is
    ``agrees`` or ``disagrees`` if the intervals of this run do not overlap, and ``cannot tell`` if they do. This test
    is conservative: both were measured on the same facts, so a paired test would find more differences.

    Args:
        table: Output of `beside`; rows without a figure of this run are left out.
    """
    cells = table.dropna(subset=["value"])
    rows = [
        pair
        for (model, metric), figures in cells.groupby(["model", "metric"], sort=False)
        for within, column, other_column in (("kind", "row", "method"), ("method", "method", "row"))
        for of, alike in figures.groupby(column, sort=False)
        for pair in _pairs(alike, other_column, {"model": model, "metric": metric, "within": within, "of": of})
    ]
    return pd.DataFrame(rows, columns=ORDERING_COLUMNS)


def _pairs(alike: pd.DataFrame, column: str, about: dict[str, object]) -> Iterator[dict[str, object]]:
    for first, second in combinations(alike.to_dict("records"), 2):
        higher, lower = (first, second) if first["paper"] >= second["paper"] else (second, first)
        if higher["paper"] - lower["paper"] >= DIFFERENT - 1e-9:
            yield {
                **about,
                "higher": higher[column],
                "lower": lower[column],
                "paper_higher": higher["paper"],
                "paper_lower": lower["paper"],
                "ours_higher": higher["value"],
                "ours_lower": lower["value"],
                "found": _compare(higher, lower),
            }


def _compare(higher: Mapping[Any, float], lower: Mapping[Any, float]) -> str:
    if higher["low"] > lower["high"]:
        return AGREES
    return DISAGREES if higher["high"] < lower["low"] else CANNOT_TELL


def count_orderings(pairs: pd.DataFrame) -> pd.DataFrame:
    """Count the outcomes of pairs: model, metric, within, agrees, disagrees, cannot tell, pairs."""
    answers = [AGREES, DISAGREES, CANNOT_TELL]
    by = ["model", "metric", "within"]
    counts = pairs.groupby([*by, "found"], sort=False).size().unstack(fill_value=0).reindex(columns=answers)
    counts = counts.fillna(0).astype(int)
    return counts.assign(pairs=counts.sum(axis=1).astype(np.int64)).reset_index()
