"""Nodes of features. What is looked up elsewhere is kept answer by answer, so a killed run goes on."""

import logging

import pandas as pd

from edit_robustness.features.remote import FeatureParameters, feature_table, fetch
from edit_robustness.features.table import features_table
from edit_robustness.progress import track
from edit_robustness.tables import facts_from_table
from edit_robustness.web.transport import Transport

logger = logging.getLogger(__name__)


def fetch_features(sampled_facts: pd.DataFrame, web: Transport, parameters: FeatureParameters) -> pd.DataFrame:
    """Look the chosen features of the sampled facts up; with none chosen, nobody is asked.

    Returns:
        `features.remote.FEATURE_COLUMNS`, a row for each fact and feature.
    """
    facts = facts_from_table(sampled_facts)
    if not parameters.remote:
        return feature_table([])
    looking = fetch(facts, parameters.remote, web, parameters)
    table = feature_table(list(track(looking, "looking features up", len(facts))))
    missing = table["value"].isna()
    if missing.any():
        reasons = table.loc[missing, "missing_because"].value_counts().index[0]
        logger.warning("%d of %d features are missing; most often: %s", missing.sum(), len(table), reasons)
    return table


def join_features(
    memorisation: pd.DataFrame,
    familiar: pd.DataFrame,
    in_context: pd.DataFrame,
    facts: pd.DataFrame,
    looked_up: pd.DataFrame,
) -> pd.DataFrame:
    """All features of all facts, for one model."""
    return features_table(memorisation, familiar, in_context, facts, looked_up)
