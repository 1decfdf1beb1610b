"""A small made-up Wikidata and Wikipedia behind a local server, in the services' own shapes.

Counts come from the triples below by plain loops, never from the queries' own logic.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from local_server import Asked, Say

from edit_robustness.features import wikidata
from edit_robustness.features.sources import Endpoints

ENTITY = "http://www.wikidata.org/entity/"
TRIPLES = [
    ("Q1", "P36", "Q2"), ("Q1", "P30", "Q5"), ("Q1", "P1082", "37000000"), ("Q1", "P47", "Q3"), ("Q2", "P1376", "Q1"),
    ("Q2", "P17", "Q1"), ("Q3", "P47", "Q1"), ("Q3", "P36", "Q4"), ("Q3", "P190", "Q2"), ("Q4", "P17", "Q3"),
    ("Q5", "P610", "Q2"), ("Q6", "P19", "Q2"), ("Q7", "P36", "Q4"),
]  # fmt: skip
"""Borduria Q1, Szohod Q2, Syldavia Q3, Klow Q4, a continent Q5, a person called Borduria too Q6, an old Borduria Q7."""

NAMES = {
    "Q6": ["Borduria"], "Q1": ["Borduria", "Bordurie"], "Q7": ["Borduria"], "Q2": ["Szohod"], "Q3": ["Syldavia"],
    "Q4": ["Klow"], "Q5": ["Nowhere"],
}  # fmt: skip
TITLES = {"Q1": "Borduria (state)", "Q2": "Szohod", "Q3": "Syldavia", "Q4": "Klow"}
STATEMENTS = {"Q1": 9, "Q2": 4, "Q3": 5, "Q4": 1, "Q6": 1, "Q7": 2}
"""Q5 is not in the query service."""
VIEWS = {"Borduria_(state)": 1234, "Syldavia": 0, "Musstler": 77}
PAGES = {"Plekszy": "Musstler", "Musstler": "Musstler"}


def endpoints(url: str) -> Endpoints:
    return Endpoints(
        views=f"{url}/rest", wikipedia=f"{url}/wikipedia", wikidata=f"{url}/wikidata", sparql=f"{url}/sparql"
    )


@dataclass
class Wiki:
    """Answers as the services do; `faults` go first: for a word in the address or query, what is said instead."""

    faults: dict[str, list[Say]] = field(default_factory=dict)

    def __call__(self, asked: Asked) -> Say:
        for word, says in self.faults.items():
            if word in asked.path + " " + " ".join(asked.query.values()):
                return says.pop(0) if len(says) > 1 else says[0]
        service = asked.path.split("/")[1]
        return {"rest": views, "wikipedia": page, "wikidata": item, "sparql": sparql}[service](asked)


def views(asked: Asked) -> Say:
    title, granularity, start, end = asked.path.split("/")[-4:]
    if title not in VIEWS:
        return Say({"title": "Not found.", "detail": "The date(s) you used are valid, but ..."}, status=404)
    assert (granularity, start[-4:], end[-4:]) == ("monthly", "0100", "3100")
    return Say({"items": [{"article": title, "timestamp": start, "views": VIEWS[title]}]})


def page(asked: Asked) -> Say:
    name = asked.query["titles"]
    if name == "Mercury":
        found = {"title": name, "pageprops": {"disambiguation": ""}}
    elif name in PAGES:
        found = {"pageid": 1, "title": PAGES[name]}
    else:
        found = {"title": name, "missing": True}
    return Say({"batchcomplete": True, "query": {"pages": [found]}})


def item(asked: Asked) -> Say:
    if asked.query["action"] == "wbsearchentities":
        wanted = asked.query["search"].casefold()
        hits = [
            {"id": one, "label": names[0], "match": {"type": "label", "language": "en", "text": name}}
            for one, names in NAMES.items()
            for name in names
            if name.casefold().startswith(wanted)
        ]
        return Say({"searchinfo": {"search": wanted}, "search": hits, "success": 1})
    one = {"Q10": "Q1"}.get(asked.query["ids"], asked.query["ids"])
    if one not in NAMES:
        return Say({"entities": {one: {"id": one, "missing": ""}}, "success": 1})
    links = {"enwiki": {"site": "enwiki", "title": TITLES[one], "badges": []}} if one in TITLES else []
    return Say({"entities": {one: {"type": "item", "id": one, "sitelinks": links}}, "success": 1})


def sparql(asked: Asked) -> Say:
    query = asked.query["query"]
    if "VALUES" in query:
        items = re.findall(r"wd:(Q\d+)", query.split("VALUES")[1].split("}")[0])
        return bind([{"item": {"type": "uri", "value": ENTITY + one}} for one in items if fits(one, query)])
    found = [place for place in places() if query.endswith(wikidata.count_query(*place[:2]))]
    assert len(found) == 1, query
    _, items, count = found[0]
    if not set(items) <= set(STATEMENTS):
        return bind([])
    return bind(
        [{"n": {"type": "literal", "datatype": "http://www.w3.org/2001/XMLSchema#integer", "value": str(count)}}]
    )


def bind(rows) -> Say:
    return Say({"head": {"vars": []}, "results": {"bindings": rows}})


def fits(one: str, query: str) -> bool:
    if (as_subject := re.search(r"\?item wdt:(P\d+) \[\]", query)) is not None:
        return any(s == one and p == as_subject[1] for s, p, _ in TRIPLES)
    if (as_object := re.search(r"\[\] wdt:(P\d+) \?item", query)) is not None:
        return any(o == one and p == as_object[1] for _, p, o in TRIPLES)
    return True


def places():
    """Every pattern on every item or pair of items, with its count."""
    for s in NAMES:
        about = [o for a, _, o in TRIPLES if a == s]
        yield wikidata.STATEMENTS, [s], STATEMENTS.get(s)
        yield wikidata.TRUTHY, [s], len(about)
        yield wikidata.LINKS, [s], sum(o.startswith("Q") for o in about)
        for o in NAMES:
            yield wikidata.ONE_HOP, [s, o], one_hop(s, o)
            yield wikidata.TWO_HOPS, [s, o], two_hops(s, o, one_hop)
            yield wikidata.ONE_HOP_UNDIRECTED, [s, o], one_hop(s, o) + one_hop(o, s)
            yield wikidata.TWO_HOPS_UNDIRECTED, [s, o], two_hops(s, o, lambda a, b: one_hop(a, b) + one_hop(b, a))


def one_hop(s: str, o: str) -> int:
    return sum(a == s and b == o for a, _, b in TRIPLES)


def two_hops(s: str, o: str, hop) -> int:
    return sum(hop(s, m) * hop(m, o) for m in NAMES if m not in (s, o))
