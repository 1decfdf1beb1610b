"""What the unedited model knows of each fact, before any edit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edit_robustness.metrics.mentions import verdict
from edit_robustness.tables import read_names

MEMORISATION_COLUMNS = [
    *("model", "fact_id", "subject", "relation", "page_views", "logprob_true", "logprob_new", "tokens_true"),
    *("tokens_new", "perplexity_true", "perplexity_new", "recalled", "matched"),
]


def memorisation_table(answers: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """How well a model knows each fact, from its answers to the statements without any edit.

    Args:
        answers: One answer to the statement of each fact, by the unedited model (`tables.answers_to_table`).
        facts: The facts (`tables.facts_to_table`).

    Returns:
        One row a fact that was asked, with `MEMORISATION_COLUMNS`. The perplexity of an object is
        exp(-log-probability / tokens), as in paper 1; `recalled`: the first sentence of the free generation names
        the true object (and not the counterfactual one before it); `matched`: each token of the true object is
        the most probable one.

    Raises:
        ValueError: Where an answer is about a fact that is not in the table.
    """
    statements = answers[answers["kind"] == "statement"]
    unknown = sorted(set(statements["fact_id"]) - set(facts["id"]))
    if unknown:
        raise ValueError(f"{len(unknown)} answers are about facts that are not in the table, the first: {unknown[0]}")
    about = facts[["id", "relation", "page_views"]].rename(columns={"id": "fact_id"})
    table = statements.merge(about, on="fact_id", how="left", validate="many_to_one")
    return table.assign(
        perplexity_true=perplexity(table["logprob_true"], table["tokens_true"]),
        perplexity_new=perplexity(table["logprob_new"], table["tokens_new"]),
        recalled=np.array([_recalled(row) for row in table.to_dict(orient="records")], dtype=bool),
        matched=table["match_true"].astype(bool),
    )[MEMORISATION_COLUMNS]


def perplexity(logprob: pd.Series, tokens: pd.Series) -> pd.Series:
    """Perplexity from a summed natural log-probability and its number of tokens."""
    return (-logprob / tokens).map(np.exp)


def _recalled(row: dict) -> bool:
    new = (row["target_new"], *read_names(row["target_new_aliases"]))
    true = (row["target_true"], *read_names(row["target_true_aliases"]))
    return verdict(row["text"], new, true) == "old"
