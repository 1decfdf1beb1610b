"""Failure cases: edits that succeed on the statement and fail elsewhere, or that change other answers.

A fixed rule selects the cases: first the facts that fail on the most kinds of prompt, and among their answers
reversions before answers that name neither object. An answer that the token limit cut before it named an object is not
a failure.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from edit_robustness.labels import KINDS, METHODS, in_order, label_of
from edit_robustness.records import UNEDITED
from edit_robustness.tables import select_rows

FAILURE_COLUMNS = [
    "model", "method", "fact_id", "subject", "target_new", "target_true", "statement_text", "kind", "prompt", "text",
    "verdict", "kinds_lost", "kinds_asked",
]  # fmt: skip
SPECIFICITY_FAILURE_COLUMNS = [
    *("model", "method", "fact_id", "kind", "subject", "target_new", "target_true", "prompt", "text", "text_before"),
]


def sharpest_failures(answers: pd.DataFrame, scores: pd.DataFrame, n_cases: int) -> pd.DataFrame:
    """Select for each method answers that fail although the edit succeeds on the statement.

    Args:
        answers: model, method, probe_id, fact_id, kind, family, subject, prompt, target_new, target_true, text.
        scores: The long table; free generation's success, reversion and cut are used.
        n_cases: Number of cases per model and method, one per fact.

    Returns:
        model, method, fact_id, subject, target_new, target_true, statement_text (the answer to the statement), kind,
        prompt, text (the answer), verdict ("old" or "neither"), kinds_lost, kinds_asked.
    """
    free_answers = _add_scores(answers[(answers["family"] == "edit") & (answers["method"] != UNEDITED)], scores)
    free_answers = free_answers[free_answers["cut"] != 1]
    cell = ["model", "method", "fact_id"]
    statements = free_answers[free_answers["kind"] == "statement"]
    statement_texts = statements.groupby(cell, sort=False).agg(
        held=("success", "min"), statement_text=("text", "first")
    )
    statement_texts = statement_texts.loc[statement_texts["held"] == 1, ["statement_text"]].reset_index()
    other_answers = free_answers[free_answers["kind"] != "statement"].merge(statement_texts, on=cell)
    if other_answers.empty:
        return pd.DataFrame(columns=FAILURE_COLUMNS)
    by_kind = other_answers.groupby([*cell, "kind"])["success"].min()
    counts = by_kind.groupby(cell).agg(kinds_lost=lambda success: int((success == 0).sum()), kinds_asked="size")
    losses = other_answers[other_answers["success"] == 0].merge(counts.reset_index(), on=cell)
    losses = losses.assign(verdict=np.where(losses["reversion"] == 1, "old", "neither"))
    return _pick_cases(losses, n_cases)[FAILURE_COLUMNS].reset_index(drop=True)


def _add_scores(answers: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Add the free-generation success, reversion and cut of each answer; answers without a score are left out."""
    free = scores[(scores["protocol"] == "free") & scores["metric"].isin(["success", "reversion", "cut"])]
    wide = free.pivot_table(index=["model", "method", "probe_id"], columns="metric", values="value", observed=True)
    wide = wide.reindex(columns=["success", "reversion", "cut"]).reset_index()
    return answers.merge(wide, on=["model", "method", "probe_id"])


def _pick_cases(losses: pd.DataFrame, n_cases: int) -> pd.DataFrame:
    """Pick cases of different facts, and of different kinds of prompt as long as there are any."""
    kinds = in_order(losses["kind"], KINDS)
    ranking = losses.assign(
        reverted=(losses["verdict"] == "old").astype(int), place=losses["kind"].map(kinds.index)
    ).sort_values(["kinds_lost", "reverted", "fact_id", "place"], ascending=[False, False, True, True], kind="stable")
    cases = []
    for _, rows in ranking.groupby(["model", "method"], sort=False):
        facts: set[str] = set()
        case_kinds: set[str] = set()
        for _ in range(n_cases):
            candidates = rows[~rows["fact_id"].isin(facts)]
            if candidates.empty:
                break
            other_kinds = candidates[~candidates["kind"].isin(case_kinds)]
            row = (other_kinds if len(other_kinds) else candidates).iloc[0]
            facts.add(row["fact_id"])
            case_kinds.add(row["kind"])
            cases.append(row)
    return pd.DataFrame(cases, columns=ranking.columns)


def specificity_failures(answers: pd.DataFrame, n_cases: int) -> pd.DataFrame:
    """Select answers of the family specificity that give the new object although the unedited model does not.

    Args:
        answers: Input of `sharpest_failures`; the rows of the method `none` are the answers before the edit.
        n_cases: Number of cases per model and method, one per fact.

    Returns:
        model, method, fact_id, kind, subject (of the prompt), target_new, target_true, prompt, text, text_before.
    """
    local = answers[answers["family"] == "specificity"]
    before = local[local["method"] == UNEDITED][["model", "probe_id", "text"]]
    before = before.rename(columns={"text": "text_before"})
    after = local[local["method"] != UNEDITED].merge(before, on=["model", "probe_id"], how="left")
    names_after, names_before = _names(after, "text"), _names(after, "text_before")
    cases = after[names_after & ~names_before].drop_duplicates(["model", "method", "fact_id"])
    specificity_failures: pd.DataFrame = cases.groupby(["model", "method"], sort=False).head(n_cases)[
        SPECIFICITY_FAILURE_COLUMNS
    ]
    return specificity_failures.reset_index(drop=True)


def _names(answers: pd.DataFrame, column: str) -> np.ndarray:
    """Check whether each text contains the new object as a whole word."""
    pairs = zip(answers[column].fillna("").astype(str), answers["target_new"].astype(str), strict=True)
    return np.array([_holds(text, target) for text, target in pairs], dtype=bool)


def _holds(text: str, target: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(target.strip())}(?!\w)", text, re.IGNORECASE) is not None


def explain_no_failures(headline: pd.DataFrame, max_failures: int) -> str:
    """Return why no edit with efficacy is listed as failing elsewhere; the rates decide whether that is a success.

    Args:
        headline: Rates per kind of prompt.
        max_failures: Most cases that were selected per model and method.
    """
    edits = select_rows(headline[headline["method"] != UNEDITED], protocol="free", family="edit", metric="success")
    edits = edits[edits["n_probes"] > 0].dropna(subset=["value"])
    is_statement = edits["kind"] == "statement"
    if is_statement.all():
        return "No prompt other than the statement has a figure, so whether edits generalize is unknown."
    if not max_failures:
        return f"No case is selected, because analyze.max_failures is 0. {_describe_extreme(edits[~is_statement])}"
    if not (edits.loc[is_statement, "value"] > 0).any():
        return "No edit succeeds on the statement, so none can fail only elsewhere."
    if (edits.loc[~is_statement, "value"] == 1).all():
        return "Every edit succeeds on every prompt other than the statement that was asked."
    return (
        "No edit that succeeds on the statement names another object elsewhere. "
        f"{_describe_extreme(edits[~is_statement])} These answers were cut by the token limit, or their edits fail on "
        "the statement, too."
    )


def explain_no_specificity_failures(headline: pd.DataFrame, max_failures: int) -> str:
    """Return why no answer about another fact is listed as changed to the new object, with the rates that agree.

    Args:
        headline: Rates per kind of prompt.
        max_failures: Most cases that were selected per model and method.
    """
    rows = select_rows(headline[headline["method"] != UNEDITED], protocol="free", family="specificity")
    rows = rows[rows["metric"].isin(["specificity", "specificity_all"]) & (rows["n_probes"] > 0)]
    rows = rows.dropna(subset=["value"])
    if rows.empty:
        return "No prompt about another fact has a figure, so whether edits change other answers is unknown."
    of_all = rows[rows["metric"] == "specificity_all"]
    extreme = _describe_extreme(of_all if len(of_all) else rows, "changed answers")
    if not max_failures:
        return f"No case is selected, because analyze.max_failures is 0. {extreme}"
    return f"No answer about another fact changed to the new object of an edit. {extreme}"


def _describe_extreme(rows: pd.DataFrame, name: str = "failures") -> str:
    """Return the largest share of failures among rates."""
    row = rows.iloc[int(rows["value"].to_numpy().argmin())]
    place = f"{label_of(str(row['method']), METHODS)}, {label_of(str(row['kind']), KINDS).lower()}"
    return f"The largest share of {name} is {1 - row['value']:.0%} ({place}, {int(row['n_probes'])} probes)."
