"""Features from Wikidata: numbers of statements and links of items, counted by the query service.

Truthy statements (those of the best rank; ``wdt:`` in SPARQL) are counted, unless a pattern says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from edit_robustness.features.sources import NotFound, Shape, Sources, parse_response
from edit_robustness.prompts.names import plain
from edit_robustness.web.transport import Reader, RequestFailed, Response, T, Transport

_ITEM, _PROPERTY = re.compile(r"Q[1-9]\d*"), re.compile(r"P[1-9]\d*")
_ENTITY = "http://www.wikidata.org/entity/"
_INTEGER = "http://www.w3.org/2001/XMLSchema#integer"
_PREFIXES = (
    f"PREFIX wd: <{_ENTITY}> PREFIX wdt: <http://www.wikidata.org/prop/direct/> "
    "PREFIX wikibase: <http://wikiba.se/ontology#> "
)
_SEARCH_LIMIT = "50"

Role = Literal["subject", "object"]


@dataclass(frozen=True)
class Entity:
    """An item of Wikidata.

    Attributes:
        id: Its id, such as ``Q142``.
        title: Title of its article in the Wikipedia of the chosen language; None if there is none.
        candidates: Number of items that the name could mean; 1 if the fact has an id.
    """

    id: str
    title: str | None
    candidates: int = 1


# text from a response enters a query only as a validated id
ItemId = Annotated[str, Field(pattern=r"^Q[1-9]\d*$")]


class _Match(Shape):
    text: str


class _Hit(Shape):
    id: ItemId
    match: _Match


class _Hits(Shape):
    search: list[_Hit]


class _SiteLink(Shape):
    title: str


class _Item(Shape):
    id: ItemId
    missing: str | None = None
    # PHP writes an empty mapping as a list
    sitelinks: Annotated[dict[str, _SiteLink], BeforeValidator(lambda links: links or {})] = Field({})


class _Items(Shape):
    entities: dict[str, _Item]


class _Value(Shape):
    type: str
    value: str
    datatype: str = ""


class _Bindings(Shape):
    bindings: list[dict[str, _Value]]


class _Results(Shape):
    results: _Bindings


def read_hits(response: Response, name: str) -> list[str]:
    """Return the ids of the items with exactly this label or alias, in the order of the response."""
    hits = parse_response(response, _Hits).search
    return list(dict.fromkeys(result.id for result in hits if plain(result.match.text) == plain(name)))


def read_item(response: Response, language: str) -> Entity | None:
    """Return the item in a response, with redirects followed; None if it does not exist."""
    items = list(parse_response(response, _Items).entities.values())
    if len(items) != 1:
        raise RequestFailed(f"the response has {len(items)} items instead of one")
    if items[0].missing is not None:
        return None
    link = items[0].sitelinks.get(f"{language.replace('-', '_')}wiki")
    return Entity(items[0].id, link.title if link else None)


def read_ids(response: Response) -> list[str]:
    """Return the ids of the items that a query binds to ``?item``."""
    rows = parse_response(response, _Results).results.bindings
    ids = [row["item"].value.removeprefix(_ENTITY) if "item" in row else "" for row in rows]
    if not all(_ITEM.fullmatch(item) for item in ids):
        raise RequestFailed("the response binds something other than items")
    return ids


def read_count(response: Response) -> int | None:
    """Return the number that a query binds to ``?n``; None if it binds nothing because an item does not exist."""
    rows = parse_response(response, _Results).results.bindings
    if not rows:
        return None
    value = rows[0].get("n")
    if len(rows) > 1 or value is None or value.datatype != _INTEGER or not re.fullmatch(r"\d+", value.value):
        raise RequestFailed("the response binds something other than one whole number")
    return int(value.value)


def by_id(web: Transport, item: str, sources: Sources) -> Entity:
    """Look up an item by its id; an item that was merged into another gives the other.

    Raises:
        NotFound: If there is no such item.
        RequestFailed: If the request fails.
    """
    if not _ITEM.fullmatch(item):
        raise NotFound(f"{item!r} is not the id of an item")
    query = {
        "action": "wbgetentities",
        "format": "json",
        "ids": item,
        "props": "sitelinks",
        "sitefilter": f"{sources.language.replace('-', '_')}wiki",
    }
    entity = web.get(sources.endpoints.wikidata, query, partial(read_item, language=sources.language))
    if entity is None:
        raise NotFound(f"Wikidata has no item {item}")
    return entity


def by_name(web: Transport, name: str, role: Role, relation: str, sources: Sources) -> Entity:
    """Look up the first item with this name that occurs in the role: as subject or as object of the relation.

    If the relation is not a property of Wikidata, every item except disambiguation pages qualifies.

    Raises:
        NotFound: If there is no such item.
        RequestFailed: If a request fails.
    """
    query = {
        "action": "wbsearchentities",
        "format": "json",
        "type": "item",
        "limit": _SEARCH_LIMIT,
        "language": sources.language,
        "uselang": sources.language,
        "search": name,
    }
    ids = web.get(sources.endpoints.wikidata, query, partial(read_hits, name=name))
    role_ids = set(_ask(web, _role_query(ids, role, relation), read_ids, sources)) if ids else set()
    candidates = [item for item in ids if item in role_ids]
    if not candidates:
        condition = f" that could be the {role} of {relation}" if _PROPERTY.fullmatch(relation) else ""
        raise NotFound(f"Wikidata has no item called {name!r}{condition}")
    entity = by_id(web, candidates[0], sources)
    return Entity(entity.id, entity.title, len(candidates))


def _role_query(items: Sequence[str], role: Role, relation: str) -> str:
    condition = "FILTER NOT EXISTS { ?item wdt:P31 wd:Q4167410 }"
    if _PROPERTY.fullmatch(relation):
        triple = f"?item wdt:{relation} []" if role == "subject" else f"[] wdt:{relation} ?item"
        condition = f"FILTER EXISTS {{ {triple} }}"
    return f"SELECT ?item WHERE {{ VALUES ?item {{ {' '.join(f'wd:{item}' for item in items)} }} {condition} }}"


STATEMENTS = "wd:{0} wikibase:statements ?n ."
"""All statements about an item, of any rank and with any value, as Wikibase counts them."""

_DIRECT = 'FILTER(STRSTARTS(STR(?{0}), "http://www.wikidata.org/prop/direct/"))'
_P, _Q = _DIRECT.format("p"), _DIRECT.format("q")
_ELSEWHERE = "FILTER(?m != wd:{0} && ?m != wd:{1})"

TRUTHY = f"wd:{{0}} ?p ?o . {_P}"
"""Truthy statements about an item, with any value: items, texts, numbers, dates, identifiers."""

LINKS = f'{TRUTHY} FILTER(STRSTARTS(STR(?o), "{_ENTITY}Q"))'
"""Truthy statements about an item whose value is an item."""

ONE_HOP = f"wd:{{0}} ?p wd:{{1}} . {_P}"
"""Statements from the first item to the second."""

TWO_HOPS = f"wd:{{0}} ?p ?m . ?m ?q wd:{{1}} . {_P} {_Q} {_ELSEWHERE}"
"""Pairs of statements from the first item over a third one to the second."""

ONE_HOP_UNDIRECTED = f"{{{{ wd:{{0}} ?p wd:{{1}} }}}} UNION {{{{ wd:{{1}} ?p wd:{{0}} }}}} {_P}"
"""Statements between two items, whichever way they point."""

TWO_HOPS_UNDIRECTED = (
    "{{ wd:{0} ?p ?m }} UNION {{ ?m ?p wd:{0} }} {{ ?m ?q wd:{1} }} UNION {{ wd:{1} ?q ?m }} "
    f"{_P} {_Q} {_ELSEWHERE}"
)
"""Pairs of statements between two items over a third one, whichever way each points."""


def count_matches(web: Transport, pattern: str, items: Sequence[str], sources: Sources) -> int:
    """Count the matches of a pattern for some items.

    Args:
        web: The transport.
        pattern: One of the patterns of this module.
        items: Ids for ``{0}`` and ``{1}``.
        sources: Settings and addresses of the services.

    Raises:
        RequestFailed: If there is no count, for example because the query service does not have an item. Its count
            would be 0, which would be wrong.
    """
    count = _ask(web, count_query(pattern, items), read_count, sources)
    if count is None:
        raise NotFound(f"the query service does not have {' and '.join(items)}")
    return count


def count_query(pattern: str, items: Sequence[str]) -> str:
    """Return the query that binds ``?n`` to the number of matches, or binds nothing if an item does not exist."""
    triples = pattern.format(*items)
    if pattern == STATEMENTS:
        return f"SELECT ?n WHERE {{ {triples} }}"
    existence = " ".join(f"wd:{item} wikibase:statements [] ." for item in items)
    return f"SELECT ?n WHERE {{ {existence} {{ SELECT (COUNT(*) AS ?n) WHERE {{ {triples} }} }} }}"


def _ask(web: Transport, query: str, reader: Reader[T], sources: Sources) -> T:
    return web.get(sources.endpoints.sparql, {"format": "json", "query": _PREFIXES + query}, reader)
