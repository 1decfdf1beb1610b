import json
import re

import pytest

from edit_robustness.features import wikidata
from edit_robustness.features.wikidata import Entity, count_query, read_count, read_hits, read_ids, read_item
from edit_robustness.web.transport import RequestFailed, Response

INTEGER = "http://www.w3.org/2001/XMLSchema#integer"
PATTERNS = {
    name: value
    for name, value in vars(wikidata).items()
    if name in ("STATEMENTS", "TRUTHY", "LINKS") or name.startswith(("ONE_HOP", "TWO_HOPS"))
}


def said(value):
    return Response(200, value if isinstance(value, str) else json.dumps(value))


def bound(*rows):
    return said({"results": {"bindings": list(rows)}})


def number(value, datatype=INTEGER):
    return {"n": {"type": "literal", "value": value, "datatype": datatype}}


def test_a_count():
    assert read_count(bound(number("17"))) == 17
    assert read_count(bound(number("0"))) == 0
    assert read_count(bound()) is None


@pytest.mark.parametrize(
    "answer",
    [
        "<html>",
        {"results": {}},
        {"results": {"bindings": [{}]}},
        {"results": {"bindings": [number("1"), number("1")]}},
        {"results": {"bindings": [number("many")]}},
        {"results": {"bindings": [number("-1")]}},
        {"results": {"bindings": [number("1.0")]}},
        {"results": {"bindings": [number("1", "http://www.w3.org/2001/XMLSchema#string")]}},
        {"results": {"bindings": [{"n": 1}]}},
        {"results": {"bindings": [{"n": {"type": "literal", "value": 1, "datatype": INTEGER}}]}},
    ],
)
def test_nonsense_is_never_a_count(answer):
    with pytest.raises(RequestFailed):
        read_count(said(answer))


def test_hits_are_those_that_are_called_exactly_so():
    def hit(item, text):
        return {"id": item, "label": "?", "match": {"type": "alias", "text": text}}

    response = said({"search": [hit("Q1", "Paris"), hit("Q2", "Paris Hilton"), hit("Q3", "PARIS"), hit("Q1", "paris")]})
    assert read_hits(response, "paris") == ["Q1", "Q3"]
    with pytest.raises(RequestFailed, match=r"search\.0\.id"):
        read_hits(said({"search": [hit("Q1 } DROP {", "Paris")]}), "paris")


def test_an_item_and_none():
    links = {"enwiki": {"title": "France"}, "dewiki": {"title": "Frankreich"}}
    response = said({"entities": {"Q142": {"id": "Q142", "sitelinks": links}}})
    assert read_item(response, "en") == Entity("Q142", "France")
    assert read_item(response, "de") == Entity("Q142", "Frankreich")
    assert read_item(said({"entities": {"Q142": {"id": "Q142", "sitelinks": []}}}), "en") == Entity("Q142", None)
    assert read_item(said({"entities": {"Q9": {"id": "Q9", "missing": ""}}}), "en") is None


@pytest.mark.parametrize(
    "answer", [{"entities": {}}, {"entities": []}, {"entities": {"Q1": 3}}, {"error": {"code": "no-such-entity"}}, "<"]
)
def test_an_item_that_is_nonsense(answer):
    with pytest.raises(RequestFailed):
        read_item(said(answer), "en")


def test_bound_items():
    uri = "http://www.wikidata.org/entity/"
    assert read_ids(bound({"item": {"type": "uri", "value": uri + "Q5"}})) == ["Q5"]
    for row in ({"item": {"type": "uri", "value": uri + "P5"}}, {"other": {"type": "uri", "value": uri + "Q5"}}):
        with pytest.raises(RequestFailed):
            read_ids(bound(row))


@pytest.mark.parametrize("name", PATTERNS)
def test_queries_are_filled_and_closed(name):
    """No engine runs them here; this much can be seen: nothing is left open or unfilled, and both items are in it."""
    items = ["Q7"] if name in ("STATEMENTS", "TRUTHY", "LINKS") else ["Q7", "Q8"]
    query = count_query(PATTERNS[name], items)
    assert query.count("{") == query.count("}")
    assert query.count("(") == query.count(")")
    assert not re.search(r"\{\d?\}|\{\{|\}\}(?!\s*\}|$)", query.replace("} }", ""))
    assert all(f"wd:{item}" in query for item in items)
    assert query.startswith("SELECT ?n WHERE {")
    assert len(PATTERNS) == 7
