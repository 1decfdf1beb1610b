import numpy as np
import pandas as pd
import pytest
from fabricated_tables import fabricate
from scipy import stats

from edit_robustness.statistics.correlation import detectable, holm
from edit_robustness.statistics.difficulty import correlations, power_table
from edit_robustness.statistics.fact_outcomes import probe_outcomes
from edit_robustness.statistics.intervals import wilson
from edit_robustness.statistics.popularity import log_views, recall_by_decade, trend


@pytest.fixture(scope="module")
def tables():
    return fabricate()


@pytest.fixture(scope="module")
def score_rows(tables):
    return probe_outcomes(tables.scores, tables.facts.assign(model="smollm2"), tables.features, tables.feature_summary)


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
        probe_outcomes(
            tables.scores, tables.facts.iloc[:5].assign(model="smollm2"), tables.features, tables.feature_summary
        )


@pytest.mark.parametrize("side", ["facts", "features"])
def test_a_fact_that_is_there_twice_does_not_double_its_scores(tables, side):
    sides = {"facts": tables.facts.assign(model="smollm2"), "features": tables.features}
    sides[side] = pd.concat([sides[side], sides[side].head(1)])
    with pytest.raises(pd.errors.MergeError, match="many-to-one"):
        probe_outcomes(tables.scores, sides["facts"], sides["features"], tables.feature_summary)


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


def test_kinds_of_prompt_weigh_the_same_in_the_outcome_of_an_edit(score_rows, results):
    rows = score_rows.query("method == 'ft' and protocol == 'free' and metric == 'success'")
    facts = rows.groupby(["fact_id", "kind"])["value"].mean().groupby("fact_id").mean().rename("value").to_frame()
    facts = facts.join(rows.drop_duplicates("fact_id").set_index("fact_id")["log_views"]).dropna()
    (row,) = results.query("method == 'ft' and outcome == 'success'").to_dict("records")
    assert row["rho"] == pytest.approx(stats.spearmanr(facts["log_views"], facts["value"]).statistic)
    assert (row["n_facts"], row["detectable"]) == (len(facts), detectable(len(facts)))
    kinds_mix = rows.groupby("fact_id")["value"].mean()
    assert stats.spearmanr(facts["log_views"], kinds_mix[facts.index]).statistic != pytest.approx(row["rho"])


def test_the_outcomes_of_recall_by_hand(tables, results):
    facts = tables.recall.dropna(subset=["page_views"])
    views, logs = np.log10(facts["page_views"].astype(float)), -np.log(facts[["perplexity_true", "perplexity_new"]])
    outcomes_of = {
        "recalled": ("free", facts["recalled"]),
        "recalled_teacher_forced": ("teacher_forced", facts["recalled_teacher_forced"]),
        "log_probability_true": ("teacher_forced", logs["perplexity_true"]),
        "log_probability_new": ("teacher_forced", logs["perplexity_new"]),
        "preference_true": ("teacher_forced", logs["perplexity_true"] - logs["perplexity_new"]),
    }
    rows = results[results["family"] == "recall"].set_index("outcome")
    assert list(rows.index) == list(outcomes_of)
    for name, (protocol, values) in outcomes_of.items():
        assert rows.loc[name, "rho"] == pytest.approx(stats.spearmanr(views, values).statistic)
        assert (rows.loc[name, "protocol"], rows.loc[name, "method"]) == (protocol, "none")
    for _, family in results.groupby("family"):
        np.testing.assert_allclose(family["p_holm"], holm(family["p"]))


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
    assert row["detectable"] == detectable(row["n_facts"])
    strict = power_table(tables.facts.assign(model="m"), confidence=0.99, power=0.9, rho=0.3).iloc[0]
    assert (strict["n_needed"], strict["power"], strict["rho"]) == (159, 0.9, 0.3)
    assert strict["detectable"] == detectable(row["n_facts"], 0.01, 0.9)
    no_views = power_table(tables.facts.assign(model="m", page_views=pd.NA)).iloc[0]
    assert no_views["n_facts"] == 0


def test_a_decade_without_facts_has_no_row(tables):
    gap = tables.recall[~log_views(tables.recall["page_views"]).between(4, 5)]
    table = recall_by_decade(gap)
    assert 4 not in set(table["decade"])
    assert table["n_facts"].sum() == gap["page_views"].notna().sum()
    assert (table["low"] <= table["value"]).all()


def test_recall_by_decade_by_hand():
    recall = pd.DataFrame(
        {"model": "m", "subject": list("abcde"), "page_views": [999, 1000, 9999, 10**6, None],
         "recalled": [False, True, False, True, True]}
    )  # fmt: skip
    table = recall_by_decade(recall)
    assert table[["decade", "value", "n_facts"]].to_numpy().tolist() == [[2, 0, 1], [3, 0.5, 2], [6, 1, 1]]
    assert table["centre"].tolist() == pytest.approx([np.log10(999), (3 + np.log10(9999)) / 2, 6])
    assert tuple(table.loc[1, ["low", "high"]]) == pytest.approx(wilson(1, 2))
    assert tuple(recall_by_decade(recall, 0.5).loc[1, ["low", "high"]]) == pytest.approx(wilson(1, 2, 0.5))


def test_the_curve_of_a_straight_line_is_that_line():
    views = np.linspace(1, 5, 10)
    recall = pd.DataFrame(
        {"model": "m", "page_views": 10**views, "perplexity_true": 10 ** (3 - views / 2), "perplexity_new": 10**views}
    )
    curve = trend(recall)
    for target, line in (("true", 3 - views / 2), ("new", views)):
        rows = curve[curve["target"] == target]
        assert rows["log_views"].to_numpy() == pytest.approx(views)
        assert rows["log_perplexity"].to_numpy() == pytest.approx(line)
    assert trend(recall.head(9)).empty


def test_the_curve_falls_where_perplexity_does(tables):
    curve = trend(tables.recall)
    true = curve[curve["target"] == "true"].sort_values("log_views")["log_perplexity"]
    assert true.iloc[0] > true.iloc[-1] + 0.3
    assert trend(tables.recall.head(5)).empty
