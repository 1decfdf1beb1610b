import json

import pytest
from pydantic import ValidationError

from edit_robustness.features.sources import Endpoints, Sources
from edit_robustness.features.wikipedia import read_page, read_views, views_url
from edit_robustness.web.transport import RequestFailed, Response


def said(value, status=200):
    return Response(status, value if isinstance(value, str) else json.dumps(value))


def month(views, timestamp="2021100100"):
    return {"items": [{"project": "en.wikipedia", "timestamp": timestamp, "views": views}]}


def test_views_of_a_month():
    assert read_views(said(month(31337)), "2021-10") == 31337
    assert read_views(said(month(0)), "2021-10") == 0


def test_no_views_are_known_is_not_a_number():
    assert read_views(said({"title": "Not found."}, 404), "2021-10") is None


@pytest.mark.parametrize(
    "answer",
    [
        "<html>1</html>",
        "",
        "1",
        "[]",
        "null",
        {},
        {"items": []},
        {"items": {}},
        month("31337"),
        month(True),
        month(-1),
        month(1.5),
        month(None),
        month(5, "2021110100"),
        {"items": month(1)["items"] * 2},
        {"error": {"code": "ratelimited"}},
        {"error": "no"},
    ],
)
def test_nonsense_is_never_a_number(answer):
    with pytest.raises(RequestFailed):
        read_views(said(answer), "2021-10")


@pytest.mark.parametrize("status", [204, 301, 403, 500])
def test_another_status_is_never_a_number(status):
    with pytest.raises(RequestFailed, match=f"the server returned status {status}"):
        read_views(said(month(3), status), "2021-10")


def test_the_address_of_a_month():
    sources = Sources(month="2020-02", language="de", agent="user", endpoints=Endpoints(views="http://x"))
    assert views_url("A/B & c?", sources) == (
        "http://x/metrics/pageviews/per-article/de.wikipedia/all-access/user/A%2FB_%26_c%3F/monthly/2020020100/2020022900"
    )
    assert "/en.wikipedia/all-access/all-agents/Paris/monthly/2021100100/2021103100" in views_url("Paris", Sources())


@pytest.mark.parametrize("answer", [{}, {"query": {"pages": []}}, {"query": {"pages": [{"title": 3}]}}, "<html>"])
def test_a_page_that_is_none(answer):
    with pytest.raises(RequestFailed):
        read_page(said(answer))


@pytest.mark.parametrize(
    "settings",
    [
        {"month": "2021-13"},
        {"month": "202110"},
        {"language": "en/../x"},
        {"agent": "all"},
        {"access": "x"},
        {"moth": 1},
    ],
)
def test_sources_refuse_what_makes_no_sense(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        Sources(**settings)
