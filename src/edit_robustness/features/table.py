"""The table of features: one row per fact with measurements before edits, to analyse which facts are hard to edit."""

from __future__ import annotations

import pandas as pd

from edit_robustness.tables import read_names

IN_CONTEXT = ("recalled", "recall_cut", "recalled_teacher_forced", "logprob_true", "perplexity_true", "perplexity_new")
"""Columns of the second measurement of recall, after demonstrations; they get the suffix ``_in_context``."""

_ALIASES = ("subject_aliases", "target_true_aliases", "target_new_aliases")


def features_table(
    recall: pd.DataFrame,
    object_ranks: pd.DataFrame,
    in_context: pd.DataFrame,
    facts: pd.DataFrame,
    looked_up: pd.DataFrame,
) -> pd.DataFrame:
    """Join all features of the facts by fact_id.

    Args:
        recall: Recall of each fact (`metrics.recall`). Its rows and columns come first.
        object_ranks: Table with `object_ranks.OBJECT_RANK_COLUMNS`.
        in_context: Recall measured again, after demonstrations; without rows if it was not measured.
        facts: The facts, for the numbers of aliases.
        looked_up: Table with `remote.FEATURE_COLUMNS`.

    Returns:
        The recall table with `log_perplexity_gap` (log-perplexity of the new object minus that of the true object, in
        nats per token: positive if the model prefers the true object), the ranks, the columns of `IN_CONTEXT`,
        numbers of aliases, and for each looked-up feature its value, `<name>_missing_because` and `<name>_ambiguity`.
        Facts that were not looked up have neither value nor reason.
    """
    names = facts[["id"]].rename(columns={"id": "fact_id"})
    for column in _ALIASES:
        names[f"n_{column}"] = [len(read_names(cell)) for cell in facts[column]]
    context = in_context[["fact_id", *IN_CONTEXT]].rename(columns=lambda name: _in_context(str(name)))
    context = context.astype(
        {f"{name}_in_context": "boolean" for name in ("recalled", "recall_cut", "recalled_teacher_forced")}
    )
    gap = recall["logprob_true"] / recall["tokens_true"] - recall["logprob_new"] / recall["tokens_new"]
    table = recall.assign(log_perplexity_gap=gap)
    for part in (object_ranks, names, context, wide(looked_up)):
        table = table.merge(part, on="fact_id", how="left", validate="one_to_one")
    return table


def wide(looked_up: pd.DataFrame) -> pd.DataFrame:
    """Pivot looked-up features to one row per fact: value, reason of a missing value and ambiguity of each feature."""
    table = looked_up[["fact_id"]].drop_duplicates()
    for name, rows in looked_up.groupby("feature", sort=False):
        columns = rows[["fact_id", "value", "missing_because", "ambiguity"]].rename(
            columns={
                "value": str(name),
                "missing_because": f"{name}_missing_because",
                "ambiguity": f"{name}_ambiguity",
            }
        )
        table = table.merge(columns, on="fact_id", how="left", validate="one_to_one")
    return table


def _in_context(name: str) -> str:
    return name if name == "fact_id" else f"{name}_in_context"
