"""Features of facts that are looked up on the web: their definitions, and how they are fetched.

A failed look-up gives a missing value with its reason. It never stops a run and never becomes a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass as validated

from edit_robustness.features import wikidata
from edit_robustness.features.sources import NotFound, Sources
from edit_robustness.features.wikidata import Entity, by_id, by_name, count_matches
from edit_robustness.features.wikipedia import article, page_views
from edit_robustness.records import OBJECT_NAMES, Fact
from edit_robustness.setting_types import STRICT, ListSetting
from edit_robustness.text.closest import did_you_mean
from edit_robustness.web.transport import RequestFailed, Transport

Role = Literal["subject", "true", "new"]

FEATURE_COLUMNS = {
    "fact_id": "str",
    "feature": "str",
    "value": "Float64",
    "missing_because": "str",
    "ambiguity": "Int64",
}
"""Columns of a table of looked-up features. `missing_because` is the reason of a missing value, and empty otherwise.
`ambiguity` is the number of combinations of items that the fact's names could mean. It is 1 if the fact has ids, and
missing if no item was found."""


@dataclass(frozen=True)
class LookupResult:
    """The value of a look-up and its ambiguity, which is None if the look-up used the name only."""

    value: float
    ambiguity: int | None


FactEntities = Mapping[Role, Entity | RequestFailed]
"""The items of a fact by role, or the reason why there is none."""


@dataclass(frozen=True)
class Lookup:
    """A feature that is looked up: the roles of the items that it needs, and the function that looks it up."""

    about: tuple[Role, ...]
    look_up: Callable[[Transport, Fact, FactEntities, Sources], LookupResult]


def _views(web: Transport, fact: Fact, entities: FactEntities, sources: Sources) -> LookupResult:
    """Look up the views of the article of the subject's item, or of the subject's name if there is no item."""
    if isinstance(entities["subject"], NotFound) and not fact.subject_id:
        return LookupResult(page_views(web, article(web, fact.subject, sources), sources), None)
    subject = _entity(entities, "subject")
    if subject.title is None:
        raise NotFound(f"{subject.id} has no article in the Wikipedia of {sources.language!r}")
    return LookupResult(page_views(web, subject.title, sources), subject.candidates)


def _count(pattern: str, *about: Role) -> Lookup:
    def look_up(web: Transport, fact: Fact, entities: FactEntities, sources: Sources) -> LookupResult:
        items = [_entity(entities, role) for role in about]
        n_combinations = 1
        for item in items:
            n_combinations *= item.candidates
        return LookupResult(count_matches(web, pattern, [item.id for item in items], sources), n_combinations)

    return Lookup(about, look_up)


def _entity(entities: FactEntities, role: Role) -> Entity:
    entity = entities[role]
    if isinstance(entity, RequestFailed):
        raise RequestFailed(str(entity))
    return entity


REMOTE: Mapping[str, Lookup] = {
    "wikipedia_views": Lookup(("subject",), _views),
    "wikidata_statements": _count(wikidata.STATEMENTS, "subject"),
    "wikidata_truthy": _count(wikidata.TRUTHY, "subject"),
    "wikidata_links": _count(wikidata.LINKS, "subject"),
    "one_hop_true": _count(wikidata.ONE_HOP, "subject", "true"),
    "one_hop_new": _count(wikidata.ONE_HOP, "subject", "new"),
    "two_hops_true": _count(wikidata.TWO_HOPS, "subject", "true"),
    "two_hops_new": _count(wikidata.TWO_HOPS, "subject", "new"),
    "one_hop_undirected_true": _count(wikidata.ONE_HOP_UNDIRECTED, "subject", "true"),
    "one_hop_undirected_new": _count(wikidata.ONE_HOP_UNDIRECTED, "subject", "new"),
    "two_hops_undirected_true": _count(wikidata.TWO_HOPS_UNDIRECTED, "subject", "true"),
    "two_hops_undirected_new": _count(wikidata.TWO_HOPS_UNDIRECTED, "subject", "new"),
}
"""All features that can be looked up, by their names in settings and tables."""


def _check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in REMOTE:
            raise ValueError(f"features.remote: unknown feature `{name}`; {did_you_mean(name, REMOTE)}")
    return tuple(dict.fromkeys(names))


@validated(frozen=True, config=STRICT)
class FeatureParameters(Sources):
    """Settings of the features of facts.

    Attributes:
        remote: List of names of `REMOTE`. If it is not empty, the run uses the network.
        recall_demonstrations: Number of demonstrations of the same relation for a second measurement of recall; 0 to
            skip it.
        seed: Seed of the choice of demonstrations.
    """

    remote: Annotated[ListSetting[str], AfterValidator(_check_names)] = ()
    recall_demonstrations: Annotated[int, Field(ge=0)] = 0
    seed: int = 0


def fetch(facts: Sequence[Fact], names: Sequence[str], web: Transport, sources: Sources) -> Iterator[pd.DataFrame]:
    """Yield the rows of each fact as soon as they are looked up.

    Args:
        facts: The facts.
        names: Names of `REMOTE`.
        web: The transport.
        sources: Settings and addresses of the services.
    """
    roles: list[Role] = list(dict.fromkeys(role for name in names for role in REMOTE[name].about))
    for fact in facts:
        entities = {role: _resolve(web, fact, role, sources) for role in roles}
        yield _table([_row(web, fact, name, entities, sources) for name in names])


def feature_table(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate tables to one with `FEATURE_COLUMNS`; the result is empty if there are none."""
    return pd.concat([_table([]), *parts], ignore_index=True) if parts else _table([])


def _table(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=k) for name, k in FEATURE_COLUMNS.items()})


def _row(web: Transport, fact: Fact, name: str, entities: FactEntities, sources: Sources) -> dict[str, object]:
    row: dict[str, object] = {
        "fact_id": fact.id,
        "feature": name,
        "value": None,
        "missing_because": "",
        "ambiguity": None,
    }
    try:
        lookup = REMOTE[name].look_up(web, fact, entities, sources)
    except RequestFailed as reason:
        return row | {"missing_because": str(reason)}
    return row | {"value": lookup.value, "ambiguity": lookup.ambiguity}


def _resolve(web: Transport, fact: Fact, role: Role, sources: Sources) -> Entity | RequestFailed:
    """Look up an item of a fact by its id, or by name and relation if there is no id."""
    name, item = {
        "subject": (fact.subject, fact.subject_id),
        "true": (fact.target_true, fact.target_true_id),
        "new": (fact.target_new, fact.target_new_id),
    }[role]
    try:
        if item:
            return by_id(web, item, sources)
        if not name.strip():
            return NotFound(f"the fact has no {OBJECT_NAMES.get(role, role)}")
        return by_name(web, name, "subject" if role == "subject" else "object", fact.relation, sources)
    except RequestFailed as reason:
        return reason
