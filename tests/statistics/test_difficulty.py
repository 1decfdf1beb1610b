import numpy as np
import pandas as pd
import pytest
from fabricated_tables import fabricate

from edit_robustness.statistics.difficulty import correlations, outcomes, power_table
from edit_robustness.statistics.popularity import log_views, recall_by_decade, trend


@pytest.fixture(scope="module")
def tables():
    return fabricate()


@pytest.fixture(scope="module")
def score_rows(tables):
    return outcomes(tables.scores, tables.facts.assign(model="smollm2"), tables.recall)


@pytest.fixture(scope="module")
def results(score_rows, tables):
    return correlations(score_rows, tables.recall, bootstrap=300)


def test_unknown_page_views_are_never_a_number():
    views = log_views(pd.Series(pd.array([1000, None, 0, 1], dtype="Int64")))
    assert views.tolist() == pytest.approx([3.0, np.nan, np.nan, 0.0], nan_ok=True)


def test_each_score_stands_beside_its_fact(score_rows, tables):
    assert len(score_rows) == len(tables.scores)
    fact = score_rows[score_rows["fact_id"] == "f3"].iloc[0]
    before = tables.recall.set_index("fact_id").loc["f3"]
    assert fact["subject"] == "Subject 3"
    assert fact["log_perplexity_new"] == pytest.approx(np.log10(before["perplexity_new"]))


def test_a_score_of_another_run_is_an_error(tables):
    with pytest.raises(ValueError, match="not edited in this run: f5"):
        outcomes(tables.scores, tables.facts.iloc[:5].assign(model="smollm2"), tables.recall)


def test_facts_whose_recall_was_cut_are_left_out_of_recall_and_counted(score_rows, tables, results):
    facts = tables.recall
    is_cut = facts["fact_id"].isin(facts.loc[facts["page_views"].notna(), "fact_id"].head(9))
    table = correlations(score_rows, facts.assign(recall_cut=is_cut), bootstrap=100)
    rows = {name: part.set_index("outcome") for name, part in (("before", results), ("after", table))}
    assert rows["after"].loc["recalled", "n_cut"] == 9
    assert rows["after"].loc["recalled", "n_facts"] == rows["before"].loc["recalled", "n_facts"] - 9
    assert (
        rows["after"].loc["recalled_teacher_forced", ["n_cut", "n_facts"]]
        == [0, rows["before"].loc["recalled_teacher_forced", "n_facts"]]
    ).all()
    assert (
        recall_by_decade(facts.assign(recall_cut=is_cut))["n_facts"].sum()
        == recall_by_decade(facts)["n_facts"].sum() - 9
    )


def test_facts_left_out_of_what_should_stay_are_counted_by_reason(score_rows, results):
    about = (
        (score_rows["method"] == "rome") & (score_rows["kind"] == "neighbourhood") & (score_rows["protocol"] == "free")
    )
    fact_ids = list(score_rows.loc[about & score_rows["log_views"].notna(), "fact_id"].unique())
    is_cut, is_unknown = score_rows["fact_id"].isin(fact_ids[:3]), score_rows["fact_id"].isin(fact_ids[3:5])
    is_locality = score_rows["metric"] == "specificity"
    changed_rows = score_rows.assign(value=score_rows["value"].mask(about & is_locality & is_cut))[
        ~(about & is_locality & is_unknown)
    ]
    rows = correlations(changed_rows, fabricate().recall, bootstrap=100).query("method == 'rome'")
    before, after = (
        table.set_index("outcome").loc["neighbourhood"] for table in (results.query("method == 'rome'"), rows)
    )
    counts = ["n_facts", "n_missing", "n_cut", "n_unknown"]
    assert (after[counts] - before[counts]).tolist() == [-5, 0, 3, 2]
    assert after["detectable"] > before["detectable"]
    assert rows.set_index("outcome").loc["success", ["n_cut", "n_unknown"]].tolist() == [0, 0]


def test_memorisation_takes_all_facts_and_edits_theirs(results, tables):
    n_missing = int(tables.recall["page_views"].isna().sum())
    recall_rows = results[results["family"] == "recall"]
    assert (recall_rows["n_facts"] == 450 - n_missing).all()
    assert (recall_rows["n_missing"] == n_missing).all()
    assert (results.loc[results["family"] == "edit", "n_facts"] == tables.facts["page_views"].notna().sum()).all()
    assert "none" not in set(results.loc[results["family"] == "edit", "method"])


def test_popularity_shows_in_memorisation(results):
    true = results.set_index("outcome").loc["log_probability_true"]
    assert true["low"] > 0
    assert true["within_low"] > 0
    assert true["p_holm"] >= true["p"]


def test_every_row_says_what_its_n_can_show(results):
    assert results.loc[results["family"] == "edit", "detectable"].min() > 0.5
    assert results.loc[results["family"] == "recall", "detectable"].max() < 0.15


def test_power_of_the_edited_facts(tables):
    row = power_table(tables.facts.assign(model="m")).iloc[0]
    assert (row["n_facts"], row["n_needed"]) == (tables.facts["page_views"].notna().sum(), 783)
    no_views = power_table(tables.facts.assign(model="m", page_views=pd.NA)).iloc[0]
    assert no_views["n_facts"] == 0


def test_a_decade_without_facts_has_no_row(tables):
    gap = tables.recall[~log_views(tables.recall["page_views"]).between(4, 5)]
    table = recall_by_decade(gap)
    assert 4 not in set(table["decade"])
    assert table["n_facts"].sum() == gap["page_views"].notna().sum()
    assert (table["low"] <= table["value"]).all()


def test_the_curve_falls_where_perplexity_does(tables):
    curve = trend(tables.recall)
    true = curve[curve["target"] == "true"].sort_values("log_views")["log_perplexity"]
    assert true.iloc[0] > true.iloc[-1] + 0.3
    assert trend(tables.recall.head(5)).empty
