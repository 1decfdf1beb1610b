"""The node of rephrase: every chosen kind of prompt for every chosen fact."""

from typing import Annotated

import pandas as pd
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from edit_robustness.prompts.kinds import KINDS
from edit_robustness.prompts.probes import build_probes, check_kinds
from edit_robustness.prompts.relations import read_relations
from edit_robustness.tables import facts_from_table, probes_to_table


def _checked(kinds: tuple[str, ...]) -> tuple[str, ...]:
    check_kinds(kinds)
    return kinds


@dataclass(frozen=True, config={"extra": "forbid"})
class ProbeParameters:
    """What is asked about each edit.

    Attributes:
        kinds: Names of kinds of prompt; all where it is not given.
        neighbours_per_fact: Locality probes for each edit.
        seed: What random choices follow from, together with the fact and the kind.
    """

    kinds: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_checked)] = tuple(KINDS)
    neighbours_per_fact: Annotated[int, Field(ge=0)] = 3
    seed: int = 0


def make_probes(
    sampled_facts: pd.DataFrame, facts: pd.DataFrame, raw_relations: dict, parameters: ProbeParameters
) -> pd.DataFrame:
    """The probes of the facts of this run (`tables.PROBE_COLUMNS`); neighbours come from the table of all facts.

    Raises:
        ValueError: Where the templates of relations are wrong.
    """
    probes = build_probes(
        facts_from_table(sampled_facts),
        read_relations(raw_relations),
        facts_from_table(facts),
        kinds=parameters.kinds,
        neighbours=parameters.neighbours_per_fact,
        seed=parameters.seed,
    )
    return probes_to_table(probes)
