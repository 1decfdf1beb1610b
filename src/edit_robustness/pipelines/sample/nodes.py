"""Nodes of sample: choose the facts of a run by the model's prior knowledge."""

import logging
from collections.abc import Mapping
from typing import Annotated

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from edit_robustness.pipelines.sample.balance import balance, weigh
from edit_robustness.setting_types import STRICT
from edit_robustness.tables import facts_from_table

logger = logging.getLogger(__name__)


@dataclass(frozen=True, config=STRICT)
class SampleParameters:
    """Parameters of the sample of facts.

    Attributes:
        size: How many; 0 or null for all.
        seed: What the choice follows from.
        quantiles: Into how many classes of page views, equal in number, the facts are divided.
    """

    size: Annotated[int, Field(ge=0)] | None = 24
    seed: int = 0
    quantiles: Annotated[int, Field(ge=1)] = 4


def sample_facts(facts: pd.DataFrame, recall_scores: pd.DataFrame, parameters: SampleParameters) -> pd.DataFrame:
    """Choose the facts of this run: balanced over recalled or not, and over classes of page views.

    Inside a class, relations take turns; no two facts share a subject; facts with unknown page views come only
    where the others do not suffice. The choice depends on the seed and not on the order of the table. Facts that the
    model could not be asked about are not chosen.

    Args:
        facts: All facts.
        recall_scores: Columns fact_id and recalled, of one model.
        parameters: How many, and how.

    Returns:
        The chosen rows of `facts`, in its order, with `weight`: how many facts of the table each stands for
        (`balance.weigh`); 1 if all facts are taken.

    Raises:
        ValueError: Where no fact has a measurement of recall.
    """
    recall = find_recalled_facts(facts, recall_scores)
    facts = facts[facts["id"].isin(recall)]
    if not parameters.size:
        return facts.reset_index(drop=True).assign(weight=1.0)
    records, choice = facts_from_table(facts), {"seed": parameters.seed, "quantiles": parameters.quantiles}
    sample = balance(records, recall, size=parameters.size, **choice)
    if len(sample) < parameters.size:
        logger.warning(
            "sample.size: %d facts were asked for, and %d are taken: the table has no more subjects",
            parameters.size,
            len(sample),
        )
    weights = weigh(records, sample, recall, **choice)
    rows = facts[facts["id"].isin(weights)].reset_index(drop=True)
    log_representation(weights, len(facts))
    return rows.assign(weight=rows["id"].map(weights).astype(float))


def log_representation(weights: Mapping[str, float], n_facts: int) -> None:
    """Log how many facts of the table no fact of a sample stands for, because nothing was drawn from their stratum."""
    absent = n_facts - round(sum(weights.values()))
    if absent > 0:
        logger.info(
            "the sample stands for %d of %d facts: %d are in strata from which nothing was drawn, such as facts with "
            "unknown page views; weighted figures are without them",
            *(n_facts - absent, n_facts, absent),
        )


def find_recalled_facts(facts: pd.DataFrame, recall_scores: pd.DataFrame) -> dict[str, bool]:
    """Return whether the model recalls each fact, by id, for the facts that it could be asked about.

    Raises:
        ValueError: Where no fact has a measurement of recall.
    """
    recall = dict(zip(recall_scores["fact_id"], recall_scores["recalled"].astype(bool), strict=True))
    missing_ids = [identifier for identifier in facts["id"] if identifier not in recall]
    if len(missing_ids) == len(facts):
        raise ValueError(
            f"none of {len(facts)} facts has a measurement of recall; the log says why, or run it on all facts again"
        )
    if missing_ids:
        logger.warning(
            "%d of %d facts are not drawn, because the model could not be asked about them, the first: %s",
            *(len(missing_ids), len(facts), missing_ids[0]),
        )
    return recall
