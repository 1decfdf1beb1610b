"""The features of facts that are looked up elsewhere: what there is, and how all of a sample are fetched.

One failing look-up makes one value missing, with its reason; it never stops a run and never becomes a number.
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
from edit_robustness.features.wikidata import Entity, by_id, by_name, counted
from edit_robustness.features.wikipedia import article, page_views
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT, Listed
from edit_robustness.text.closest import did_you_mean
from edit_robustness.web.transport import NoAnswer, Transport

Who = Literal["subject", "true", "new"]

FEATURE_COLUMNS = {
    "fact_id": "str",
    "feature": "str",
    "value": "Float64",
    "missing_because": "str",
    "ambiguity": "Int64",
}
"""Columns of a table of looked-up features: a missing value has a reason, and a value an empty one; `ambiguity` is in
how many ways the fact's names could have been read as items, 1 where the fact has ids, missing where none was."""


@dataclass(frozen=True)
class Looked:
    """A value that was found, and in how many ways the names could have been read; None where by the name alone."""

    value: float
    ambiguity: int | None


Found = Mapping[Who, Entity | NoAnswer]
"""The items that a fact is about, or why there is none."""


@dataclass(frozen=True)
class Feature:
    """A feature: the items it is about, and how it is looked up."""

    about: tuple[Who, ...]
    look_up: Callable[[Transport, Fact, Found, Sources], Looked]


def _views(web: Transport, fact: Fact, found: Found, sources: Sources) -> Looked:
    """Views of the subject's article: its item's, or where there is no item, that which its name leads to."""
    if isinstance(found["subject"], NotFound) and not fact.subject_id:
        return Looked(page_views(web, article(web, fact.subject, sources), sources), None)
    subject = _there(found, "subject")
    if subject.title is None:
        raise NotFound(f"{subject.id} has no article in the Wikipedia of {sources.language!r}")
    return Looked(page_views(web, subject.title, sources), subject.candidates)


def _count(pattern: str, *about: Who) -> Feature:
    def look_up(web: Transport, fact: Fact, found: Found, sources: Sources) -> Looked:
        items = [_there(found, who) for who in about]
        ways = 1
        for item in items:
            ways *= item.candidates
        return Looked(counted(web, pattern, [item.id for item in items], sources), ways)

    return Feature(about, look_up)


def _there(found: Found, who: Who) -> Entity:
    entity = found[who]
    if isinstance(entity, NoAnswer):
        raise NoAnswer(str(entity))
    return entity


REMOTE: Mapping[str, Feature] = {
    "wikipedia_views": Feature(("subject",), _views),
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
"""Every feature that can be looked up, by the name that settings and tables have for it."""


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in REMOTE:
            raise ValueError(f"features.remote: there is no `{name}`; {did_you_mean(name, REMOTE)}")
    return tuple(dict.fromkeys(names))


@validated(frozen=True, config=STRICT)
class FeatureParameters(Sources):
    """Which features of facts a run has.

    Attributes:
        remote: Names of `REMOTE`, a list; with any, the run asks the network.
        in_context: With how many demonstrations of the same relation recall is asked a second time; 0: not at all.
        seed: Of the choice of demonstrations.
    """

    remote: Annotated[Listed[str], AfterValidator(_known)] = ()
    in_context: Annotated[int, Field(ge=0)] = 0
    seed: int = 0


def fetch(facts: Sequence[Fact], names: Sequence[str], web: Transport, sources: Sources) -> Iterator[pd.DataFrame]:
    """The rows of each fact, as soon as it was looked up.

    Args:
        facts: The facts.
        names: Of `REMOTE`.
        web: The transport.
        sources: What is looked up, and where.
    """
    about: list[Who] = list(dict.fromkeys(who for name in names for who in REMOTE[name].about))
    for fact in facts:
        found = {who: _resolved(web, fact, who, sources) for who in about}
        yield _table([_row(web, fact, name, found, sources) for name in names])


def feature_table(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table of many, with `FEATURE_COLUMNS`, also of none."""
    return pd.concat([_table([]), *parts], ignore_index=True) if parts else _table([])


def _table(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=k) for name, k in FEATURE_COLUMNS.items()})


def _row(web: Transport, fact: Fact, name: str, found: Found, sources: Sources) -> dict[str, object]:
    row: dict[str, object] = {
        "fact_id": fact.id,
        "feature": name,
        "value": None,
        "missing_because": "",
        "ambiguity": None,
    }
    try:
        looked = REMOTE[name].look_up(web, fact, found, sources)
    except NoAnswer as reason:
        return row | {"missing_because": str(reason)}
    return row | {"value": looked.value, "ambiguity": looked.ambiguity}


def _resolved(web: Transport, fact: Fact, who: Who, sources: Sources) -> Entity | NoAnswer:
    """The item that a fact means: by its id, or else by name and relation."""
    name, item = {
        "subject": (fact.subject, fact.subject_id),
        "true": (fact.target_true, fact.target_true_id),
        "new": (fact.target_new, fact.target_new_id),
    }[who]
    try:
        if item:
            return by_id(web, item, sources)
        if not name.strip():
            return NotFound(f"the fact has no {who} object")
        return by_name(web, name, "subject" if who == "subject" else "object", fact.relation, sources)
    except NoAnswer as reason:
        return reason
