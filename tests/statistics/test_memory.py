import numpy as np
import pandas as pd
import pytest
from fabricated_tables import fabricate

from edit_robustness.labels import OUTCOMES
from edit_robustness.plots.popularity import relation_figure
from edit_robustness.report.popularity import PopularityFindings, popularity_sentences, render_popularity
from edit_robustness.statistics.correlation import detectable
from edit_robustness.statistics.memory import (
    LOG_PROBABILITIES,
    log_probabilities,
    popularity_correlations,
    summarise_relations,
)


@pytest.fixture(scope="module")
def facts():
    return fabricate(n_known=450).features


@pytest.fixture(scope="module")
def tables(facts):
    return popularity_correlations(facts)


def test_an_infinite_perplexity_is_a_rank_and_not_missing():
    table = pd.DataFrame({"perplexity_true": [1.0, np.inf, np.inf, np.nan], "perplexity_new": [np.e, 2.0, np.inf, 2.0]})
    values = log_probabilities(table)
    assert values["log_probability_true"].tolist() == pytest.approx([0, -np.inf, -np.inf, np.nan], nan_ok=True)
    assert values["preference_true"].tolist() == pytest.approx([1, -np.inf, 0, np.nan], nan_ok=True)


def test_an_infinite_perplexity_counts_as_a_fact(facts, tables):
    highest = facts["perplexity_true"].idxmax()
    infinite = facts.assign(perplexity_true=facts["perplexity_true"].mask(facts.index == highest, np.inf))
    infinite_row = popularity_correlations(infinite)[0].iloc[0]
    finite_row = tables[0].iloc[0]
    assert (
        infinite_row[["rho", "n_facts", "n_missing"]].tolist() == finite_row[["rho", "n_facts", "n_missing"]].tolist()
    )


def test_known_subjects_are_popular(facts, tables):
    rows = tables[0].set_index("outcome")
    assert list(rows.index) == list(LOG_PROBABILITIES)
    assert set(LOG_PROBABILITIES) <= set(OUTCOMES)
    true = rows.loc["log_probability_true"]
    assert true["low"] > 0
    assert true["within_low"] > 0
    assert true["p"] < true["p_holm"] <= 3 * true["p"]
    assert (rows["n_facts"] == facts["page_views"].notna().sum()).all()
    assert (rows["n_tests"] == 3).all()
    assert true["detectable"] == pytest.approx(detectable(true["n_facts"], 0.05 / 3, power=0.8))


def test_models_stay_in_the_order_of_the_facts(facts):
    few_facts = facts.groupby("relation").head(8)
    results = popularity_correlations(pd.concat([few_facts.assign(model="z"), few_facts.assign(model="a")]))
    assert [table["model"].unique().tolist() for table in results] == [["z", "a"]] * 3


def test_relations_are_corrected_over_relations(tables):
    relations = tables[1].query("outcome == 'log_probability_true'")
    assert len(relations) == 12
    assert (relations["p_holm"] >= relations["q_bh"]).all()
    assert (relations["q_bh"] >= relations["p"]).all()
    summary = tables[2].set_index("outcome").loc["log_probability_true"]
    assert summary["n_positive"] == (relations["rho"] > 0).sum()
    assert summary["n_above"] == ((relations["p_holm"] < 0.05) & (relations["rho"] > 0)).sum()


def test_relations_are_counted_by_sign_before_and_after_both_corrections():
    relations = pd.DataFrame(
        {
            "model": "m", "outcome": "log_probability_true", "rho": [0.5, 0.4, 0.3, 0.1, -0.2, -0.3, -0.6],
            "p_holm": [0.01, 0.06, 0.2, 0.9, np.nan, 0.04, 0.02], "q_bh": [0.01, 0.04, 0.05, 0.9, np.nan, 0.03, 0.02],
        }
    )  # fmt: skip
    counts = ["n_relations", "median", "n_positive", "n_above", "n_below", "n_above_bh", "n_below_bh"]
    assert summarise_relations(relations)[counts].to_numpy().tolist() == [[7, 0.1, 4, 1, 2, 2, 2]]
    assert summarise_relations(relations, 0.03)[counts[3:]].to_numpy().tolist() == [[1, 1, 1, 1]]


def test_without_perplexities_of_new_objects_one_outcome_is_left(facts):
    rows = popularity_correlations(facts.assign(perplexity_new=np.nan))[0]
    assert rows["outcome"].tolist() == ["log_probability_true"]


def test_the_page_states_the_figures_of_the_tables(tables):
    correlations, relations, summary = tables
    figure = relation_figure(relations)
    page = render_popularity(PopularityFindings(correlations, relations, summary, figure))
    row = correlations.iloc[0]
    assert f"{row['rho']:.3f}" in page
    assert f"{row['within_low']:.3f}" in page
    assert "<script>document" not in page
    assert len(figure.data[0].x) == 12


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "m: the log-probability of the old object is higher for subjects with more page views (ρ = 0.113"),
        ({"rho": -0.113, "low": -0.15, "high": -0.07}, "is lower for subjects with more page views (ρ = -0.113"),
        # the interval is for one test, and the correction is for all
        ({"p_holm": 0.06}, "whether the log-probability of the old object depends on page views cannot be told"),
        ({"p_holm": 0.06}, "not significant; correlations below 0.090 may go undetected)."),
        ({"p_holm": np.nan, "detectable": np.nan}, "Holm p unknown: not significant)."),
        ({"note": "only 3 facts: too few"}, "no correlation of page views with the log-probability of the old object"),
    ],
)  # fmt: skip
def test_an_association_with_popularity_is_stated_only_if_it_is_significant(changes, text):
    row = {
        "model": "m", "outcome": "log_probability_true", "note": "", "rho": 0.113, "low": 0.07, "high": 0.15,
        "p_holm": 0.0001, "n_facts": 1000, "detectable": 0.09, "n_relations": 0,
    }  # fmt: skip
    (sentence,) = popularity_sentences(pd.DataFrame([row | changes]), pd.DataFrame(columns=["model", "outcome"]))
    assert text in sentence


def test_the_level_of_the_tests_is_that_of_the_intervals(tables):
    correlations, _, summary = tables
    weak = correlations.assign(p_holm=0.03)
    assert "is higher for subjects" in popularity_sentences(weak, summary, 0.95)[0]
    assert "cannot be told" in popularity_sentences(weak, summary, 0.99)[0]


@pytest.mark.parametrize(
    ("low", "high", "phrase"),
    [
        (0.05, 0.17, "significantly above 0. The median"),
        (-0.17, -0.05, "significantly below 0, the opposite of the sign over all facts"),
        (-0.05, 0.17, "not significantly different from 0"),
        (np.nan, np.nan, "without an interval"),
    ],
)
def test_a_mean_within_relations_is_compared_with_0(tables, low, high, phrase):
    correlations, _, summary = tables
    table = correlations.assign(within_rho=(low + high) / 2, within_low=low, within_high=high)
    sentence = popularity_sentences(table, summary)[1]
    assert sentence.startswith("Within 12 relations")
    assert phrase in sentence


def test_a_refused_correlation_has_its_reason(tables):
    correlations, _, summary = tables
    empty_correlations = correlations.assign(note="only 3 facts: too few", n_relations=0)
    assert all("because only 3 facts" in line for line in popularity_sentences(empty_correlations, summary))


def test_names_of_relations_are_escaped(facts):
    renamed_facts = facts.assign(relation="<script>document.title='broken'</script>")
    correlations, relations, summary = popularity_correlations(renamed_facts)
    page = render_popularity(PopularityFindings(correlations, relations, summary, relation_figure(relations)))
    assert "<script>document" not in page


def test_no_relation_is_no_error(facts):
    correlations, relations, summary = popularity_correlations(facts.assign(relation=""))
    assert relations.empty
    assert summary.empty
    assert correlations["within_rho"].isna().all()
    assert "relation" not in " ".join(popularity_sentences(correlations, summary)).lower().replace("correlation", "")
    assert relation_figure(relations).layout.annotations[0].text.startswith("No relation")
