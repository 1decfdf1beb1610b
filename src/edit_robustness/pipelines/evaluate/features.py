"""The nodes that say what is known of each fact before any edit."""

import pandas as pd

from edit_robustness.asking.ask import Decoding
from edit_robustness.features import familiarity
from edit_robustness.features.table import features_table
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.progress import track
from edit_robustness.tables import facts_from_table


def familiarise(lm: LanguageModel, facts: pd.DataFrame, decoding: Decoding) -> pd.DataFrame:
    """How near the unedited model is to the true object of every fact, in one pass over the statements."""
    records, rows = facts_from_table(facts), decoding.batch_rows
    batches = -(-len(records) // rows)
    measured = track(familiarity.familiarity(lm, records, rows=rows), f"{lm.name}: how familiar facts are", batches)
    return familiarity.familiarity_table(list(measured), records)


def join_features(
    memorisation: pd.DataFrame,
    familiar: pd.DataFrame,
    in_context: pd.DataFrame,
    facts: pd.DataFrame,
    looked_up: pd.DataFrame,
) -> pd.DataFrame:
    """All features of all facts, for one model."""
    return features_table(memorisation, familiar, in_context, facts, looked_up)
