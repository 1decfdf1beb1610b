"""Methods against each other, and kinds of prompt against the weakest one, paired by fact.

Two methods edit the same facts, so their difference is a mean of paired differences, with an interval clustered by
subject. p-values are corrected by Holm (1979) within each outcome. An editing method is among the best if no other one
is significantly better. Which kind of prompt is the weakest was chosen by looking at all of them. Therefore its
interval is simultaneous (Bonferroni over kinds), and other kinds that are not significantly better stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from edit_robustness.labels import KINDS, LOWER_IS_BETTER, METHODS, NON_EDITS, in_order
from edit_robustness.records import UNEDITED
from edit_robustness.statistics.intervals import paired_difference, proportion
from edit_robustness.statistics.multiplicity import holm
from edit_robustness.tables import select_rows

COMPARISON_COLUMNS = [
    *("model", "protocol", "outcome", "method", "other", "difference", "low", "high", "p", "p_holm"),
    *("n_facts", "n_subjects", "n_unpaired", "note"),
]
RANKING_COLUMNS = [
    *("model", "protocol", "outcome", "rank", "method", "value", "low", "high", "n_facts", "n_missing", "best"),
]
WEAKEST_COLUMNS = [
    *("model", "protocol", "method", "kind", "value", "low", "high", "n_facts", "n_missing", "n_kinds", "lowest"),
    *("difference", "p_holm", "indistinct"),
]

DATASET_COLUMNS = ["model", "protocol", "outcome", "dataset", "method", "value", "low", "high", "n_facts", "n_missing"]
RECALLED = "recalled"
"""Outcome of the unedited model in `rates_by_dataset`: whether it knows a fact that is edited."""

OUTCOMES = ("efficacy", "generalization", "robustness", "reversion", "specificity:*", "portability")
"""Outcomes, or patterns of outcomes, by which methods are compared. Single kinds of prompt are not among them, because
`weakest_kinds` is about these."""

FEWEST_SUBJECTS = 5
"""Fewest subjects for a test of a difference."""

_KIND = "generalization:"
_GROUP = ["model", "protocol", "outcome"]
_FACT = ["fact_id", "subject"]


def compare_methods(fact_outcomes: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Compare each pair of methods on the facts that both have a value for.

    Args:
        fact_outcomes: model, method, protocol, outcome, fact_id, subject, value (in [0, 1]; NaN if unknown). The
            unedited model is left out, and so are outcomes that are not among `OUTCOMES`.
        confidence: Level of the intervals.

    Returns:
        `COMPARISON_COLUMNS`, a row per model, protocol, outcome and pair: `difference` is the mean of value(method) -
        value(other), with its interval, clustered by subject; `p` two-sided; `p_holm` corrected over the pairs of one
        outcome; `n_unpaired` counts the facts that only one of the two has a value for.
    """
    rows = []
    for key, group in _select_compared(fact_outcomes).groupby(_GROUP, sort=False, observed=True):
        labels = dict(zip(_GROUP, key, strict=True))
        pairs = [{**labels, **comparison} for comparison in _compare_pairs(group, "method", METHODS, confidence)]
        p_values = holm([pair["p"] for pair in pairs])
        rows += [{**pair, "p_holm": float(p)} for pair, p in zip(pairs, p_values, strict=True)]
    return pd.DataFrame(rows, columns=COMPARISON_COLUMNS)


def rank_methods(fact_outcomes: pd.DataFrame, comparisons: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Rank the editing methods by each outcome, and mark those that no other one is significantly better than.

    Non-edits have no rank.

    Args:
        fact_outcomes: As for `compare_methods`.
        comparisons: Output of `compare_methods`.
        confidence: Level of the intervals, and 1 - level of the tests.

    Returns:
        `RANKING_COLUMNS`: rank 1 is the best mean. Methods without any value and non-edits come last, without a rank.
        `best` marks the editing methods that no other one is significantly better than.
    """
    rows = []
    of_edits = comparisons[~comparisons["method"].isin(NON_EDITS) & ~comparisons["other"].isin(NON_EDITS)]
    for key, group in _select_compared(fact_outcomes).groupby(_GROUP, sort=False, observed=True):
        labels = dict(zip(_GROUP, key, strict=True))
        sign = -1 if labels["outcome"] in LOWER_IS_BETTER else 1
        table = [
            {"method": method, **_estimate(group[group["method"] == method], confidence)}
            for method in in_order(group["method"], METHODS)
        ]
        table.sort(key=lambda row: (row["method"] in NON_EDITS, np.isnan(row["value"]), -sign * row["value"]))
        worse = _worse_methods(select_rows(of_edits, **labels), sign, 1 - confidence)
        for position, row in enumerate(table):
            is_ranked = row["method"] not in NON_EDITS and not np.isnan(row["value"])
            rank = position + 1 if is_ranked else pd.NA
            rows.append({**labels, **row, "rank": rank, "best": is_ranked and row["method"] not in worse})
    return pd.DataFrame(rows, columns=RANKING_COLUMNS).astype({"rank": "Int64", "best": "bool"})


def rates_by_dataset(
    fact_outcomes: pd.DataFrame, recall: pd.DataFrame, facts: pd.DataFrame, confidence: float = 0.95
) -> pd.DataFrame:
    """Compute efficacy and generalization in each data set, and how many of its edited facts the model knew before.

    Args:
        fact_outcomes: As for `compare_methods`, with `dataset`.
        recall: model, fact_id, recalled, and recall_cut if answers could be cut.
        facts: The edited facts: model, id, subject, and dataset if there are several.
        confidence: Level of the intervals.

    Returns:
        `DATASET_COLUMNS`. Recall is the outcome `RECALLED` of the unedited model by free generation; an answer that was
        cut before it named an object counts as missing.
    """
    outcome_rows = fact_outcomes[fact_outcomes["outcome"].isin(["efficacy", "generalization"])]
    knowledge = facts.rename(columns={"id": "fact_id"}).merge(
        recall.drop(columns=["subject", "dataset"], errors="ignore"), on=["model", "fact_id"], validate="one_to_one"
    )
    is_cut = knowledge["recall_cut"].astype(bool) if "recall_cut" in knowledge else pd.Series(False, knowledge.index)
    knowledge = knowledge.assign(
        value=knowledge["recalled"].astype(float).mask(is_cut), method=UNEDITED, protocol="free", outcome=RECALLED
    )
    columns = [*_GROUP, "dataset", "method", *_FACT, "value"]
    tables = [table.reindex(columns=columns) for table in (knowledge, outcome_rows)]
    rows = pd.concat(tables, ignore_index=True)
    rows = rows.assign(dataset=rows["dataset"].astype(object).fillna("").astype("str"))
    by = [*_GROUP, "dataset", "method"]
    estimates = [
        {**dict(zip(by, key, strict=True)), **_estimate(group, confidence)}
        for key, group in rows.groupby(by, sort=False, observed=True)
    ]
    return pd.DataFrame(estimates, columns=DATASET_COLUMNS)


def weakest_kinds(fact_outcomes: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Compare each method's kinds of prompt with the one on which it is the weakest.

    Args:
        fact_outcomes: As for `compare_methods`; the outcomes ``generalization:<kind>`` are used.
        confidence: Simultaneous level of the intervals over the kinds of one method.

    Returns:
        `WEAKEST_COLUMNS`, a row per model, protocol, method and kind: the rate with its simultaneous interval;
        `lowest` marks the lowest rate; `difference` is the paired difference to it with `p_holm`, corrected over the
        other kinds; `indistinct` is whether the kind may be the weakest, because it is not significantly better.
    """
    rows = []
    kinds = fact_outcomes[fact_outcomes["outcome"].str.startswith(_KIND) & (fact_outcomes["method"] != UNEDITED)]
    kinds = kinds.assign(kind=kinds["outcome"].str.removeprefix(_KIND))
    for key, group in kinds.groupby(["model", "protocol", "method"], sort=False, observed=True):
        labels = dict(zip(["model", "protocol", "method"], key, strict=True))
        rows += [{**labels, **row} for row in _compare_with_weakest(group, confidence)]
    return pd.DataFrame(rows, columns=WEAKEST_COLUMNS)


def _select_compared(fact_outcomes: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of all methods for the outcomes that methods are compared by."""
    names = [
        name for name in fact_outcomes["outcome"].unique() if any(fnmatchcase(name, pattern) for pattern in OUTCOMES)
    ]
    return fact_outcomes[fact_outcomes["outcome"].isin(names) & (fact_outcomes["method"] != UNEDITED)]


def _compare_with_weakest(group: pd.DataFrame, confidence: float) -> list[dict[str, Any]]:
    names = in_order(group["kind"], KINDS)
    simultaneous_level = 1 - (1 - confidence) / len(names)
    table = [{"kind": kind, **_estimate(group[group["kind"] == kind], simultaneous_level)} for kind in names]
    measured_rows = [row for row in table if not np.isnan(row["value"])]
    if not measured_rows:
        return []
    weakest = min(measured_rows, key=lambda row: row["value"])["kind"]
    by_kind = {row["kind"]: _values(group[group["kind"] == row["kind"]]) for row in measured_rows}
    differences = {kind: _difference(values, by_kind[weakest], confidence) for kind, values in by_kind.items()}
    other_kinds = [kind for kind in by_kind if kind != weakest]
    p_holm = dict(zip(other_kinds, holm([differences[kind]["p"] for kind in other_kinds]), strict=True))
    return [
        {
            **row,
            "n_kinds": len(names),
            "lowest": row["kind"] == weakest,
            "difference": differences[row["kind"]]["difference"],
            "p_holm": float(p_holm.get(row["kind"], float("nan"))),
            "indistinct": not p_holm.get(row["kind"], 1.0) < 1 - confidence,
        }
        for row in measured_rows
    ]


def _compare_pairs(
    group: pd.DataFrame, column: str, names: Mapping[str, str], confidence: float
) -> Iterator[dict[str, Any]]:
    values = {name: _values(group[group[column] == name]) for name in in_order(group[column], names)}
    for first, second in combinations(values, 2):
        yield {column: first, "other": second, **_difference(values[first], values[second], confidence)}


def _values(rows: pd.DataFrame) -> pd.Series:
    complete = rows.dropna(subset=["value"])
    return pd.Series(complete["value"].to_numpy(float), index=pd.MultiIndex.from_frame(complete[_FACT]))


def _estimate(rows: pd.DataFrame, confidence: float) -> dict[str, Any]:
    values = _values(rows)
    estimate = proportion(values, values.index.get_level_values("subject"), confidence)
    counts = {"n_facts": len(values), "n_missing": len(rows) - len(values)}
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, **counts}


def _difference(first: pd.Series, second: pd.Series, confidence: float) -> dict[str, Any]:
    """Estimate the paired difference first - second with its interval and p-value, clustered by subject."""
    n_values = len(first) + len(second)
    # most methods have the same facts, and pandas would take most of the time to look each of them up
    if not first.index.equals(second.index):
        common = first.index.intersection(second.index)
        first, second = first.loc[common], second.loc[common]
    subjects = first.index.get_level_values("subject")
    counts = {
        "n_facts": len(first),
        "n_subjects": subjects.nunique(),
        "n_unpaired": n_values - 2 * len(first),
    }
    if counts["n_subjects"] < FEWEST_SUBJECTS:
        no_values = dict.fromkeys(("difference", "low", "high", "p"), float("nan"))
        reason = f"{counts['n_subjects']} subjects in common: too few (at least {FEWEST_SUBJECTS})"
        return {**no_values, **counts, "note": reason}
    value, low, high, p = paired_difference(first, second, subjects, confidence)
    return {"difference": value, "low": low, "high": high, "p": p, **counts, "note": ""}


def _worse_methods(comparisons: pd.DataFrame, sign: int, alpha: float) -> set[str]:
    """Return the methods that another one is significantly better than."""
    significant = comparisons[comparisons["p_holm"] < alpha]
    is_better = sign * significant["difference"] > 0
    return set(significant.loc[is_better, "other"]) | set(significant.loc[~is_better, "method"])
