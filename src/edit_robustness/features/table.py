"""The table of features: one row per fact with measurements before edits, to analyse which facts are hard to edit."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from edit_robustness.features.declared import FEATURES, FactData, Feature, all_features
from edit_robustness.features.object_ranks import OBJECT_RANK_COLUMNS
from edit_robustness.features.remote import REMOTE
from edit_robustness.metrics.recall import RECALL_COLUMNS
from edit_robustness.metrics.scores import SCORE_COLUMNS
from edit_robustness.tables import FACT_COLUMNS, FACT_NOTES, read_names

IN_CONTEXT = ("recalled", "recall_cut", "recalled_teacher_forced", "logprob_true", "perplexity_true", "perplexity_new")
"""Columns of the second measurement of recall, after demonstrations; they get the suffix ``_in_context``."""

SUMMARY_COLUMNS = [
    *("model", "feature", "label", "source", "scale", "n_facts", "n_missing", "share_missing", "low", "high"),
    *("n_edited", "n_edited_missing"),
]

_LOOKUP_COLUMNS = ("", "_missing_because", "_ambiguity")

_ALIASES = ("subject_aliases", "target_true_aliases", "target_new_aliases")


RESERVED = frozenset(
    {
        *(*FACT_COLUMNS, *FACT_NOTES, *SCORE_COLUMNS, *RECALL_COLUMNS, *OBJECT_RANK_COLUMNS, "log_perplexity_gap"),
        *(f"{name}_in_context" for name in IN_CONTEXT),
        *(f"n_{name}" for name in _ALIASES),
        *(f"{prefix}{name}{suffix}" for name in REMOTE for prefix in ("", "log_") for suffix in _LOOKUP_COLUMNS),
        *(feature.name for feature in FEATURES),
        *("outcome", "n_probes", "n_cut", "reason", "order", "position", "last_held", "censored"),
    }
)
"""Names of columns of the tables of features and outcomes, which a feature of the user's table cannot have."""


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
        The recall table with `log_perplexity_gap` (log-perplexity of the new object minus that of the old object, in
        nats per token: positive if the model prefers the old object), the ranks, the columns of `IN_CONTEXT`,
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


def add_features(
    table: pd.DataFrame,
    facts: pd.DataFrame,
    *,
    edited_ids: Collection[str] = (),
    object_types: Mapping[str, str] | None = None,
    views: str = "Wikipedia",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute every feature of the facts, and summarise them.

    Args:
        table: Output of `features_table` for one model.
        facts: The facts of the model, with the columns that the user added.
        edited_ids: Ids of the facts that are edited.
        object_types: Types of the objects of relations.
        views: What looked-up page views are.

    Returns:
        The table with one float column per feature, NaN if missing (a feature replaces the column of its name); and
        `SUMMARY_COLUMNS`: a row per feature in the order of declaration, with the number of facts and of missing
        values, the lowest and the highest value over all facts, and the same counts of the edited facts.

    Raises:
        ValueError: If a feature's function does not return one number per fact.
    """
    about = facts.rename(columns={"id": "fact_id"})
    new_columns = ["fact_id", *(name for name in about if name not in table)]
    rows = table.merge(about[new_columns], on="fact_id", how="left", validate="one_to_one")
    data = FactData(rows, facts, object_types or {}, views)
    features = all_features(data)
    values = {feature.name: _compute(feature, data) for feature in features}
    is_edited = rows["fact_id"].isin(edited_ids)
    summary = [
        {
            "model": model,
            "feature": feature.name,
            "label": feature.label,
            "source": feature.describe(data),
            "scale": feature.scale,
            **_count(values[feature.name], is_edited),
        }
        for model in rows["model"].unique()[:1]
        for feature in features
    ]
    return table.assign(**values), pd.DataFrame(summary, columns=SUMMARY_COLUMNS)


def _compute(feature: Feature, data: FactData) -> pd.Series:
    values = feature.compute(data)
    if not isinstance(values, pd.Series) or not values.index.equals(data.rows.index):
        raise ValueError(
            f"the feature {feature.name} must return a Series with a value per row of `rows`, by the index of `rows`"
        )
    try:
        numbers = values.astype("Float64").astype(float)
    except (ValueError, TypeError) as error:
        raise ValueError(f"the feature {feature.name} must return numbers: {error}") from error
    # an infinite perplexity is no number that a correlation or a regression can use
    return numbers.replace([np.inf, -np.inf], np.nan)


def _count(values: pd.Series, is_edited: pd.Series) -> dict[str, float]:
    absent = values.isna()
    return {
        "n_facts": len(values),
        "n_missing": int(absent.sum()),
        "share_missing": float(absent.mean()) if len(values) else float("nan"),
        "low": float(values.min()),
        "high": float(values.max()),
        "n_edited": int(is_edited.sum()),
        "n_edited_missing": int((absent & is_edited).sum()),
    }
