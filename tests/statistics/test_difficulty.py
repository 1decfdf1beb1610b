import numpy as np
import pandas as pd
import pytest
from fabricated_tables import fabricate
from scipy import stats

from edit_robustness.statistics.associations import RELATION_COLUMNS
from edit_robustness.statistics.correlation import detectable, n_to_detect
from edit_robustness.statistics.difficulty import Primary, correlations, popularity_cells, power_table
from edit_robustness.statistics.fact_outcomes import (
    CUT_OFF,
    NO_PROBE,
    NOT_SCORED,
    UNKNOWN_PROMPTS,
    fact_outcomes,
    probe_outcomes,
)
from edit_robustness.statistics.multiplicity import benjamini_hochberg, holm
from edit_robustness.statistics.partial import partial_spearman
from edit_robustness.statistics.popularity import trend


@pytest.fixture(scope="module")
def tables():
    return fabricate()


@pytest.fixture(scope="module")
def score_rows(tables):
    return probe_outcomes(tables.scores, tables.facts.assign(model="smollm2"), tables.features, tables.feature_summary)


@pytest.fixture(scope="module")
def fact_rows(score_rows, tables):
    return fact_outcomes(score_rows, tables.facts.assign(model="smollm2"), tables.recall)


@pytest.fixture(scope="module")
def results(fact_rows, tables):
    return correlations(fact_rows, tables.features, tables.feature_summary, tables.recall)[0]


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


def test_facts_whose_recall_was_cut_are_left_out_of_recall_and_counted(fact_rows, tables, results):
    facts = tables.recall
    is_cut = facts["fact_id"].isin(facts.loc[facts["page_views"].notna(), "fact_id"].head(9))
    new_results = correlations(fact_rows, tables.features, tables.feature_summary, facts.assign(recall_cut=is_cut))[0]
    before, after = (table[table["family"] == "recall"].set_index("outcome") for table in (results, new_results))
    assert after.loc["recalled", "n_cut"] == 9
    assert after.loc["recalled", "n_facts"] == before.loc["recalled", "n_facts"] - 9
    feature = "recalled_teacher_forced"
    assert (after.loc[feature, ["n_cut", "n_facts"]] == [0, before.loc[feature, "n_facts"]]).all()


def test_facts_left_out_are_counted_by_reason(fact_rows, tables, results):
    cell = (fact_rows["method"] == "rome") & (fact_rows["outcome"] == "specificity:neighbourhood")
    cell &= fact_rows["protocol"] == "free"
    facts = tables.facts[tables.facts["page_views"].notna()]["id"].tolist()
    reasons = dict(zip(facts, [CUT_OFF, NOT_SCORED, UNKNOWN_PROMPTS, NO_PROBE], strict=False))
    changed_rows = fact_rows.assign(
        value=fact_rows["value"].mask(cell & fact_rows["fact_id"].isin(reasons)),
        reason=fact_rows["reason"].mask(cell, fact_rows["fact_id"].map(reasons)),
    )
    new_results = correlations(changed_rows, tables.features, tables.feature_summary, tables.recall)[0]
    keys = {"method": "rome", "protocol": "free", "feature": "log_views", "outcome": "specificity:neighbourhood"}
    before, after = (select(table, **keys) for table in (results, new_results))
    counts = ["n_facts", "n_missing", "n_cut", "n_unknown", "n_excluded"]
    assert (after[counts] - before[counts]).tolist() == [-4, 0, 2, 1, 1]
    assert after["detectable"] > before["detectable"]


def select(table, **keys):
    ((_, row),) = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)].iterrows()
    return row


def test_recall_takes_all_facts_and_edits_theirs(results, tables):
    n_missing = int(tables.recall["page_views"].isna().sum())
    views = results[results["feature"] == "log_views"]
    recall_rows, edit_rows = views[views["family"] == "recall"], views[views["family"] == "edit"]
    assert (recall_rows["n_facts"] == 450 - n_missing).all()
    assert (recall_rows["n_missing"] == n_missing).all()
    left_out = edit_rows[["n_facts", "n_missing", "n_cut", "n_unknown", "n_excluded"]].sum(axis=1)
    assert (left_out == 24).all()
    assert not set(edit_rows["method"]) & {"none", "context"}


def test_every_feature_meets_every_outcome_under_every_method_and_protocol(results, tables, fact_rows):
    edits = results[results["family"] == "edit"]
    assert set(edits["feature"]) == set(tables.feature_summary["feature"])
    cells = fact_rows[~fact_rows["method"].isin(["none", "context"])]
    n_cells = len(cells.drop_duplicates(["method", "protocol", "outcome"]))
    assert len(edits) == 4 * n_cells
    assert not edits.duplicated(["method", "protocol", "outcome", "feature"]).any()
    # what the model knows is no feature of what the model knows
    assert set(results.loc[results["family"] == "recall", "feature"]) == {"log_views"}


def test_the_outcomes_of_recall_by_hand(tables, results):
    facts = tables.recall.dropna(subset=["page_views"])
    views, logs = np.log10(facts["page_views"].astype(float)), -np.log(facts[["perplexity_true", "perplexity_new"]])
    outcomes = {
        "recalled": ("free", facts["recalled"]),
        "recalled_teacher_forced": ("teacher_forced", facts["recalled_teacher_forced"]),
        "log_probability_true": ("teacher_forced", logs["perplexity_true"]),
        "log_probability_new": ("teacher_forced", logs["perplexity_new"]),
        "preference_true": ("teacher_forced", logs["perplexity_true"] - logs["perplexity_new"]),
    }
    rows = results[results["family"] == "recall"].set_index("outcome")
    assert list(rows.index) == list(outcomes)
    for name, (protocol, values) in outcomes.items():
        assert rows.loc[name, "rho"] == pytest.approx(stats.spearmanr(views, values).statistic)
        assert (rows.loc[name, "protocol"], rows.loc[name, "method"]) == (protocol, "none")
    for _, family in rows.groupby("protocol"):
        np.testing.assert_allclose(family["p_holm"], holm(family["p"]))


def test_popularity_shows_in_what_the_model_knows(results):
    true = select(results, outcome="log_probability_true", feature="log_views")
    assert true["low"] > 0
    assert true["within_low"] > 0
    assert true["p_holm"] >= true["p"]
    assert 0 <= true["i2"] < 1
    assert true["prediction_low"] <= true["within_low"]


def test_holm_covers_the_primary_tests_of_a_model_and_protocol(results):
    edits = results[(results["family"] == "edit") & (results["protocol"] == "free")]
    is_primary = edits["primary"]
    assert set(edits.loc[is_primary, "outcome"]) >= {"efficacy", "generalization", "specificity:neighbourhood"}
    assert not edits.loc[is_primary, "outcome"].str.startswith("generalization:").any()
    tests = edits[is_primary & edits["p"].notna()]
    assert tests["p_holm"].to_numpy() == pytest.approx(holm(tests["p"]))
    assert (tests["n_tests"] == len(tests)).all()
    assert edits.loc[~is_primary, "p_holm"].isna().all()
    assert (edits.loc[~is_primary, "n_tests"] == results["p"].notna().sum()).all()
    assert results["q_bh"].to_numpy() == pytest.approx(benjamini_hochberg(results["p"]), nan_ok=True)


def test_primary_tests_are_configured(fact_rows, tables):
    primary = Primary(features=("log_views",), outcomes=("generalization:*",))
    table = correlations(fact_rows, tables.features, tables.feature_summary, tables.recall, primary)[0]
    edits = table[table["primary"] & (table["family"] == "edit")]
    assert set(edits["feature"]) == {"log_views"}
    assert edits["outcome"].str.startswith("generalization:").all()


def test_every_row_says_what_its_n_can_show(results):
    edits = results[(results["family"] == "edit") & (results["feature"] == "log_views")]
    assert edits["detectable"].min() > 0.7
    assert results.loc[results["family"] == "recall", "detectable"].max() < 0.2
    row = edits.iloc[0]
    assert row["detectable"] == pytest.approx(detectable(row["n_facts"], 0.05 / row["n_tests"]))


def test_a_feature_is_not_held_constant_against_itself(results, fact_rows, tables):
    row = select(results, method="ft", protocol="free", outcome="generalization", feature="log_perplexity_true")
    facts = fact_rows[(fact_rows["method"] == "ft") & (fact_rows["protocol"] == "free")]
    facts = facts[facts["outcome"] == "generalization"].merge(tables.features.drop(columns="subject"), on="fact_id")
    controls = facts[["recalled", "log_perplexity_new"]]
    reference = partial_spearman(facts["log_perplexity_true"], facts["value"], controls, facts["subject"])
    assert not np.isnan(reference["partial_rho"])
    assert row[list(reference)].tolist() == pytest.approx(list(reference.values()))


@pytest.mark.parametrize(("n_missing", "is_held"), [(20, True), (21, False)])
def test_a_feature_that_most_facts_lack_is_not_held_constant(tables, n_missing, is_held):
    rng = np.random.default_rng(2)
    rows = pd.DataFrame(
        {
            **{"model": "m", "method": "rome", "protocol": "free", "outcome": "efficacy", "relation": "", "reason": ""},
            "fact_id": range(40), "subject": range(40), "weight": 1.0, "value": rng.random(40),
        }
    )  # fmt: skip
    features = pd.DataFrame({"model": "m", "fact_id": range(40), "length": rng.random(40), "recalled": rng.random(40)})
    features["recalled"] = features["recalled"].mask(features.index < n_missing)
    summary = pd.DataFrame({"model": "m", "feature": ["length", "recalled"]})
    table = correlations(rows, features, summary, tables.recall.head(0))[0].set_index("feature")
    reference = partial_spearman(features["length"], rows["value"], features[["recalled"]], rows["subject"])
    assert table.loc["length", "partial_rho"] == pytest.approx(
        reference["partial_rho"] if is_held else np.nan, nan_ok=True
    )


def test_population_correlations_stand_beside_those_of_a_balanced_sample(fact_rows, tables, results):
    assert results["population_rho"].isna().all()
    weights = pd.Series(np.linspace(0.2, 3, 24), index=tables.facts["id"])
    weighted_rows = fact_rows.assign(weight=fact_rows["fact_id"].map(weights))
    table = correlations(weighted_rows, tables.features, tables.feature_summary, tables.recall)[0]
    edits = table[(table["family"] == "edit") & (table["note"] == "")]
    assert edits["population_rho"].notna().all()
    assert (edits["population_low"] < edits["population_rho"]).all()
    assert table.loc[table["family"] == "recall", "population_rho"].isna().all()
    assert edits["rho"].tolist() == results.loc[edits.index, "rho"].tolist()


def test_relations_are_written_out(fact_rows, tables, results):
    by_relation = correlations(fact_rows, tables.features, tables.feature_summary, tables.recall)[1]
    assert list(by_relation.columns) == RELATION_COLUMNS
    counts = by_relation.groupby(list(RELATION_COLUMNS[:6])).size()
    for _, row in results[results["n_relations"] > 0].iterrows():
        assert counts[tuple(row[name] for name in RELATION_COLUMNS[:6])] == row["n_relations"]


def test_power_of_the_edited_facts_is_that_after_the_correction(tables, results):
    facts = tables.facts.assign(model="smollm2")
    row = power_table(facts, tables.features, results).iloc[0]
    family = results[results["primary"] & (results["family"] == "edit") & (results["protocol"] == "free")]
    assert row["n_tests"] == family["p"].notna().sum() > 1
    assert row["n_facts"] == tables.facts["page_views"].notna().sum()
    assert row["n_needed"] == n_to_detect(0.1, 0.05 / row["n_tests"])
    single = power_table(facts, tables.features, results.head(0)).iloc[0]
    assert (single["n_tests"], single["n_needed"]) == (1, 783)
    strict = power_table(facts, tables.features, results.head(0), confidence=0.99, power=0.9, rho=0.3).iloc[0]
    assert (strict["n_needed"], strict["power"], strict["rho"]) == (159, 0.9, 0.3)
    assert strict["detectable"] == detectable(row["n_facts"], 0.01, 0.9)
    no_views = power_table(facts, tables.features.assign(log_views=np.nan), results).iloc[0]
    assert no_views["n_facts"] == 0


def test_cells_of_curves_are_recall_and_primary_outcomes_by_free_generation(fact_rows, tables):
    cells = popularity_cells(fact_rows, tables.features, tables.recall, ["log_views", "connection"])
    assert "log_views" in cells
    assert "connection" not in cells
    assert set(cells["protocol"]) == {"free"}
    assert set(cells.loc[cells["method"] == "none", "outcome"]) == {"recalled"}
    assert {"efficacy", "generalization"} <= set(cells["outcome"])
    assert not cells["outcome"].str.startswith("generalization:").any()
    assert len(cells[cells["outcome"] == "recalled"]) == 450
    empty_cells = popularity_cells(fact_rows.head(0), tables.features, tables.recall.head(0), ["log_views"])
    assert list(empty_cells.columns) == [name for name in cells if name != "connection"]
    assert empty_cells.empty


def test_the_curve_of_a_straight_line_is_that_line():
    views = np.linspace(1, 5, 10)
    features = pd.DataFrame(
        {"model": "m", "log_views": views, "perplexity_true": 10 ** (3 - views / 2), "perplexity_new": 10**views}
    )
    curve = trend(features)
    assert curve.columns.tolist() == ["model", "target", "log_views", "log_perplexity"]
    for target, line in (("true", 3 - views / 2), ("new", views)):
        rows = curve[curve["target"] == target]
        assert rows["log_views"].to_numpy() == pytest.approx(views)
        assert rows["log_perplexity"].to_numpy() == pytest.approx(line)
    assert trend(features.head(9)).empty


def test_the_curve_falls_where_perplexity_does(tables):
    curve = trend(tables.features)
    true = curve[curve["target"] == "true"].sort_values("log_views")["log_perplexity"]
    assert true.iloc[0] > true.iloc[-1] + 0.3
    assert trend(tables.features.head(5)).empty


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_false_positives_of_the_whole_table():
    """Features without any effect: 5% of p-values are below .05, and 5% of families have one after Holm."""
    rng = np.random.default_rng(0)
    tables = fabricate(n_facts=60, n_known=60, methods=("none", "rome"))
    facts = tables.facts.assign(model="smollm2")
    scores = probe_outcomes(tables.scores, facts, tables.features, tables.feature_summary)
    rows = fact_outcomes(scores, facts, tables.recall).query("protocol == 'free'")
    rejections, families = [], []
    for _ in range(40):
        noise = tables.features.assign(**{name: rng.random(60) for name in tables.feature_summary["feature"]})
        table = correlations(rows, noise, tables.feature_summary, tables.recall)[0]
        edits = table[(table["family"] == "edit") & table["p"].notna()]
        rejections.append((edits["p"] < 0.05).mean())
        families.append((edits["p_holm"] < 0.05).any())
    error = np.std(rejections) / np.sqrt(len(rejections))
    print(f"\np < .05: {np.mean(rejections):.3f} +- {error:.3f}; families after Holm: {np.mean(families):.3f}")  # noqa: T201
    assert np.mean(rejections) == pytest.approx(0.05, abs=3 * error + 0.01)
    assert np.mean(families) <= 0.15
