"""Nodes of rephrase: wordings of the sampled facts, all chosen kinds of prompt, and a sample for review."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

import pandas as pd
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from edit_robustness.datasets.failures import PATIENCE, run_attempts
from edit_robustness.datasets.folders import Landing, Manifest
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.progress import track
from edit_robustness.prompts.kinds import KINDS, select_kinds
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import read_relations
from edit_robustness.prompts.wordings import (
    Wording,
    complete_wordings,
    data_wordings,
    wordings_from_table,
    wordings_to_table,
)
from edit_robustness.prompts.writer import requests, write
from edit_robustness.records import Fact, Probe
from edit_robustness.setting_types import STRICT, ListSetting
from edit_robustness.speakers.speaker import Speaker
from edit_robustness.tables import facts_from_table, probes_from_table, probes_to_table

Source = Literal["templates", "writer", "table"]
SOURCES: tuple[Source, ...] = get_args(Source)
"""Sources of wordings."""

_AT_ONCE = 4
"""Facts per batch of a writer. An interrupted run loses at most one batch."""


@dataclass(frozen=True, config=STRICT)
class WordingParameters:
    """Source of the wordings.

    Attributes:
        by: ``templates`` of the relations, a ``writer`` (a speaker of the catalog), or a reviewed ``table``.
        tries: How often a writer is asked for a text that fails the checks.
    """

    by: Source = "templates"
    tries: PositiveInt = 3


@dataclass(frozen=True, config=STRICT)
class ProbeParameters:
    """Parameters of the probes of each edit.

    Attributes:
        kinds: Names of kinds of prompt and of groups of them (``all``, ``paper1``).
        neighbours_per_fact: Probes per edit about other subjects of the same relation (kinds `neighbourhood` and
            `edit_before_neighbour`).
        relation_specificity_per_fact: Probes per edit about other relations of the same subject.
        unrelated_per_fact: Probes per edit about other subjects and other relations.
        paraphrases_per_fact: Paraphrases for each edit, at most.
        seed: What random choices follow from, together with the fact and the kind.
        reviewed: Probes of each kind in the sample to be read.
    """

    kinds: Annotated[
        ListSetting[str],
        Field(min_length=1),
        AfterValidator(select_kinds),
    ] = (
        *("statement", "paraphrase", "question", "cloze", "dialogue", "unrelated_context", "doubt", "doubt_old_object"),
        *("neighbourhood", "relation_specificity", "unrelated"),
    )
    neighbours_per_fact: NonNegativeInt = 2
    relation_specificity_per_fact: NonNegativeInt = 2
    unrelated_per_fact: NonNegativeInt = 1
    paraphrases_per_fact: PositiveInt = 3
    seed: int = 0
    reviewed: PositiveInt = 20


def ask_writer(
    sampled_facts: pd.DataFrame,
    raw_relations: dict[str, Any],
    writer: Speaker,
    inventory: Mapping[str, str],
    parameters: WordingParameters,
) -> Landing:
    """Ask a writer for wordings of the sampled facts, one file per fact. Existing wordings are not requested again."""
    facts, templates = facts_from_table(sampled_facts), read_relations(raw_relations)
    manifest = Manifest(
        {
            fact.id: fingerprint("wordings", writer.fingerprint, parameters.tries, requests(fact, templates))
            for fact in facts
        }
    )
    yield manifest
    by_id, label = {fact.id: fact for fact in facts}, f"{writer.name}: writing wordings"
    missing_keys = manifest.missing_keys(inventory)

    def make(keys: Sequence[str]) -> Iterator[list[Wording]]:
        for first in range(0, len(keys), _AT_ONCE):
            batch = [by_id[key] for key in keys[first : first + _AT_ONCE]]
            yield from write(batch, templates, writer, parameters.tries).values()

    for attempt in track(run_attempts(missing_keys, make, label, patience=PATIENCE), label, len(missing_keys)):
        yield attempt.to_items(manifest[attempt.key], fact_id=attempt.key)


def write_wordings(
    sampled_facts: pd.DataFrame, raw_relations: dict[str, Any], parameters: WordingParameters, source: Any = None
) -> pd.DataFrame:
    """Return the checked wordings of the sampled facts as a table for review.

    Args:
        sampled_facts: The facts of this run.
        raw_relations: The YAML of relations.
        parameters: Who makes them.
        source: What a writer made (items by fact), or a reviewed table; nothing for templates.

    Raises:
        ValueError: Where a reviewed table is wrong, or is about other facts.
    """
    facts = facts_from_table(sampled_facts)
    fact_wordings: dict[str, list[Wording]] = {}
    if parameters.by == "writer":
        # a fact that the writer failed at has templates, like one whose texts failed the checks
        fact_wordings = {fact.id: data_wordings(fact) + (source[fact.id].read() or []) for fact in facts}
    elif parameters.by == "table":
        fact_wordings = _read_reviewed(source, facts)
    return wordings_to_table(complete_wordings(facts, fact_wordings, read_relations(raw_relations)))


def _read_reviewed(table: pd.DataFrame, facts: list[Fact]) -> dict[str, list[Wording]]:
    fact_ids = {fact.id for fact in facts}
    fact_wordings: dict[str, list[Wording]] = {}
    for wording in wordings_from_table(table):
        if wording.fact_id in fact_ids:
            fact_wordings.setdefault(wording.fact_id, []).append(wording)
    if not fact_wordings:
        raise ValueError(
            f"frozen_wordings: none of its {len(table)} rows is about a fact of this run, such as {facts[0].id}; "
            "its fact_id must be that of the table of facts"
        )
    return fact_wordings


def make_probes(
    sampled_facts: pd.DataFrame,
    facts: pd.DataFrame,
    raw_relations: dict[str, Any],
    wordings: pd.DataFrame,
    parameters: ProbeParameters,
) -> pd.DataFrame:
    """Build the probes of the sampled facts (`tables.PROBE_COLUMNS`).

    Specificity probes come from the table of all facts.

    Raises:
        ValueError: Where the templates of relations are wrong.
    """
    probes = build_probes(
        facts_from_table(sampled_facts),
        read_relations(raw_relations),
        facts_from_table(facts),
        kinds=parameters.kinds,
        neighbours=parameters.neighbours_per_fact,
        relation_specificity=parameters.relation_specificity_per_fact,
        unrelated=parameters.unrelated_per_fact,
        seed=parameters.seed,
        wordings=wordings_from_table(wordings),
        paraphrases=parameters.paraphrases_per_fact,
    )
    return probes_to_table(probes)


def sample_probes(probes: pd.DataFrame, parameters: ProbeParameters) -> pd.DataFrame:
    """Sample some probes of each kind, spread over the facts, in readable form."""
    by_kind: dict[str, list[Probe]] = {}
    for probe in probes_from_table(probes):
        by_kind.setdefault(probe.kind, []).append(probe)
    rows = [
        _describe(probe)
        for kind_probes in by_kind.values()
        for probe in _spread_evenly(kind_probes, parameters.reviewed)
    ]
    return pd.DataFrame(rows, columns=["kind", "tests", "holds", "fact_id", "prompt", "new", "old"])


def _spread_evenly(probes: list[Probe], number: int) -> list[Probe]:
    return [probes[place * len(probes) // number] for place in range(number)] if len(probes) > number else probes


def _describe(probe: Probe) -> dict[str, str]:
    turns = [f"{turn.role.capitalize()}: {turn.text}" for turn in probe.previous_turns]
    if probe.follows is not None:
        turns.append("Assistant: (the model's own answer)")
    kind = KINDS[probe.kind]
    return {
        "kind": probe.kind,
        "tests": kind.description,
        "holds": kind.holds,
        "fact_id": probe.fact_id,
        "prompt": "\n".join([*turns, f"User: {probe.text}" if probe.conversation else probe.text]),
        "new": probe.target_new,
        "old": probe.target_true,
    }
