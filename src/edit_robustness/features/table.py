"""One row a fact with all that is known of it before any edit, for whoever asks which facts are hard to edit."""

from __future__ import annotations

import pandas as pd

from edit_robustness.tables import read_names

IN_CONTEXT = ("recalled", "recall_cut", "matched", "logprob_true", "perplexity_true", "perplexity_new")
"""What the second recall, after demonstrations, adds; with ``_in_context`` after its name."""

_ALIASES = ("subject_aliases", "target_true_aliases", "target_new_aliases")


def features_table(
    memorisation: pd.DataFrame,
    familiarity: pd.DataFrame,
    in_context: pd.DataFrame,
    facts: pd.DataFrame,
    looked_up: pd.DataFrame,
) -> pd.DataFrame:
    """All features of the facts, joined by fact_id.

    Args:
        memorisation: What the model recalls of each fact (`metrics.memorisation`); its rows and columns come first.
        familiarity: Columns of `familiarity.FAMILIARITY_COLUMNS`.
        in_context: A second memorisation, after demonstrations; without rows where it was not asked.
        facts: The facts, for the numbers of aliases.
        looked_up: Rows of `remote.FEATURE_COLUMNS`.

    Returns:
        The memorisation with `log_perplexity_gap` (of the new object less that of the true one, in nats a token:
        positive where the model prefers the truth), familiarity, the columns of `IN_CONTEXT`, numbers of aliases, and
        for each feature that was looked up its value, `<name>_missing_because` and `<name>_ambiguity`. Facts that
        were not looked up have neither value nor reason.
    """
    names = facts[["id"]].rename(columns={"id": "fact_id"})
    for column in _ALIASES:
        names[f"n_{column}"] = [len(read_names(cell)) for cell in facts[column]]
    context = in_context[["fact_id", *IN_CONTEXT]].rename(columns=lambda name: _in_context(str(name)))
    context = context.astype({f"{name}_in_context": "boolean" for name in ("recalled", "recall_cut", "matched")})
    gap = (
        memorisation["logprob_true"] / memorisation["tokens_true"]
        - memorisation["logprob_new"] / memorisation["tokens_new"]
    )
    table = memorisation.assign(log_perplexity_gap=gap)
    for part in (familiarity, names, context, wide(looked_up)):
        table = table.merge(part, on="fact_id", how="left", validate="one_to_one")
    return table


def wide(looked_up: pd.DataFrame) -> pd.DataFrame:
    """One row a fact: for each feature its value, the reason where it is missing, and the ambiguity."""
    table = looked_up[["fact_id"]].drop_duplicates()
    for name, rows in looked_up.groupby("feature", sort=False):
        own = rows[["fact_id", "value", "missing_because", "ambiguity"]].rename(
            columns={
                "value": str(name),
                "missing_because": f"{name}_missing_because",
                "ambiguity": f"{name}_ambiguity",
            }
        )
        table = table.merge(own, on="fact_id", how="left", validate="one_to_one")
    return table


def _in_context(name: str) -> str:
    return name if name == "fact_id" else f"{name}_in_context"
