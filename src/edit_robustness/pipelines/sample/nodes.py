"""Nodes of sample: choose the facts of this run by what the model knows of them."""

import logging
from typing import Annotated

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from edit_robustness.pipelines.sample.balance import balanced
from edit_robustness.setting_types import STRICT
from edit_robustness.tables import facts_from_table

logger = logging.getLogger(__name__)


@dataclass(frozen=True, config=STRICT)
class SampleParameters:
    """Which facts are edited in this run.

    Attributes:
        size: How many; 0 or null for all.
        seed: What the choice follows from.
        quantiles: Into how many classes of page views, equal in number, the facts are divided.
    """

    size: Annotated[int, Field(ge=0)] | None = 24
    seed: int = 0
    quantiles: Annotated[int, Field(ge=1)] = 4


def sample_facts(facts: pd.DataFrame, memorisation: pd.DataFrame, parameters: SampleParameters) -> pd.DataFrame:
    """Choose the facts of this run: evenly over what the model recalls or not, and over classes of page views.

    Inside a class, relations take turns; no two facts share a subject; facts with unknown page views come only
    where the others do not suffice. The choice depends on the seed and not on the order of the table. Facts that the
    model could not be asked about are not chosen.

    Args:
        facts: All facts.
        memorisation: Columns fact_id and recalled, of one model.
        parameters: How many, and how.

    Returns:
        The chosen rows of `facts`, in its order.

    Raises:
        ValueError: Where no fact has a memorisation.
    """
    recalled = recalled_facts(facts, memorisation)
    facts = facts[facts["id"].isin(recalled)]
    if not parameters.size:
        return facts.reset_index(drop=True)
    chosen = balanced(
        facts_from_table(facts), recalled, size=parameters.size, seed=parameters.seed, quantiles=parameters.quantiles
    )
    if len(chosen) < parameters.size:
        logger.warning(
            "sample.size: %d facts were asked for, and %d are taken: the table has no more subjects",
            parameters.size,
            len(chosen),
        )
    return facts[facts["id"].isin({fact.id for fact in chosen})].reset_index(drop=True)


def recalled_facts(facts: pd.DataFrame, memorisation: pd.DataFrame) -> dict[str, bool]:
    """For each fact that the model could be asked about, by its id, whether the model recalls it.

    Raises:
        ValueError: Where no fact has a memorisation.
    """
    recalled = dict(zip(memorisation["fact_id"], memorisation["recalled"].astype(bool), strict=True))
    lacking = [identifier for identifier in facts["id"] if identifier not in recalled]
    if len(lacking) == len(facts):
        raise ValueError(
            f"none of {len(facts)} facts has a memorisation; the log says why, or run it on all facts again"
        )
    if lacking:
        logger.warning(
            "%d of %d facts are not drawn, because the model could not be asked about them, the first: %s",
            *(len(lacking), len(facts), lacking[0]),
        )
    return recalled
