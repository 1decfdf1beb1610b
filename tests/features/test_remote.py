"""Features looked up on a server that behaves well, badly, and not at all."""

from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
from fabricated_wiki import TITLES, TRIPLES, Wiki, endpoints, one_hop
from local_server import FakeClock, Say, local_server
from pydantic import ValidationError

from edit_robustness.features.remote import FEATURE_COLUMNS, REMOTE, FeatureParameters, fetch
from edit_robustness.pipelines.features.nodes import fetch_features
from edit_robustness.records import Fact
from edit_robustness.tables import facts_to_table
from edit_robustness.web.cache import ResponseCache
from edit_robustness.web.transport import Http, RequestSettings

BORDURIA = Fact("borduria", "Borduria", "P36", "The seat of {} is", "Szohod", "Klow")
SYLDAVIA = Fact(
    "syldavia", "Syldavia", "P36", "{} is", "Klow", "Szohod", subject_id="Q3", target_true_id="Q4", target_new_id="Q2"
)


class Bench:
    """A server, a cache, and the node that looks features up."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder

    def fetch(self, *facts, remote=tuple(REMOTE), live=True, **manners):
        clock = FakeClock()
        settings = {"user_agent": "tests (me@here)", "timeout": 0.3, "attempts": 2, "per_second": 1e6, **manners}
        web = ResponseCache(self.folder, Http(RequestSettings(**settings), clock) if live else None)
        parameters = FeatureParameters(remote=remote, endpoints=endpoints(self.server.url))
        table = fetch_features(facts_to_table(facts), web, parameters)
        assert dict(table.dtypes.astype(str)) == FEATURE_COLUMNS
        return table

    def values(self, *facts, **options):
        table = self.fetch(*facts, **options)
        return {(row.fact_id, row.feature): row for row in table.itertuples()}


@pytest.fixture
def bench(tmp_path):
    with local_server() as server:
        server.answer = Wiki()
        yield Bench(server, tmp_path / "cache")


def test_by_id_nothing_is_ambiguous(bench):
    values = bench.values(SYLDAVIA)
    objects = [o for s, _, o in TRIPLES if s == "Q3"]
    reference = {
        "wikipedia_views": 0,
        "wikidata_statements": 5,
        "wikidata_truthy": len(objects),
        "wikidata_links": len(objects),
        "one_hop_true": one_hop("Q3", "Q4"),
        "one_hop_new": one_hop("Q3", "Q2"),
        # Syldavia - Borduria - Szohod
        "two_hops_new": 1,
        "two_hops_true": 0,
        "one_hop_undirected_true": 2,
        "one_hop_undirected_new": 1,
        # two statements between Syldavia and Borduria, three between Borduria and Szohod
        "two_hops_undirected_new": 2 * 3,
        "two_hops_undirected_true": 0,
    }
    assert {name: values["syldavia", name].value for name in REMOTE} == reference
    assert {row.ambiguity for row in values.values()} == {1}
    assert {row.missing_because for row in values.values()} == {""}


def test_by_name_the_relation_decides_and_the_rest_is_recorded(bench):
    """Three items are called Borduria: a person, who has no capital, the state, and an older one."""
    values = bench.values(BORDURIA)
    assert values["borduria", "wikipedia_views"].value == 1234
    assert values["borduria", "wikidata_statements"].value == 9
    assert values["borduria", "wikidata_truthy"].value == 4
    assert values["borduria", "wikidata_links"].value == 3
    assert values["borduria", "wikidata_truthy"].ambiguity == 2
    assert values["borduria", "one_hop_true"].value == 1
    assert values["borduria", "two_hops_true"].value == 2
    assert values["borduria", "one_hop_true"].ambiguity == 2


def test_an_item_that_was_merged_is_the_one_it_was_merged_into(bench):
    merged_fact = replace(BORDURIA, subject_id="Q10")
    assert bench.values(merged_fact, remote=["wikidata_statements"])["borduria", "wikidata_statements"].value == 9


@pytest.mark.parametrize(
    ("changes", "feature", "reason"),
    [
        ({"subject": "Nobody"}, "wikidata_truthy", "no item called 'Nobody' that could be the subject of P36"),
        ({"subject": "Nobody"}, "wikipedia_views", "Wikipedia has no article 'Nobody'"),
        ({"subject": "Mercury"}, "wikipedia_views", "'Mercury' is a disambiguation page; give the fact a subject_id"),
        ({"subject_id": "Q999"}, "wikidata_truthy", "Wikidata has no item Q999"),
        ({"subject_id": "Q999"}, "wikipedia_views", "Wikidata has no item Q999"),
        ({"subject_id": "France"}, "wikidata_links", "'France' is not the id of an item"),
        ({"subject_id": "Q5"}, "wikidata_truthy", "the query service does not have Q5"),
        ({"subject_id": "Q5"}, "one_hop_true", "the query service does not have Q5 and Q2"),
        ({"subject_id": "Q6"}, "wikipedia_views", "Q6 has no article in the Wikipedia of 'en'"),
        ({"subject_id": "Q4"}, "wikipedia_views", "no views of 'Klow' are known in 2021-10"),
        ({"target_true": ""}, "one_hop_true", "the fact has no old object"),
        ({"target_new": "Sprodj"}, "two_hops_new", "no item called 'Sprodj' that could be the object of P36"),
    ],
)
def test_what_is_not_there_is_missing_and_never_a_number(bench, changes, feature, reason):
    row = bench.values(replace(BORDURIA, **changes), remote=[feature])["borduria", feature]
    assert pd.isna(row.value)
    assert reason in row.missing_because
    assert pd.isna(row.ambiguity)


def test_views_by_the_name_alone_where_there_is_no_item(bench):
    fact = replace(BORDURIA, subject="Plekszy", relation="led by")
    row = bench.values(fact, remote=["wikipedia_views"])["borduria", "wikipedia_views"]
    assert row.value == 77
    assert pd.isna(row.ambiguity)


def test_an_outage_is_no_reason_to_take_the_name_alone(bench):
    bench.server.answer = Wiki({"wbsearchentities": [Say(status=503)]})
    fact = replace(BORDURIA, subject="Plekszy", relation="led by")
    row = bench.values(fact, remote=["wikipedia_views"])["borduria", "wikipedia_views"]
    assert pd.isna(row.value)
    assert "the server returned status 503" in row.missing_because
    assert not any(request.path == "/wikipedia" for request in bench.server.requests)


FAULTS = {
    "hangs": ([Say({}, after=0.6)], "no response within 0.3 s"),
    "throttles": ([Say(status=429, headers={"Retry-After": "1"})], "the server returned status 429"),
    "breaks off": ([Say({"items": []}, breaks_off=True)], "the connection failed or broke off"),
    "html": ([Say(text="<!doctype html><p>1</p>")], "not JSON"),
    "other json": ([Say([1, 2])], "the response has an unexpected shape"),
    "error in 200": ([Say({"error": {"code": "maxlag", "info": "..."}})], "the server reports 'maxlag'"),
    "number as text": ([Say({"items": [{"timestamp": "2021100100", "views": "3"}]})], "items.0.views"),
    "refuses": ([Say(status=403, text="no")], "the server returned status 403"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_makes_one_value_missing_and_a_rerun_without_the_server_says_the_same(bench, fault):
    says, reason = FAULTS[fault]
    bench.server.answer = Wiki({"/rest": says})
    remote = ["wikipedia_views", "wikidata_statements"]
    table = bench.fetch(BORDURIA, SYLDAVIA, remote=remote)
    missing_rows = table[table["feature"] == "wikipedia_views"]
    assert missing_rows["value"].isna().all()
    assert missing_rows["missing_because"].str.contains(reason).all()
    assert table.loc[table["feature"] == "wikidata_statements", "value"].tolist() == [9, 5]
    n_requests = len(bench.server.requests)
    pd.testing.assert_frame_equal(bench.fetch(BORDURIA, SYLDAVIA, remote=remote, live=False), table)
    assert len(bench.server.requests) == n_requests


def test_what_failed_is_asked_again_and_what_was_answered_is_not(bench):
    bench.server.answer = Wiki({"/rest": [Say(status=503)]})
    assert bench.fetch(BORDURIA, remote=["wikipedia_views"])["value"].isna().all()
    bench.server.answer, before = Wiki(), len(bench.server.requests)
    assert bench.fetch(BORDURIA, remote=["wikipedia_views"])["value"].tolist() == [1234]
    assert Counter(request.path.split("/")[1] for request in bench.server.requests[before:]) == {"rest": 1}


def test_faults_that_pass_leave_no_trace(bench):
    full_table = bench.fetch(BORDURIA, SYLDAVIA)
    bench.folder, wiki, paths_asked = bench.folder.with_name("other"), Wiki(), set()

    def the_first_time_it_fails(request):
        if str(request) in paths_asked:
            return wiki(request)
        paths_asked.add(str(request))
        throttle = Say(status=429, headers={"Retry-After": "2"})
        return throttle if len(paths_asked) % 2 else replace(wiki(request), breaks_off=True)

    bench.server.answer = the_first_time_it_fails
    pd.testing.assert_frame_equal(bench.fetch(BORDURIA, SYLDAVIA), full_table)
    assert len(paths_asked) > 20


def test_a_run_that_was_stopped_goes_on_where_it_was(bench):
    parameters = FeatureParameters(remote=("wikidata_statements",), endpoints=endpoints(bench.server.url))
    web = ResponseCache(bench.folder, Http(RequestSettings(user_agent="tests", per_second=1e6), FakeClock()))
    lookups = fetch([SYLDAVIA, BORDURIA], parameters.remote, web, parameters)
    next(lookups)
    lookups.close()
    before = [(request.path, str(request.query)) for request in bench.server.requests]
    bench.fetch(SYLDAVIA, BORDURIA, remote=["wikidata_statements"])
    after = [(request.path, str(request.query)) for request in bench.server.requests]
    assert len(set(after)) == len(after) > len(before) > 0


def test_by_default_nobody_is_asked(bench):
    table = bench.fetch(BORDURIA, SYLDAVIA, remote=())
    assert table.empty
    assert not bench.server.requests
    assert not bench.folder.exists()


def test_offline_without_a_cache_everything_is_missing(bench):
    table = bench.fetch(BORDURIA, live=False)
    assert table["value"].isna().all()
    assert table["missing_because"].str.contains("not in the cache, and `offline` is true").all()
    assert not bench.server.requests


def test_nobody_to_ask_stops_the_run_before_anything_is_asked(bench):
    with pytest.raises(ValueError, match="`user_agent` is empty"):
        bench.fetch(BORDURIA, user_agent="")
    assert not bench.server.requests


def test_an_unknown_feature_is_named_with_the_closest():
    with pytest.raises(ValidationError, match="unknown feature `page_views`; did you mean `wikipedia_views`"):
        FeatureParameters(remote=["page_views"])


def test_names_may_come_as_one_text_as_from_the_command_line():
    names = ("wikipedia_views", "two_hops_true")
    assert FeatureParameters(remote="wikipedia_views two_hops_true").remote == FeatureParameters(remote=names).remote


def test_titles_of_the_fabricated_wiki_are_those_of_items():
    assert set(TITLES) <= {s for s, _, _ in TRIPLES}
