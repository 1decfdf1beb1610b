import json

import numpy as np
import pandas as pd
import pytest
from record_correlations import RECORDED, effects, facts
from scipy import stats

from edit_robustness.statistics.associations import Sample, associate
from edit_robustness.statistics.correlation import clustered_information, interval, spearman
from edit_robustness.statistics.multiplicity import benjamini_hochberg, first_level, holm
from edit_robustness.statistics.partial import partial_spearman
from edit_robustness.statistics.pooling import pool_relations, within_relations


@pytest.fixture(scope="module")
def reference():
    return json.loads(RECORDED.read_text())


def test_random_effects_are_those_of_metafor(reference):
    result, references = pool_relations(effects()), reference["pm_adhoc"]
    bounds = {
        "within_rho": "mean", "within_low": "low", "within_high": "high",
        "prediction_low": "prediction_low", "prediction_high": "prediction_high",
    }  # fmt: skip
    for name, r_name in bounds.items():
        assert np.arctanh(result[name]) == pytest.approx(references[r_name], rel=1e-5), name
    assert result["i2"] == pytest.approx(references["i2"], rel=1e-5)
    assert result["n_relations"] == 12


@pytest.mark.parametrize("seed", range(40))
def test_the_variance_between_relations_solves_its_equation(seed):
    """Paule and Mandel's: the weighted squares around the mean are k - 1, or fewer at a variance of 0."""
    rng = np.random.default_rng(seed)
    n = rng.integers(8, 300, 33)
    table = pd.DataFrame({"rho": np.tanh(0.1 + rng.choice([0, 0.05, 0.3]) * rng.normal(size=33)), "n_subjects": n})
    result, z = pool_relations(table), np.arctanh(table["rho"])
    variance = (1 + table["rho"] ** 2 / 2) / (n - 3)
    typical = 32 * (1 / variance).sum() / ((1 / variance).sum() ** 2 - (1 / variance**2).sum())
    between = result["i2"] / (1 - result["i2"]) * typical
    weight = 1 / (variance + between)
    squares = (weight * (z - np.average(z, weights=weight)) ** 2).sum()
    assert squares == pytest.approx(32, abs=1e-4) if between else squares <= 32


def test_restricted_maximum_likelihood_says_the_same(reference):
    assert pool_relations(effects())["within_rho"] == pytest.approx(np.tanh(reference["reml_z"]["mean"]), abs=0.001)
    assert pool_relations(effects())["i2"] == pytest.approx(reference["reml_z"]["i2"], abs=0.02)


def test_partial_correlations_are_those_of_r(reference):
    table = facts()
    subjects = np.arange(len(table))
    single = partial_spearman(table["x"], table["graded"], table[["first"]], subjects)
    double = partial_spearman(table["x"], table["binary"], table[["first", "second"]], subjects)
    for result, name in ((single, "partial_one"), (double, "partial_two")):
        for column, value in reference[name].items():
            assert result[column] == pytest.approx(value, rel=1e-9), (name, column)
        assert (result["partial_low"] > 0 or result["partial_high"] < 0) == (result["partial_p"] < 0.05)


def test_a_partial_correlation_counts_facts_of_one_subject_by_their_influence():
    """The influence is the derivative of the partial correlation of the ranks by the weight of a fact."""
    table = facts().sort_values("graded", kind="stable")
    subjects = np.repeat(np.arange(20), np.arange(20) % 4 + 2)[:60]
    ranks = stats.rankdata(table[["first", "x", "graded"]], axis=0)
    controls = np.column_stack([np.ones(60), ranks[:, 0]])

    def rho(weights):
        root = np.sqrt(weights)[:, None]
        coefficients = np.linalg.lstsq(root * controls, root * ranks[:, 1:], rcond=None)[0]
        a, b = (root * (ranks[:, 1:] - controls @ coefficients)).T
        return a @ b / np.sqrt((a @ a) * (b @ b))

    full_rho, step = rho(np.ones(60)), 1e-6
    influence = np.array([(rho(np.ones(60) + step * row) - full_rho) / step for row in np.eye(60)])
    information = clustered_information(influence - influence.mean(), subjects, n_parameters=3)
    assert 60**2 / (np.bincount(subjects) ** 2).sum() + 1 < information.size < 59
    references = interval(full_rho, information._replace(size=information.size - 1), 0.8)
    result = partial_spearman(table["x"], table["graded"], table[["first"]], subjects, 0.8)
    assert result["partial_rho"] == pytest.approx(full_rho)
    assert (result["partial_low"], result["partial_high"]) == pytest.approx(references, abs=1e-4)


def test_a_variable_that_repeats_another_costs_nothing():
    table = facts()
    subjects = np.arange(len(table))
    controls = table[["first"]].assign(again=2 * table["first"])
    assert partial_spearman(table["x"], table["graded"], controls, subjects) == pytest.approx(
        partial_spearman(table["x"], table["graded"], table[["first"]], subjects)
    )


def test_nothing_remains_of_a_feature_given_itself():
    table = facts()
    result = partial_spearman(table["x"], table["graded"], table[["x"]], np.arange(len(table)))
    assert np.isnan(list(result.values())).all()


def test_partial_correlations_leave_out_incomplete_facts():
    table = facts()
    with_gap = table.assign(first=table["first"].mask(table.index < 10))
    result = partial_spearman(with_gap["x"], with_gap["graded"], with_gap[["first"]], np.arange(60))
    complete_rows = table.iloc[10:]
    assert result == pytest.approx(
        partial_spearman(complete_rows["x"], complete_rows["graded"], complete_rows[["first"]], np.arange(50))
    )


def test_within_relations_is_spearman_in_each():
    table = facts()
    result = within_relations(table["x"], table["graded"], table["relation"]).set_index("relation")
    for relation, rows in table.groupby("relation"):
        single = spearman(rows["x"], rows["graded"], np.arange(len(rows)))
        assert result.loc[relation, "rho"] == pytest.approx(stats.spearmanr(rows["x"], rows["graded"]).statistic)
        if not single["note"]:
            figures = ["low", "high", "p"]
            assert result.loc[relation, figures].tolist() == pytest.approx([single[name] for name in figures])


def test_constant_and_small_relations_are_left_out():
    relations = ["constant"] * 10 + ["small"] * 4 + ["fine"] * 10 + ["rare"] * 10
    outcome = [1] * 10 + [1, 0, 1, 0] + [0, 1] * 5 + [0] * 9 + [1]
    result = within_relations(np.arange(34), outcome, relations).set_index("relation")
    assert list(result.index) == ["fine", "rare"]
    assert result["low"].notna().tolist() == [True, False]


def test_a_relation_needs_no_more_than_five_subjects_and_no_other_relation():
    fewest = within_relations(np.arange(5), [1, 2, 3, 5, 4], ["P36"] * 5)
    assert fewest["rho"].tolist() == pytest.approx([0.9])
    assert within_relations(np.arange(4), [1, 2, 4, 3], ["P36"] * 4).empty


def test_facts_of_one_subject_count_once_in_a_relation():
    x, y = np.repeat(np.arange(8), 3), np.repeat([1, 3, 2, 5, 4, 7, 8, 6], 3)
    subjects = np.repeat(np.arange(8), 3)
    result = within_relations(x, y, ["P36"] * 24, subjects).iloc[0]
    assert (result["n_facts"], result["n_subjects"]) == (24, 8)
    single = within_relations(x[::3], y[::3], ["P36"] * 8).iloc[0]
    assert result[["rho", "low", "high"]].tolist() == pytest.approx(single[["rho", "low", "high"]].tolist())


def test_pooling_undoes_a_confounding_by_relation():
    """Inside each relation nothing goes together; famous relations are easy, so over all facts it does."""
    rng = np.random.default_rng(3)
    relation = np.repeat(np.arange(12), 40)
    x, y = relation + rng.random(480), relation + rng.random(480)
    assert stats.spearmanr(x, y).statistic > 0.9
    within = pool_relations(within_relations(x, y, relation))
    assert within["n_relations"] == 12
    assert within["within_low"] < 0 < within["within_high"]


def test_facts_of_an_unknown_relation_are_no_relation():
    facts = pd.DataFrame({"subject": [f"S{n}" for n in range(18)], "relation": ["P36"] * 6 + [""] * 6 + [None] * 6})
    outcome = np.tile([1.0, 2.0, 3.0, 4.0, 6.0, 5.0], 3)
    estimate, by_relation = associate(np.arange(18.0), Sample.of(outcome, facts))
    assert by_relation["relation"].tolist() == ["P36"]
    assert estimate["n_facts"] == 18


def test_one_relation_is_not_pooled():
    single = pool_relations(pd.DataFrame({"relation": ["a"], "rho": [0.3], "n_subjects": [50]}))
    assert np.isnan(single["within_rho"])
    assert single["n_relations"] == 1


def test_corrections_are_those_of_r(reference):
    p = [0.04, 0.001, 0.03, 0.2, 0.001]
    assert holm(p) == pytest.approx(reference["holm"])
    assert benjamini_hochberg(p) == pytest.approx(reference["bh"])


def test_a_missing_p_value_is_not_a_test():
    assert holm([0.04, np.nan, 0.01, 0.03]) == pytest.approx([0.06, np.nan, 0.03, 0.06], nan_ok=True)
    assert np.isnan(benjamini_hochberg([np.nan])).all()
    assert first_level(0.05, 10) == pytest.approx(0.005)
    assert first_level(0.05, 0) == 0.05


@pytest.mark.slow
@pytest.mark.parametrize("n_relations", [5, 12, 34])
def test_coverage_of_the_mean_over_relations(n_relations):
    """Relations of 12 to 60 facts whose correlations vary by .15 (Fisher's z) around .1."""
    rng, hits, prediction_hits = np.random.default_rng(n_relations), [], []
    for _ in range(600):
        n = rng.integers(12, 60, n_relations)
        z = 0.1 + 0.15 * rng.standard_normal(n_relations)
        relation = np.repeat(np.arange(n_relations), n)
        x = rng.standard_normal(len(relation))
        rho = np.tanh(z)[relation]
        y = rho * x + np.sqrt(1 - rho**2) * rng.standard_normal(len(x))
        result = pool_relations(within_relations(x, y, relation))
        # Spearman's correlation of a normal pair is a little below Pearson's
        hits.append(result["within_low"] <= 6 / np.pi * np.arcsin(np.tanh(0.1) / 2) <= result["within_high"])
        new = 6 / np.pi * np.arcsin(np.tanh(0.1 + 0.15 * rng.standard_normal()) / 2)
        prediction_hits.append(result["prediction_low"] <= new <= result["prediction_high"])
    print(f"\n{n_relations} relations: mean {np.mean(hits):.3f}, prediction {np.mean(prediction_hits):.3f}")  # noqa: T201
    assert np.mean(hits) > 0.92
    # the interval takes the variance between relations as known, which it is not: docs/explanation/statistics.md
    assert np.mean(prediction_hits) > 0.8
