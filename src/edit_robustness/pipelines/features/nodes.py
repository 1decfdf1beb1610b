"""Nodes of features. Each answer of a web service is stored, so an interrupted run resumes."""

import logging
from typing import Any

import pandas as pd

from edit_robustness.features.remote import FeatureParameters, feature_table, fetch
from edit_robustness.features.sources import describe_views
from edit_robustness.features.table import add_features, features_table
from edit_robustness.progress import track
from edit_robustness.prompts.relations import read_relations
from edit_robustness.tables import facts_from_table
from edit_robustness.web.transport import Transport

logger = logging.getLogger(__name__)


def fetch_features(sampled_facts: pd.DataFrame, web: Transport, parameters: FeatureParameters) -> pd.DataFrame:
    """Look up the chosen features of the sampled facts. If none is chosen, no request is sent.

    Returns:
        `features.remote.FEATURE_COLUMNS`, a row for each fact and feature.
    """
    facts = facts_from_table(sampled_facts)
    if not parameters.remote:
        return feature_table([])
    lookups = fetch(facts, parameters.remote, web, parameters)
    table = feature_table(list(track(lookups, "looking features up", len(facts))))
    absent = table["value"].isna()
    if absent.any():
        reasons = table.loc[absent, "missing_because"].value_counts().index[0]
        logger.warning("%d of %d features are missing; most often: %s", absent.sum(), len(table), reasons)
    return table


def join_features(
    recall: pd.DataFrame,
    object_ranks: pd.DataFrame,
    in_context: pd.DataFrame,
    facts: pd.DataFrame,
    looked_up: pd.DataFrame,
    sampled_facts: pd.DataFrame,
    raw_relations: dict[str, Any],
    parameters: FeatureParameters,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join all that is known of all facts, for one model, and compute and summarise the declared features."""
    table = features_table(recall, object_ranks, in_context, facts, looked_up)
    relations = read_relations(raw_relations).relations
    return add_features(
        table,
        facts,
        edited_ids=set(sampled_facts["id"]),
        object_types={relation.id: relation.object for relation in relations.values() if relation.object},
        views=describe_views(parameters),
    )
