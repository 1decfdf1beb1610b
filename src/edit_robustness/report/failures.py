"""Where edits break: believed on the statement and lost elsewhere, or spilled over to something else.

The cases are chosen by rule, never by hand: facts that lose the most kinds of prompt first, and among their answers
those that went back to the old object before those that say neither. An answer that a limit of tokens cut before it
named an object has not lost anything yet, and is none.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from edit_robustness.labels import KINDS, in_order

FAILURE_COLUMNS = [
    "model", "method", "fact_id", "subject", "target_new", "target_true", "statement_text", "kind", "prompt", "text",
    "verdict", "kinds_lost", "kinds_asked",
]  # fmt: skip
BREAK_COLUMNS = [
    *("model", "method", "fact_id", "kind", "subject", "target_new", "target_true", "prompt", "text", "text_before"),
]


def sharpest_failures(answers: pd.DataFrame, scores: pd.DataFrame, shown: int) -> pd.DataFrame:
    """For each method, answers that lose an edit which the statement shows to be there.

    Args:
        answers: model, method, probe_id, fact_id, kind, family, subject, prompt, target_new, target_true, text.
        scores: The long table; free generation's success, reversion and cut are used.
        shown: Cases for each model and method, one a fact.

    Returns:
        model, method, fact_id, subject, target_new, target_true, statement_text (what was said to the statement),
        kind, prompt, text (what was said), verdict ("old" or "neither"), kinds_lost, kinds_asked.
    """
    judged = _judged(answers[(answers["family"] == "edit") & (answers["method"] != "none")], scores)
    judged = judged[judged["cut"] != 1]
    cell = ["model", "method", "fact_id"]
    statements = judged[judged["kind"] == "statement"]
    believed = statements.groupby(cell, sort=False).agg(held=("success", "min"), statement_text=("text", "first"))
    believed = believed.loc[believed["held"] == 1, ["statement_text"]].reset_index()
    others = judged[judged["kind"] != "statement"].merge(believed, on=cell)
    if others.empty:
        return pd.DataFrame(columns=FAILURE_COLUMNS)
    by_kind = others.groupby([*cell, "kind"])["success"].min()
    counts = by_kind.groupby(cell).agg(kinds_lost=lambda held: int((held == 0).sum()), kinds_asked="size")
    lost = others[others["success"] == 0].merge(counts.reset_index(), on=cell)
    lost = lost.assign(verdict=np.where(lost["reversion"] == 1, "old", "neither"))
    return _one_a_fact(lost, shown)[FAILURE_COLUMNS].reset_index(drop=True)


def _judged(answers: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Answers with their free-generation success, reversion and cut; answers without a score are left out."""
    free = scores[(scores["protocol"] == "free") & scores["metric"].isin(["success", "reversion", "cut"])]
    wide = free.pivot_table(index=["model", "method", "probe_id"], columns="metric", values="value", observed=True)
    wide = wide.reindex(columns=["success", "reversion", "cut"]).reset_index()
    return answers.merge(wide, on=["model", "method", "probe_id"])


def _one_a_fact(lost: pd.DataFrame, shown: int) -> pd.DataFrame:
    """Each case from another fact, and from another kind of prompt as long as there are others."""
    kinds = in_order(lost["kind"], KINDS)
    ranked = lost.assign(
        reverted=(lost["verdict"] == "old").astype(int), place=lost["kind"].map(kinds.index)
    ).sort_values(["kinds_lost", "reverted", "fact_id", "place"], ascending=[False, False, True, True], kind="stable")
    chosen = []
    for _, rows in ranked.groupby(["model", "method"], sort=False):
        facts: set[str] = set()
        seen: set[str] = set()
        for _ in range(shown):
            left = rows[~rows["fact_id"].isin(facts)]
            if left.empty:
                break
            fresh = left[~left["kind"].isin(seen)]
            row = (fresh if len(fresh) else left).iloc[0]
            facts.add(row["fact_id"])
            seen.add(row["kind"])
            chosen.append(row)
    return pd.DataFrame(chosen, columns=ranked.columns)


def locality_breaks(answers: pd.DataFrame, shown: int) -> pd.DataFrame:
    """Answers of the family locality that became the new object, where the unedited model did not say it.

    Args:
        answers: As for `sharpest_failures`, with the rows of the method `none` as what was said before.
        shown: Cases for each model and method, one a fact.

    Returns:
        model, method, fact_id, kind, subject (who was asked about), target_new, target_true, prompt, text, text_before.
    """
    local = answers[answers["family"] == "locality"]
    before = local[local["method"] == "none"][["model", "probe_id", "text"]]
    before = before.rename(columns={"text": "text_before"})
    after = local[local["method"] != "none"].merge(before, on=["model", "probe_id"], how="left")
    now, then = _names(after, "text"), _names(after, "text_before")
    cases = after[now & ~then].drop_duplicates(["model", "method", "fact_id"])
    breaks: pd.DataFrame = cases.groupby(["model", "method"], sort=False).head(shown)[BREAK_COLUMNS]
    return breaks.reset_index(drop=True)


def _names(answers: pd.DataFrame, column: str) -> np.ndarray:
    """Whether a text holds the new object as a word of its own."""
    pairs = zip(answers[column].fillna("").astype(str), answers["target_new"].astype(str), strict=True)
    return np.array([_holds(text, target) for text, target in pairs], dtype=bool)


def _holds(text: str, target: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(target.strip())}(?!\w)", text, re.IGNORECASE) is not None
