import numpy as np
import pandas as pd
import pytest
from scipy import stats

from edit_robustness.statistics.correlation import (
    detectable,
    holm,
    n_to_detect,
    pool_relations,
    spearman,
    weighted_spearman,
    within_relations,
)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize(("rho", "n"), [(0.1, 783), (0.05, 3138), (-0.1, 783)])
def test_facts_needed(rho, n):
    assert n_to_detect(rho) == n


def test_detectable_is_the_other_way_round():
    assert n_to_detect(detectable(200)) in (200, 201)
    assert np.isnan(detectable(3))


@pytest.mark.parametrize("rho", [0, 1, -1.2])
def test_impossible_correlations_are_named(rho):
    with pytest.raises(ValueError, match=f"it is {rho}"):
        n_to_detect(rho)


def test_power_by_simulation(rng):
    """At the n it names, a correlation is found about as often as it says."""
    n = n_to_detect(0.3)
    x = rng.standard_normal((4000, n))
    y = 0.3 * x + np.sqrt(1 - 0.09) * rng.standard_normal((4000, n))
    rejections = [stats.pearsonr(a, b).pvalue < 0.05 for a, b in zip(x, y, strict=True)]
    assert 0.77 < np.mean(rejections) < 0.83


def test_weighted_ranks_are_those_of_repeated_rows(rng):
    x, y = rng.integers(0, 5, 30).astype(float), rng.integers(0, 3, 30).astype(float)
    weights = rng.integers(0, 4, (20, 30)).astype(float)
    reference = [stats.spearmanr(np.repeat(x, w.astype(int)), np.repeat(y, w.astype(int))).statistic for w in weights]
    assert weighted_spearman(x, y, weights) == pytest.approx(reference)


def test_missing_page_views_are_dropped_and_counted(rng):
    x, y = rng.random(40), rng.random(40)
    full = spearman(x[5:], y[5:], np.arange(35))
    gap = spearman(np.concatenate([np.full(5, np.nan), x[5:]]), y, np.concatenate([np.arange(100, 105), np.arange(35)]))
    assert gap["rho"] == full["rho"] == stats.spearmanr(x[5:], y[5:]).statistic
    assert (gap["n_facts"], gap["n_missing"]) == (35, 5)


def test_interval_covers(rng):
    """Percentile intervals over 60 subjects; the true Spearman of a normal pair is 6/pi asin(rho/2)."""
    truth = 6 / np.pi * np.arcsin(0.4 / 2)
    hits = []
    for seed in range(300):
        x = rng.standard_normal(60)
        y = 0.4 * x + np.sqrt(1 - 0.16) * rng.standard_normal(60)
        result = spearman(x, y, np.arange(60), bootstrap=400, seed=seed)
        hits.append(result["low"] <= truth <= result["high"])
    assert 0.91 < np.mean(hits) <= 0.985


def test_rows_of_one_subject_are_not_taken_for_independent(rng):
    x, y = rng.standard_normal(20), rng.standard_normal(20)
    once = spearman(x, y, np.arange(20))
    often = spearman(np.repeat(x, 10), np.repeat(y, 10), np.repeat(np.arange(20), 10))
    assert often["p"] > 0.5 * once["p"]
    assert often["high"] - often["low"] > 0.8 * (once["high"] - once["low"])


def test_p_values_are_uniform_without_correlation(rng):
    p = [spearman(rng.random(24), rng.random(24), np.arange(24), bootstrap=200)["p"] for _ in range(300)]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_the_seed_decides(rng):
    x, y = rng.random(30), rng.random(30)
    assert spearman(x, y, np.arange(30), seed=1) == spearman(x, y, np.arange(30), seed=1)
    assert spearman(x, y, np.arange(30), seed=1)["low"] != spearman(x, y, np.arange(30), seed=2)["low"]


@pytest.mark.parametrize(
    ("x", "y", "note"),
    [([1, 2, 3], [1, 2, 3], "too few"), (range(9), [1] * 9, "same for every fact"), ([1] * 9, range(9), "page views")],
)
def test_no_number_without_a_reason(x, y, note):
    result = spearman(x, y, range(len(x)))
    assert np.isnan(result["rho"])
    assert note in result["note"]


def test_pooling_undoes_a_confounding_by_relation(rng):
    """Inside each relation nothing goes together; famous relations are easy, so over all facts it does."""
    relation = np.repeat(np.arange(12), 40)
    x, y = relation + rng.random(480), relation + rng.random(480)
    assert stats.spearmanr(x, y).statistic > 0.9
    within = pool_relations(within_relations(x, y, relation))
    assert within["n_relations"] == 12
    assert within["within_low"] < 0 < within["within_high"]


def test_pooled_matches_a_naive_transcription():
    """With homogeneous relations the random-effects mean is the inverse-variance mean of Fisher's z."""
    table = pd.DataFrame({"relation": ["a", "b"], "rho": [0.3, 0.32], "n": [50, 80]})
    z = np.arctanh(table["rho"])
    weight = (table["n"] - 3) / (1 + table["rho"] ** 2 / 2)
    mean, half = (weight * z).sum() / weight.sum(), stats.norm.ppf(0.975) / np.sqrt(weight.sum())
    result = pool_relations(table)
    reference = np.tanh([mean, mean - half, mean + half])
    assert [result["within_rho"], result["within_low"], result["within_high"]] == pytest.approx(reference, abs=1e-6)


def test_one_relation_is_not_pooled():
    assert np.isnan(pool_relations(pd.DataFrame({"relation": ["a"], "rho": [0.3], "n": [50]}))["within_rho"])


def test_holm_worked_by_hand():
    """Three tests: .01 x 3, .03 x 2, then .04, each at least the one before; nan is not a test."""
    assert holm([0.04, np.nan, 0.01, 0.03]) == pytest.approx([0.06, np.nan, 0.03, 0.06], nan_ok=True)
    assert np.isnan(holm([np.nan])).all()
