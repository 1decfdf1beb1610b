"""Prior knowledge of the unedited model about each fact, measured before any edit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edit_robustness.metrics.outcomes import CUT, outcome

RECALL_COLUMNS = [
    *("model", "fact_id", "subject", "relation", "page_views", "logprob_true", "logprob_new", "tokens_true"),
    *("tokens_new", "perplexity_true", "perplexity_new", "recalled", "recall_cut", "recalled_teacher_forced"),
]


def recall_table(answers: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Measure how well a model knows each fact, from its answers to the statements without any edit.

    Args:
        answers: One answer to the statement of each fact, by the unedited model (`tables.answers_to_table`).
        facts: The facts (`tables.facts_to_table`).

    Returns:
        One row per fact with an answer, with `RECALL_COLUMNS`. The perplexity of an object is
        exp(-log-probability / tokens), as in paper 1. `recalled`: the first sentence of the free generation names
        the old object, and not the new object before it. `recall_cut`: the token limit ended the generation before it
        named an object, so it counts as not recalled, although it might have been. `recalled_teacher_forced`: each
        token of the old object is the most probable one.

    Raises:
        ValueError: If an answer is about a fact that is not in the table.
    """
    statements = answers[answers["kind"] == "statement"]
    unknown_ids = sorted(set(statements["fact_id"]) - set(facts["id"]))
    if unknown_ids:
        raise ValueError(
            f"{len(unknown_ids)} answers are about facts that are not in the table, the first: {unknown_ids[0]}"
        )
    about = facts[["id", "relation", "page_views"]].rename(columns={"id": "fact_id"})
    table = statements.merge(about, on="fact_id", how="left", validate="many_to_one")
    outcomes = pd.Series([outcome(row) for row in table.to_dict(orient="records")], table.index, dtype="str")
    return table.assign(
        perplexity_true=perplexity(table["logprob_true"], table["tokens_true"]),
        perplexity_new=perplexity(table["logprob_new"], table["tokens_new"]),
        recalled=outcomes == "old",
        recall_cut=outcomes == CUT,
        recalled_teacher_forced=table["match_true"].astype(bool),
    )[RECALL_COLUMNS]


def perplexity(logprob: pd.Series, tokens: pd.Series) -> pd.Series:
    """Compute perplexity from a summed natural log-probability and its number of tokens."""
    return (-logprob / tokens).map(np.exp)
