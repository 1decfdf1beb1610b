"""Features of facts in a run of the project: with a server, then without any network."""

import pandas as pd
import pytest
from fabricated_wiki import bind
from local_server import Say, local_server

from edit_robustness.context import check_web

INTEGER = "http://www.w3.org/2001/XMLSchema#integer"


def one_item_for_every_name(request):
    if request.query.get("action") == "wbsearchentities":
        return Say({"search": [{"id": "Q1", "match": {"text": request.query["search"]}}]})
    if request.query.get("action") == "wbgetentities":
        return Say({"entities": {"Q1": {"id": "Q1", "sitelinks": {}}}})
    if "VALUES" in request.query["query"]:
        return bind([{"item": {"type": "uri", "value": "http://www.wikidata.org/entity/Q1"}}])
    return bind([{"n": {"type": "literal", "datatype": INTEGER, "value": "9"}}])


def test_a_rerun_without_a_network_gives_the_same_table(project):
    def features(*first, **changes):
        looked_up = {
            "remote": ["wikidata_statements", "wikipedia_views"],
            "endpoints": endpoints,
            "recall_demonstrations": 2,
        }
        parameters = {"features": looked_up, **changes}
        project.run(from_nodes=first, to_nodes=["tiny.join_features"], parameters=parameters)
        return pd.read_parquet(project.data / "05_model_input" / "tiny" / "features.parquet")

    with local_server() as server:
        server.answer = one_item_for_every_name
        endpoints = {name: f"{server.url}/{name}" for name in ("views", "wikipedia", "wikidata", "sparql")}
        (project.folder / "conf" / "test" / "globals.yml").write_text("data: data/test\nuser_agent: tests\n")
        catalog = project.folder / "conf" / "base" / "catalog_features.yml"
        catalog.write_text(catalog.read_text().replace("per_second: 2.0", "per_second: 1000.0"))
        table = features()
        n_requests = len(server.requests)
    assert n_requests
    assert set(table["wikidata_statements"].dropna()) == {9.0}
    assert table["wikidata_statements"].notna().sum() == 5
    assert table["wikipedia_views_missing_because"].dropna().str.contains("no article").sum() == 5
    assert table["recalled_in_context"].notna().all()
    assert set(table["connection"].dropna()) == {1.0}, "log10(1 + 9)"
    folder = project.data / "05_model_input" / "tiny"
    summary = pd.read_parquet(folder / "feature_summary.parquet").set_index("feature")
    assert summary.loc["connection", "source"] == "log10(1 + wikidata_statements), looked up"
    assert summary.loc["connection", ["n_edited", "n_edited_missing"]].tolist() == [5, 0]
    weights = pd.read_parquet(folder / "facts.parquet")["weight"]
    assert (weights >= 1).all()
    assert weights.sum() <= len(table)

    offline = features("tiny.fetch_features", offline=True)
    pd.testing.assert_frame_equal(offline, table)


def test_nobody_to_ask_is_found_before_the_run(project):
    with pytest.raises(ValueError, match="`user_agent` is empty"):
        project.context(features={"remote": ["wikipedia_views"]})


@pytest.mark.parametrize(
    ("web", "features"),
    [
        ({"user_agent": "", "offline": True}, {"remote": ["wikipedia_views"]}),
        ({"user_agent": "tests (me@here)", "offline": False}, {"remote": ["wikipedia_views"]}),
        ({"user_agent": ""}, {"remote": []}),
        ({}, None),
    ],
)
def test_who_asks_matters_only_where_somebody_asks(web, features):
    check_web({"web": web}, {"features": features})
