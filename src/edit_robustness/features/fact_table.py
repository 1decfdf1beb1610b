"""Features that follow from the table of facts: facts with the same object or relation, types of objects, and views."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from edit_robustness.prompts.names import plain
from edit_robustness.tables import read_names


def log10_positive(values: pd.Series) -> pd.Series:
    """Return log10 of positive numbers; NaN for the others."""
    return pd.Series(np.log10(values.where(values > 0).to_numpy(dtype=float)), values.index)


def log10_count(keys: pd.Series, all_keys: pd.Series) -> pd.Series:
    """Return log10 of how often each key occurs among all keys; NaN if the key is missing or does not occur."""
    return log10_positive(keys.map(all_keys.value_counts()).astype(float))


def objects(rows: pd.DataFrame, facts: pd.DataFrame | None = None) -> pd.Series:
    """Return what identifies the old object of each row; missing if the object is not known.

    It is the Wikidata item if each fact of the whole table has one, otherwise the name without case. Items and names
    are not mixed, because then one object would count as two.

    Args:
        rows: Facts.
        facts: The whole table of facts; without it, `rows`.
    """
    facts = rows if facts is None else facts
    has_object = facts["target_true"] != ""
    if (facts.loc[has_object, "target_true_id"] != "").all():
        return rows["target_true_id"].where(rows["target_true_id"] != "")
    return rows["target_true"].map(plain).where(rows["target_true"] != "")


def same_type(rows: pd.DataFrame, facts: pd.DataFrame, object_types: Mapping[str, str]) -> pd.Series:
    """Return whether the new object is of the type of the old object, as far as the table of facts can tell.

    An object has the types of the relations of which it is an old object in the table: by its item or any of its names.
    Relations have the same type if their templates say so (both ``city``); a relation without templates has a type of
    its own.

    Args:
        rows: Facts: relation, target_new, target_new_aliases, target_new_id.
        facts: The whole table of facts.
        object_types: Type of the objects of each relation with templates.

    Returns:
        1.0 or 0.0; NaN if the new object is the old object of no fact.
    """
    types: dict[str, set[str]] = {}
    for fact in facts[facts["target_true"] != ""].to_dict(orient="records"):
        for name in _names(fact, "target_true"):
            types.setdefault(name, set()).add(_type(fact["relation"], object_types))
    values = []
    for fact in rows.to_dict(orient="records"):
        new_types = set().union(*(types.get(name, ()) for name in _names(fact, "target_new")))
        values.append(float(_type(fact["relation"], object_types) in new_types) if new_types else float("nan"))
    return pd.Series(values, rows.index, dtype=float)


def _names(fact: Mapping[object, object], column: str) -> set[str]:
    names = {plain(str(name)) for name in (fact[column], *read_names(fact[f"{column}_aliases"]))}
    # an item such as Q142 cannot be taken for a name, which is in lower case
    return (names | {str(fact[f"{column}_id"])}) - {""}


def _type(relation: str, object_types: Mapping[str, str]) -> str:
    return object_types.get(relation) or f"object of {relation}"


def describe_page_views(rows: pd.DataFrame) -> pd.Series:
    """Return what the page views of each fact measure, by `page_views_source` or else by the data set."""
    datasets = rows["dataset"].astype(object) if "dataset" in rows else pd.Series("", rows.index, dtype=object)
    fallback = "page_views of " + datasets.where(datasets != "", "the table of facts") + " (measure not named)"
    if "page_views_source" not in rows:
        return fallback
    return rows["page_views_source"].astype(object).where(rows["page_views_source"] != "", fallback)
