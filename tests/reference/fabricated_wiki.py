"""A small made-up Wikidata and Wikipedia behind a local server, in the services' own shapes.

Counts come from the triples below by plain loops, never from the queries' own logic.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from local_server import HttpRequest, Say

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

    def __call__(self, request: HttpRequest) -> Say:
        for word, says in self.faults.items():
            if word in request.path + " " + " ".join(request.query.values()):
                return says.pop(0) if len(says) > 1 else says[0]
        service = request.path.split("/")[1]
        return {"rest": views, "wikipedia": page, "wikidata": item, "sparql": sparql}[service](request)


def views(request: HttpRequest) -> Say:
    title, granularity, start, end = request.path.split("/")[-4:]
    if title not in VIEWS:
        return Say({"title": "Not found.", "detail": "The date(s) you used are valid, but ..."}, status=404)
    assert (granularity, start[-4:], end[-4:]) == ("monthly", "0100", "3100")
    return Say({"items": [{"article": title, "timestamp": start, "views": VIEWS[title]}]})


def page(request: HttpRequest) -> Say:
    name = request.query["titles"]
    if name == "Mercury":
        fields = {"title": name, "pageprops": {"disambiguation": ""}}
    elif name in PAGES:
        fields = {"pageid": 1, "title": PAGES[name]}
    else:
        fields = {"title": name, "missing": True}
    return Say({"batchcomplete": True, "query": {"pages": [fields]}})


def item(request: HttpRequest) -> Say:
    if request.query["action"] == "wbsearchentities":
        prefix = request.query["search"].casefold()
        hits = [
            {"id": item_id, "label": names[0], "match": {"type": "label", "language": "en", "text": name}}
            for item_id, names in NAMES.items()
            for name in names
            if name.casefold().startswith(prefix)
        ]
        return Say({"searchinfo": {"search": prefix}, "search": hits, "success": 1})
    item_id = {"Q10": "Q1"}.get(request.query["ids"], request.query["ids"])
    if item_id not in NAMES:
        return Say({"entities": {item_id: {"id": item_id, "missing": ""}}, "success": 1})
    links = {"enwiki": {"site": "enwiki", "title": TITLES[item_id], "badges": []}} if item_id in TITLES else []
    return Say({"entities": {item_id: {"type": "item", "id": item_id, "sitelinks": links}}, "success": 1})


def sparql(request: HttpRequest) -> Say:
    query = request.query["query"]
    if "VALUES" in query:
        items = re.findall(r"wd:(Q\d+)", query.split("VALUES")[1].split("}")[0])
        return bind([{"item": {"type": "uri", "value": ENTITY + item_id}} for item_id in items if fits(item_id, query)])
    matches = [place for place in places() if query.endswith(wikidata.count_query(*place[:2]))]
    assert len(matches) == 1, query
    _, items, count = matches[0]
    if not set(items) <= set(STATEMENTS):
        return bind([])
    return bind(
        [{"n": {"type": "literal", "datatype": "http://www.w3.org/2001/XMLSchema#integer", "value": str(count)}}]
    )


def bind(rows) -> Say:
    return Say({"head": {"vars": []}, "results": {"bindings": rows}})


def fits(item_id: str, query: str) -> bool:
    if (as_subject := re.search(r"\?item wdt:(P\d+) \[\]", query)) is not None:
        return any(s == item_id and p == as_subject[1] for s, p, _ in TRIPLES)
    if (as_object := re.search(r"\[\] wdt:(P\d+) \?item", query)) is not None:
        return any(o == item_id and p == as_object[1] for _, p, o in TRIPLES)
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
