"""Each feature of facts, against values worked out by hand."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from edit_robustness.features import table as features_module
from edit_robustness.features.declared import FEATURES, FactData, Feature, all_features
from edit_robustness.features.sources import Sources, describe_views
from edit_robustness.features.table import SUMMARY_COLUMNS, add_features
from edit_robustness.records import Fact
from edit_robustness.tables import facts_to_table

DOCUMENT = Path(__file__).parents[2] / "docs/reference/features.md"
CITY = {"P36": "city", "P19": "city", "P37": "language"}
FACTS = facts_to_table(
    [
        Fact("fr", "France", "P36", "{} is", "Paris", "Lyon", page_views=1000),
        Fact("tx", "Texas", "P36", "{} is", "paris", "French", page_views=None),
        Fact("jo", "Joan", "P19", "{} is", "Lyon", "PARIS", page_views=10),
        Fact("ch", "Chad", "P37", "{} is", "French", "Oslo", page_views=100),
        Fact("zz", "Zed", "P9", "{} is", "Lyon", "Lyon X", target_new_aliases=("Paris",)),
    ]
).assign(dataset="mine", page_views_source="")
KNOWN = ["fr", "tx", "jo", "ch"]


def measured(**changes):
    table = FACTS.set_index("id").loc[KNOWN, ["subject", "relation", "page_views"]].rename_axis("fact_id").reset_index()
    columns = {
        "model": "m",
        "recalled": [True, False, False, True],
        "recall_cut": [False, False, True, False],
        "recalled_in_context": pd.array([True, None, False, None], dtype="boolean"),
        "recall_cut_in_context": pd.array([False, None, False, None], dtype="boolean"),
        "logprob_true": [-1.0, -2.0, -3.0, -4.0],
        "logprob_new": [-4.0, -1.0, -3.0, -9.0],
        "perplexity_true": [10.0, 100.0, np.inf, 1.0],
        "perplexity_new": [1.0, 10.0, 1000.0, 100.0],
        "rank_true": pd.array([1, 100, None, 10], dtype="Int64"),
        "rank_new": pd.array([10, 1, 1000, None], dtype="Int64"),
        "margin_true": [2.5, -1.0, np.nan, 0.5],
        "subject_tokens": [1, 2, 3, 4],
        "tokens_true": [1, 1, 2, 1],
        "tokens_new": [2, 1, 1, 1],
        "object_similarity": [0.5, 0.25, 1.0, 0.0],
    }
    return table.assign(**{**columns, **changes})


def compute(facts=FACTS, **changes):
    return add_features(
        measured(**changes), facts, edited_ids={"fr", "tx"}, object_types=CITY, views="en.wikipedia, 2021-10"
    )


def values(name, facts=FACTS, **changes):
    return compute(facts, **changes)[0][name].tolist()


def source(name, facts=FACTS, **changes):
    return compute(facts, **changes)[1].set_index("feature").loc[name, "source"]


NAN = math.nan
EXPECTED = {
    "log_views": [3, NAN, 1, 2],
    "connection": [NAN] * 4,
    "co_occurrence": [NAN] * 4,
    "recalled": [1, 0, 0, 1],
    "recalled_in_context": [1, NAN, 0, NAN],
    "log_perplexity_true": [1, 2, NAN, 0],
    "log_perplexity_new": [0, 1, 3, 2],
    "log_rank_true": [0, 2, NAN, 1],
    "log_rank_new": [1, 0, 3, NAN],
    "margin": [2.5, -1, NAN, 0.5],
    "log_probability_ratio": [3, -1, 0, 5],
    "subject_tokens": [1, 2, 3, 4],
    "tokens_true": [1, 1, 2, 1],
    "tokens_new": [2, 1, 1, 1],
    "object_similarity": [0.5, 0.25, 1, 0],
    # Lyon is a birthplace, and so a city; French is a language; PARIS is a capital; Oslo is nothing in this table
    "same_type": [1, 0, 1, NAN],
    # Paris twice, Lyon twice, French once
    "facts_with_object": [math.log10(2), math.log10(2), math.log10(2), 0],
    "facts_with_relation": [math.log10(2), math.log10(2), 0, 0],
}


def test_the_documentation_describes_every_feature():
    section = DOCUMENT.read_text(encoding="utf-8").partition("| feature | scale |")[2].partition("\n\n")[0]
    first_cells = [line.split("|")[1] for line in section.splitlines()[2:]]
    assert re.findall(r"`(\w+)`", "".join(first_cells)) == list(EXPECTED)


def test_every_declared_feature_has_its_value_worked_out():
    assert [feature.name for feature in FEATURES] == list(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_value_of_a_feature(name):
    table, _ = compute()
    assert table[name].dtype == np.dtype(float)
    assert table[name].tolist() == pytest.approx(EXPECTED[name], nan_ok=True)


def test_the_summary_has_a_row_per_feature_with_what_is_missing():
    table, summary = compute()
    assert summary.columns.tolist() == SUMMARY_COLUMNS
    assert summary["feature"].tolist() == list(EXPECTED)
    assert all(feature.name.isidentifier() and feature.label for feature in FEATURES)
    row = summary.set_index("feature").loc["log_views"]
    counts = ["n_facts", "n_missing", "share_missing", "low", "high", "n_edited", "n_edited_missing"]
    assert row[counts].tolist() == [4, 1, 0.25, 1, 3, 2, 1]
    missing_values = summary.set_index("feature").loc["connection"]
    assert missing_values["share_missing"] == 1
    assert missing_values["source"] == "not looked up (features.remote=wikidata_truthy)"
    assert table["fact_id"].tolist() == KNOWN


def test_items_identify_objects_if_every_fact_has_one():
    ids = FACTS.assign(target_true_id=["Q90", "Q830149", "Q456", "Q150", "Q456"])
    assert values("facts_with_object", ids) == pytest.approx([0, 0, math.log10(2), 0])
    facts_with_ids = ids.assign(target_true_id=["Q90", "Q830149", "", "Q150", "Q456"])
    assert values("facts_with_object", facts_with_ids) == pytest.approx(EXPECTED["facts_with_object"])


def test_the_type_of_an_object_is_known_by_its_item_too():
    facts = FACTS.assign(target_true_id=["Q90", "", "", "", ""], target_new_id=["", "", "", "Q90", ""])
    assert values("same_type", facts)[3] == 0


def test_page_views_name_their_measure():
    assert source("log_views") == "page_views of mine (measure not named)"
    facts_of_one_source = FACTS.assign(page_views_source="English Wikipedia, October 2021")
    assert source("log_views", facts_of_one_source) == "English Wikipedia, October 2021"
    facts_of_two_sources = FACTS.assign(page_views_source=["A", "A", "B", "A", "B"])
    # of the fact without page views nothing is said
    assert source("log_views", facts_of_two_sources) == "MIXED: A (2 facts); B (1 facts)"


def test_page_views_that_were_looked_up_prevail():
    looked_up = {"wikipedia_views": pd.array([10_000, None, None, None], dtype="Float64")}
    assert values("log_views", **looked_up) == pytest.approx([4, NAN, 1, 2], nan_ok=True)
    text = source("log_views", **looked_up)
    assert "page_views of mine (measure not named) (2 facts)" in text
    assert "en.wikipedia, 2021-10, looked up (1 facts)" in text
    assert text.startswith("MIXED: ")
    all_facts = {"wikipedia_views": [1.0, 10.0, 100.0, 1000.0]}
    assert source("log_views", **all_facts) == "en.wikipedia, 2021-10, looked up"


def test_the_closest_look_up_is_the_feature_and_the_others_are_features_too():
    looked_up = {
        name: pd.array([9, 99, None, 0], dtype="Float64")
        for name in ("wikidata_statements", "wikidata_truthy", "two_hops_undirected_true", "one_hop_new")
    }
    table, summary = compute(**looked_up)
    for name in ("connection", "co_occurrence", "log_wikidata_statements", "log_one_hop_new"):
        assert table[name].tolist() == pytest.approx([1, 2, NAN, 0], nan_ok=True), name
    sources = summary.set_index("feature")["source"]
    assert sources["connection"] == "log10(1 + wikidata_truthy), looked up"
    assert sources["co_occurrence"] == "log10(1 + two_hops_undirected_true), looked up"
    assert summary["feature"].tolist()[len(FEATURES) :] == ["log_wikidata_statements", "log_one_hop_new"]


def test_recall_says_how_many_answers_were_cut_or_that_it_was_not_asked():
    assert source("recalled").endswith("; 1 answers that were cut count as not recalled")
    missing_values = pd.array([None] * 4, dtype="boolean")
    assert source("recalled_in_context", recalled_in_context=missing_values).startswith("not measured")


def test_a_column_of_the_user_is_a_feature():
    facts = FACTS.assign(weight=2.0, difficulty=[0.5, None, 2, 3, 9], tested=[1.0, 0, 1, 0, 0])
    table, summary = compute(facts)
    assert table["difficulty"].tolist() == pytest.approx([0.5, NAN, 2, 3], nan_ok=True)
    rows = summary.set_index("feature").loc[["difficulty", "tested"]]
    assert rows["scale"].tolist() == ["linear", "share"]
    assert set(rows["source"]) == {"column of the table of facts"}
    assert "weight" not in set(summary["feature"])


def test_a_function_and_a_line_add_a_feature(monkeypatch):
    def letters(data: FactData) -> pd.Series:
        return data.rows["subject"].str.len()

    toy = Feature("letters", "Letters of the subject", "counted", "linear", letters)
    monkeypatch.setattr(features_module, "all_features", lambda data: [*all_features(data), toy])
    table, summary = compute()
    assert table["letters"].tolist() == [6, 5, 4, 4]
    assert summary["feature"].iloc[-1] == "letters"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda data: [1, 2, 3, 4], "toy must return a Series"),
        (lambda data: data.rows["page_views"].dropna(), "toy must return a Series"),
        (lambda data: data.rows["subject"], "toy must return numbers"),
    ],
)
def test_a_function_that_returns_something_else_is_named(monkeypatch, function, message):
    monkeypatch.setattr(features_module, "all_features", lambda data: [Feature("toy", "", "", "linear", function)])
    with pytest.raises(ValueError, match=message):
        compute()


def test_tables_of_an_earlier_version_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"lack the column rank_new.*edit_eval"):
        add_features(measured().drop(columns="rank_new"), FACTS)


def test_a_fact_that_stands_twice_is_an_error():
    with pytest.raises(pd.errors.MergeError):
        compute(pd.concat([FACTS, FACTS]))


def test_looked_up_page_views_name_wikipedia_month_and_what_does_not_count():
    assert describe_views(Sources()) == "en.wikipedia, 2021-10"
    assert describe_views(Sources(language="de", month="2024-01", agent="user")) == "de.wikipedia, 2024-01, user"
