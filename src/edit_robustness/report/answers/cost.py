"""Answer to the second question, what an edit costs: answers about other facts that change."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan

import pandas as pd

from edit_robustness.labels import NON_EDITS, split_outcome
from edit_robustness.report import specificity
from edit_robustness.report.answers.rankings import best_methods, select_outcome, turn_comparison
from edit_robustness.report.answers.wording import count_facts, join_texts, kind_name, method_name, write_rate
from edit_robustness.tables import select_rows


def answer_cost(
    rankings: pd.DataFrame, comparisons: pd.DataFrame, headline: pd.DataFrame, alpha: float = 0.05
) -> tuple[str, list[str]]:
    """Answer what the methods that generalize best cost: how many other answers change.

    Args:
        rankings: Rows of `rank_methods` of one model and protocol.
        comparisons: Rows of `compare_methods` of the same.
        headline: Rates per kind of prompt of the same.
        alpha: Level of the tests.
    """
    methods = [row["method"] for row in best_methods(rankings)]
    abilities = "The cost for general abilities is not measured here."
    if not methods:
        return "The cost cannot be given, because no editing method has a figure.", [abilities]
    sentences = [describe_specificity(rankings, method) for method in methods]
    better = [sentence for method in methods for sentence in find_gentler(rankings, comparisons, method, alpha)]
    rows = select_rows(headline, method=methods[0])
    prompts = specificity.sentences(method_name(methods[0]), rows) if len(rows) else ()
    return sentences[0], [*sentences[1:], *better, *prompts, abilities]


def describe_specificity(rankings: pd.DataFrame, method: str) -> str:
    """Return the share of unchanged answers to each kind of specificity prompt under one method."""
    name = method_name(method)
    kinds = _specificity_kinds(rankings)
    if not kinds:
        return f"Specificity of {name} is unknown: no prompt about other facts was asked."
    shares, unknown_kinds = [], []
    for outcome, kind in kinds.items():
        about = f"about {specificity.ABOUT[kind]}" if kind in specificity.ABOUT else f"of the kind “{kind_name(kind)}”"
        row = next((row for row in select_outcome(rankings, outcome) if row["method"] == method), None)
        if row is None or isnan(row["value"]):
            unknown_kinds.append(about)
        else:
            shares.append(f"{write_rate(row)} {about} ({count_facts([row])})")
    gap_text = f"no known answer could be scored {join_texts(unknown_kinds)}" if unknown_kinds else ""
    if not shares:
        return f"Specificity of {name} is unknown: {gap_text}."
    start = "Of the answers in which the unedited model names a definite object (known prompts)"
    shares_text = f"{start}, edits by {name} leave unchanged {join_texts(shares)}"
    return f"{shares_text}; {gap_text}." if gap_text else f"{shares_text}."


def find_gentler(rankings: pd.DataFrame, comparisons: pd.DataFrame, method: str, alpha: float = 0.05) -> Iterator[str]:
    """Yield for each kind of specificity the methods that leave significantly more answers unchanged than this one."""
    for outcome, kind in _specificity_kinds(rankings).items():
        gentler_methods = []
        for row in select_outcome(comparisons, outcome):
            if method not in (row["method"], row["other"]) or {row["method"], row["other"]} & set(NON_EDITS):
                continue
            other_method = row["other"] if row["method"] == method else row["method"]
            if row["p_holm"] < alpha and turn_comparison(row, other_method)[0] > 0:
                gentler_methods.append(other_method)
        rates = [row for row in select_outcome(rankings, outcome) if row["method"] in gentler_methods]
        if rates:
            names = join_texts([f"{method_name(row['method'])} ({write_rate(row)})" for row in rates])
            answers = f"answers of the kind “{kind_name(kind)}”"
            yield f"Significantly more {answers} stay unchanged than with {method_name(method)}: {names}."


def _specificity_kinds(rankings: pd.DataFrame) -> dict[str, str]:
    """Return the kind of prompt of each outcome that is one of specificity."""
    parts = {str(outcome): split_outcome(str(outcome)) for outcome in rankings["outcome"].unique()}
    return {outcome: kind for outcome, (group, kind) in parts.items() if group == "specificity" and kind}
