"""Answer to the first question, whether an edit holds however people ask: the best method and its weakest kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isnan

import pandas as pd

from edit_robustness.labels import BASELINE, DATASETS, NON_EDITS, label_of
from edit_robustness.notation import write_p
from edit_robustness.report.answers.rankings import (
    EFFICACY,
    GENERALIZATION,
    PORTABILITY,
    SHOWN,
    best_methods,
    list_ranked,
    select_outcome,
    turn_comparison,
)
from edit_robustness.report.answers.wording import (
    count_facts,
    join_texts,
    kind_name,
    method_name,
    write_points,
    write_rate,
)
from edit_robustness.report.rows import records
from edit_robustness.tables import select_rows

_RECALLED = "recalled"
"""Outcome of the unedited model: whether it knew a fact before the edit."""


def answer_generalization(
    rankings: pd.DataFrame,
    comparisons: pd.DataFrame,
    kinds: pd.DataFrame,
    alpha: float = 0.05,
    *,
    by_dataset: pd.DataFrame | None = None,
) -> tuple[str, list[str]]:
    """Answer whether an edit holds on other prompts than the statement.

    Args:
        rankings: Rows of `rank_methods` of one model and protocol.
        comparisons: Rows of `compare_methods` of the same.
        kinds: Rows of `weakest_kinds` of the same.
        alpha: Level of the tests.
        by_dataset: Rows of `rates_by_dataset` of the same.
    """
    by_dataset = pd.DataFrame() if by_dataset is None else by_dataset
    methods = [row["method"] for row in best_methods(rankings)]
    details = [
        *describe_rates(rankings, EFFICACY, methods, "Efficacy, the share of statements answered with the new object"),
        *(describe_weakest(select_rows(kinds, method=method), method, alpha) for method in methods),
        *describe_rates(rankings, PORTABILITY, methods, "Portability, the share of consequences that follow"),
        *compare_with_baseline(rankings, comparisons, methods[:1], alpha),
        *describe_datasets(by_dataset, methods[:1]),
        *describe_knowledge(by_dataset),
    ]
    return describe_ranking(rankings, comparisons), details


def describe_ranking(rankings: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """Return which methods generalize best, and which of them cannot be told apart."""
    ranked_rows = list_ranked(rankings, GENERALIZATION)
    if not ranked_rows:
        return "No editing method has a figure for prompts other than the statement."
    best_rows = [row for row in ranked_rows if row["best"]] or ranked_rows[:1]
    names = join_texts([method_name(row["method"]) for row in best_rows], SHOWN)
    rates = join_texts([write_rate(row) for row in best_rows[:SHOWN]])
    holds = f"hold on {rates} of the prompts other than the statement ({count_facts(best_rows)})"
    if len(ranked_rows) == 1:
        return f"{names} is the only editing method with a figure: its edits {holds}."
    if not _is_tested(comparisons, GENERALIZATION):
        top = ranked_rows[0]
        return (
            f"{method_name(top['method'])} has the highest mean of {len(ranked_rows)} methods, but they share too few "
            f"facts for a test: its edits hold on {write_rate(top)} of the prompts other than the statement "
            f"({count_facts([top])})."
        )
    if len(best_rows) == 1:
        phrase = (
            "generalizes best" if best_rows[0]["best"] else "has the highest mean, but is not the best by paired tests,"
        )
        return f"{names} {phrase} of {len(ranked_rows)} methods: its edits {holds}."
    scope = (
        f"The {len(ranked_rows)} methods"
        if len(best_rows) == len(ranked_rows)
        else f"The best {len(best_rows)} of {len(ranked_rows)} methods"
    )
    return f"{scope} cannot be told apart: edits by {names} {holds}."


def describe_weakest(kinds: pd.DataFrame, method: str, alpha: float = 0.05) -> str:
    """Return the kind of prompt on which a method has its lowest rate, and the kinds that may be as weak.

    Args:
        kinds: Rows of `weakest_kinds` of one model, protocol and method.
        method: The method.
        alpha: Level of the tests.
    """
    name, rows = method_name(method), records(kinds)
    if not rows:
        return f"No kind of prompt other than the statement has a figure with {name}."
    weakest = next(row for row in rows if row["lowest"])
    start = f"“{kind_name(weakest['kind'])}”: {write_rate(weakest)} ({count_facts([weakest])}"
    if len(rows) == 1:
        return f"The only other kind of prompt with a figure for {name} is {start})."
    start = f"The lowest rate of {name} is on {start}; the interval holds for {weakest['n_kinds']} kinds at once)."
    other_rows = [row for row in rows if not row["lowest"]]
    alike_rows = [row for row in other_rows if not row["p_holm"] < alpha]
    if not alike_rows:
        return f"{start} Every other kind is significantly better."
    if all(isnan(row["p_holm"]) for row in other_rows):
        return f"{start} The facts are too few to compare kinds."
    if len(alike_rows) == len(other_rows):
        return f"{start} No other kind is significantly better."
    names = [f"“{kind_name(row['kind'])}”" for row in alike_rows]
    return f"{start} As weak may be {join_texts(names, SHOWN)}."


def compare_with_baseline(
    rankings: pd.DataFrame, comparisons: pd.DataFrame, methods: Sequence[str], alpha: float = 0.05
) -> Iterator[str]:
    """Compare the generalization of methods with that of the in-context baseline; nothing if it was not run."""
    baseline = [row for row in select_outcome(rankings, GENERALIZATION) if row["method"] == BASELINE]
    if not baseline or isnan(baseline[0]["value"]):
        return
    start = (
        "The in-context baseline, which states the fact before the prompt and edits nothing, generalizes to "
        f"{write_rate(baseline[0])} of these prompts"
    )
    for method in methods:
        pair = {BASELINE, method}
        rows = [row for row in select_outcome(comparisons, GENERALIZATION) if {row["method"], row["other"]} == pair]
        if not rows or isnan(rows[0]["difference"]):
            reason = rows[0]["note"] if rows else "no facts in common"
            yield f"{start}. It could not be compared with {method_name(method)}: {reason}."
            continue
        difference, low, high = turn_comparison(rows[0], BASELINE)
        if rows[0]["p_holm"] < alpha:
            phrase = f"significantly {'more' if difference > 0 else 'less'} than {method_name(method)}"
        else:
            phrase = f"not significantly different from {method_name(method)}"
        interval = f"{write_points(difference)} points [{write_points(low)}, {write_points(high)}]"
        yield f"{start}: {phrase} ({interval}, Holm {write_p(rows[0]['p_holm'])}, {rows[0]['n_facts']} facts)."


def describe_datasets(by_dataset: pd.DataFrame, methods: Sequence[str]) -> Iterator[str]:
    """Yield the generalization of some methods and of the in-context baseline in each data set, if there are several.

    Args:
        by_dataset: Rows of `rates_by_dataset` of one model and protocol.
        methods: The methods.
    """
    if by_dataset.empty or by_dataset["dataset"].nunique() < 2:
        return
    rows = [row for row in select_outcome(by_dataset, GENERALIZATION) if not isnan(row["value"])]
    for method in methods:
        parts = []
        for dataset in dict.fromkeys(row["dataset"] for row in rows):
            rates = {row["method"]: row for row in rows if row["dataset"] == dataset}
            if method in rates:
                baseline = f", the in-context baseline {write_rate(rates[BASELINE])}" if BASELINE in rates else ""
                facts = count_facts([rates[method]])
                parts.append(f"{write_rate(rates[method])} on {_dataset_name(dataset)} ({facts}{baseline})")
        if len(parts) > 1:
            yield f"By data set, {method_name(method)} generalizes to {join_texts(parts)}."


def _dataset_name(name: str) -> str:
    return label_of(name, DATASETS) if name else "facts without a name"


def describe_knowledge(by_dataset: pd.DataFrame) -> Iterator[str]:
    """Yield how many of the edited facts the model knew before their edits."""
    rows = select_outcome(by_dataset, _RECALLED) if len(by_dataset) else []
    n_facts, n_missing = (sum(int(row[name]) for row in rows) for name in ("n_facts", "n_missing"))
    if not n_facts:
        return
    n_known = round(sum(row["value"] * row["n_facts"] for row in rows if row["n_facts"]))
    note = f"; {n_missing} more answers were cut" if n_missing else ""
    effect = "teach a fact rather than replace one" if n_known < n_facts / 2 else "replace a fact that the model knows"
    yield (
        f"Before the edits the model recalls {n_known} of {n_facts} edited facts ({n_known / n_facts:.0%}{note}), so "
        f"most edits {effect}."
    )


def describe_rates(rankings: pd.DataFrame, outcome: str, methods: Sequence[str], start: str) -> Iterator[str]:
    """Yield the rates of some methods in one outcome, after the start of the sentence."""
    rows = {row["method"]: row for row in select_outcome(rankings, outcome)}
    method_rows = [rows[method] for method in methods if method in rows and not isnan(rows[method]["value"])]
    if method_rows:
        rates = join_texts([f"{write_rate(row)} with {method_name(row['method'])}" for row in method_rows])
        yield f"{start}, is {rates} ({count_facts(method_rows)})."


def _is_tested(comparisons: pd.DataFrame, outcome: str) -> bool:
    """Return whether any two editing methods could be compared."""
    rows = [row for row in select_outcome(comparisons, outcome) if not {row["method"], row["other"]} & set(NON_EDITS)]
    return any(not isnan(row["p_holm"]) for row in rows)
