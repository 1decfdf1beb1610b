"""Table 1 of "Is it Possible to Edit Large Language Models Robustly?" (arXiv 2402.05827), compared with this run.

The paper used Llama-2-7B-chat, CounterFact (2,000 records), one edit at a time and greedy decoding of 30 tokens. Its
accuracy is the share of answers whose first sentence contains the new object, and its reversion the share with the old
object. Models, facts, wordings and scoring differ from this run (the paper's scoring searches the prompt, too), so only
the direction of differences can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

MODEL = "Llama-2-7B-chat"
METHODS = ("kn", "mend", "rome", "memit", "serac", "ike")

_Figures = tuple[tuple[float, float | None], ...]
_ACCURACY_AND_REVERSION: Mapping[str, _Figures] = {
    "plain": ((2.3, None), (55.6, None), (99.9, None), (99.9, None), (100, None), (99.7, None)),
    "rephrase": ((1.6, 32.8), (9.6, 26.5), (74.7, 2.2), (78.2, 2.0), (97.9, 9.8), (98.0, 1.3)),
    "cloze": ((1.0, 47.2), (2.5, 45.3), (66.7, 8.1), (73.4, 5.5), (1.4, 28.6), (97.8, 16.8)),
    "long": ((1.7, 50.8), (13.7, 42.7), (55.7, 26.3), (81.2, 14.5), (70.9, 9.8), (93.2, 8.2)),
    "long+ref": ((1.0, 43.3), (10.7, 37.7), (21.3, 34.9), (39.6, 27.3), (5.3, 43.4), (83.5, 8.7)),
    "noisy long": ((1.8, 50.2), (12.4, 42.3), (51.7, 20.8), (79.9, 12.0), (42.2, 13.9), (98.3, 5.0)),
    "dialogue": ((1.8, 47.5), (14.0, 40.4), (56.7, 20.0), (81.6, 9.7), (69.8, 9.5), (93.6, 7.4)),
    "dialogue+ref": ((1.8, 36.1), (9.0, 29.9), (27.1, 22.7), (44.7, 15.4), (9.2, 32.8), (89.5, 8.1)),
    "noisy dialogue": ((2.2, 47.8), (14.5, 39.6), (58.1, 18.0), (80.5, 8.3), (48.8, 11.2), (93.4, 6.7)),
    "doubts": ((0.8, 49.1), (9.8, 30.6), (16.9, 40.7), (24.2, 33.9), (9.0, 40.8), (1.3, 49.3)),
}
"""Rows of the table in percent: accuracy and reversion for each of `METHODS`; the plain prompt has no reversion."""

ROWS = tuple(_ACCURACY_AND_REVERSION)
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
    return pd.DataFrame(
        [
            (row, method, metric, figure / 100)
            for row, figures in _ACCURACY_AND_REVERSION.items()
            for method, pair in zip(METHODS, figures, strict=True)
            for metric, figure in zip(METRICS, pair, strict=True)
            if figure is not None
        ],
        columns=["row", "method", "metric", "paper"],
    )


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
                "found": _found(higher, lower),
            }


def _found(higher: Mapping[Any, float], lower: Mapping[Any, float]) -> str:
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
