import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

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


def test_a_stricter_test_needs_more_facts():
    # (2.5758 + 1.2816) / atanh(0.3) = 12.462, its square and 3 more are 158.3
    assert n_to_detect(0.3, alpha=0.01, power=0.9) == 159
    assert detectable(159, alpha=0.01, power=0.9) == pytest.approx(np.tanh(3.857385 / np.sqrt(156)), rel=1e-5)


def test_detectable_is_the_other_way_round():
    assert n_to_detect(detectable(200)) in (200, 201)
    assert np.isnan(detectable(3))
    assert 0.99 < detectable(4) < 1


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


@pytest.mark.parametrize("sign", [1, -1])
def test_no_permutation_reaches_a_perfect_correlation(sign):
    x = np.arange(30)
    result = spearman(x, sign * x, x, bootstrap=99)
    assert result["p"] == 1 / 100
    assert [result[name] for name in ("rho", "low", "high")] == pytest.approx([sign] * 3)


def test_infinite_values_are_missing_and_a_lower_level_has_a_narrower_interval(rng):
    x, y = rng.random(30), rng.random(30)
    plain = spearman(x, y, np.arange(30))
    gaps = spearman([*x, np.inf, 0.5, 0.5], [*y, 0.5, np.inf, -np.inf], np.arange(33))
    assert gaps == plain | {"n_missing": 3}
    narrow = spearman(x, y, np.arange(30), confidence=0.5)
    assert narrow["high"] - narrow["low"] < 0.5 * (plain["high"] - plain["low"])


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
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], "only 4 facts: too few"),
        (range(9), [1] * 9, "same for every fact"),
        ([1] * 9, range(9), "page views"),
    ],
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


def test_relations_of_five_complete_facts_count(rng):
    x, y = rng.random(16), rng.random(16)
    x[15], y[14] = np.nan, np.inf
    table = within_relations(x, y, ["a"] * 5 + ["b"] * 4 + ["c"] * 7)
    assert table[["relation", "n"]].to_numpy().tolist() == [["a", 5], ["c", 5]]
    assert table["rho"].tolist() == pytest.approx(
        [stats.spearmanr(x[part], y[part]).statistic for part in (slice(5), slice(9, 14))]
    )


def test_relations_that_differ_are_pooled_as_paule_and_mandel_do():
    rho, n = np.array([-0.4, 0.1, 0.7, 1.0]), np.array([40, 60, 50, 20])
    z = np.arctanh(np.minimum(rho, 0.999))
    variance = (1 + np.minimum(rho, 0.999) ** 2 / 2) / (n - 3)

    def spread(between):
        weight = 1 / (variance + between)
        return (weight * (z - (weight * z).sum() / weight.sum()) ** 2).sum() - (len(z) - 1)

    weight = 1 / (variance + optimize.brentq(spread, 0, 50))
    mean, half = (weight * z).sum() / weight.sum(), stats.norm.ppf(0.9) / np.sqrt(weight.sum())
    result = pool_relations(pd.DataFrame({"relation": list("abcd"), "rho": rho, "n": n}), confidence=0.8)
    reference = np.tanh([mean, mean - half, mean + half])
    assert [result["within_rho"], result["within_low"], result["within_high"]] == pytest.approx(reference, abs=1e-4)
    assert result["n_relations"] == 4


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
