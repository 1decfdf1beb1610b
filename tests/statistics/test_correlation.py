import json

import numpy as np
import pytest
from compare_intervals import area, rho_of, simulate
from record_correlations import RECORDED, facts
from scipy import stats

from edit_robustness.statistics.correlation import (
    Information,
    clustered_information,
    count_rare,
    detectable,
    interval,
    n_to_detect,
    p_value,
    rho_influence,
    spearman,
)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture(scope="module")
def reference():
    return json.loads(RECORDED.read_text())


@pytest.mark.parametrize(("rho", "n"), [(0.1, 783), (0.05, 3138), (-0.1, 783)])
def test_facts_needed(rho, n):
    assert n_to_detect(rho) == n


def test_detectable_is_the_inverse_of_the_facts_needed():
    assert n_to_detect(detectable(200)) in (200, 201)
    assert np.isnan(detectable(3))
    assert 0.99 < detectable(4) < 1


def test_a_stricter_test_needs_more_facts():
    # (2.5758 + 1.2816) / atanh(0.3) = 12.462, its square and 3 more are 158.3
    assert n_to_detect(0.3, alpha=0.01, power=0.9) == 159
    assert detectable(159, alpha=0.01, power=0.9) == pytest.approx(np.tanh(3.857385 / np.sqrt(156)), rel=1e-5)


def test_a_correction_raises_what_is_detectable():
    """24 facts show .55 in one test and .67 under Holm with 12 tests."""
    assert detectable(24) == pytest.approx(0.545, abs=0.002)
    assert detectable(24, alpha=0.05 / 12) == pytest.approx(0.665, abs=0.005)


@pytest.mark.parametrize("rho", [0, 1, -1.2])
def test_impossible_correlations_are_named(rho):
    with pytest.raises(ValueError, match=f"it is {rho}"):
        n_to_detect(rho)


def test_power_by_simulation(rng):
    n = n_to_detect(0.3)
    x = rng.standard_normal((4000, n))
    y = 0.3 * x + np.sqrt(1 - 0.09) * rng.standard_normal((4000, n))
    rejections = [stats.pearsonr(a, b).pvalue < 0.05 for a, b in zip(x, y, strict=True)]
    assert 0.77 < np.mean(rejections) < 0.83


@pytest.mark.parametrize("outcome", ["graded", "binary"])
def test_estimate_and_p_value_are_those_of_r(reference, outcome):
    table = facts()
    result = spearman(table["x"], table[outcome], np.arange(len(table)))
    for name, value in reference[outcome].items():
        assert result[name] == pytest.approx(value, rel=1e-9), name


def test_the_influence_is_the_derivative_by_the_weight(rng):
    x, y = rng.integers(0, 5, 30).astype(float), rng.integers(0, 3, 30).astype(float)
    weights = rng.uniform(0.5, 2, 30)
    rho, influence = rho_influence(x, y, weights)
    step = 1e-6
    slopes = [(rho_influence(x, y, weights + step * row)[0] - rho) / step for row in np.eye(30)]
    assert influence / weights.sum() == pytest.approx(slopes, abs=1e-5)


def test_integer_weights_repeat_facts(rng):
    x, y = rng.integers(0, 5, 30).astype(float), rng.integers(0, 3, 30).astype(float)
    weights = rng.integers(1, 5, 30)
    reference_rho = stats.spearmanr(np.repeat(x, weights), np.repeat(y, weights)).statistic
    assert rho_influence(x, y, weights.astype(float))[0] == pytest.approx(reference_rho)


def test_a_binary_outcome_gives_the_area_under_the_curve(rng):
    """Spearman's rho is sqrt(3 p (1 - p)) (2 AUC - 1) but for the ranks' finite number: the case of rare outcomes."""
    x, y = rng.standard_normal(200), (rng.random(200) < 0.1).astype(float)
    area = stats.mannwhitneyu(x[y == 1], x[y == 0]).statistic / (y.sum() * (1 - y).sum())
    share = y.mean()
    rho = spearman(x, y, np.arange(200))["rho"]
    assert rho == pytest.approx(np.sqrt(3 * share * (1 - share)) * (2 * area - 1), rel=1e-4)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(
    "information", [Information(8, 6), Information(24, 22), Information(57.3, 20), Information(900, 898)]
)
def test_the_interval_excludes_0_exactly_if_p_is_below_alpha(information, confidence):
    for rho in np.linspace(-0.97, 0.97, 389):
        low, high = interval(rho, information, confidence)
        assert -1 <= low <= rho <= high <= 1
        assert (low > 0 or high < 0) == (p_value(rho, information) < 1 - confidence), rho


def test_p_values_have_no_floor(rng):
    """After Holm with 102 tests the smallest of 2,000 permutations could never be significant."""
    x = rng.standard_normal(200)
    assert spearman(x, x + rng.standard_normal(200), np.arange(200))["p"] < 1e-12


def test_missing_values_are_dropped_and_counted(rng):
    x, y = rng.random(40), rng.random(40)
    full = spearman(x[5:], y[5:], np.arange(35))
    gap = spearman(np.concatenate([np.full(5, np.nan), x[5:]]), y, np.concatenate([np.arange(100, 105), np.arange(35)]))
    assert gap["rho"] == full["rho"] == pytest.approx(stats.spearmanr(x[5:], y[5:]).statistic)
    assert (gap["n_facts"], gap["n_missing"]) == (35, 5)


def test_an_infinite_value_is_the_largest_rank_and_not_missing(rng):
    x, y = rng.random(40), rng.random(40)
    x[7] = 2
    infinite = np.where(x == 2, np.inf, x)
    assert spearman(infinite, y, np.arange(40)) == spearman(x, y, np.arange(40))


def test_rows_of_one_subject_are_not_taken_for_independent(rng):
    x, y = rng.standard_normal(20), rng.standard_normal(20)
    single = spearman(x, y, np.arange(20))
    repeated_rows = spearman(np.repeat(x, 10), np.repeat(y, 10), np.repeat(np.arange(20), 10))
    assert repeated_rows["rho"] == pytest.approx(single["rho"])
    assert repeated_rows["p"] == pytest.approx(single["p"], rel=0.1)
    assert repeated_rows["high"] - repeated_rows["low"] == pytest.approx(single["high"] - single["low"], rel=0.1)


def test_one_fact_per_subject_is_the_number_of_facts(rng):
    assert clustered_information(rng.random(30), np.arange(30)) == (30, 28)


def test_the_effective_size_is_between_kishs_and_the_number_of_facts(rng):
    codes = np.repeat(np.arange(10), 3)
    subject_values = np.repeat(rng.normal(size=10), 3)
    assert clustered_information(subject_values - subject_values.mean(), codes).size == pytest.approx(10, rel=0.15)
    opposite = np.tile([1.0, -1.0, 0.0], 10)
    assert clustered_information(opposite, codes) == (30, 8)


def test_the_effective_size_by_hand():
    # totals of the clusters 3, -1 and -2: their variance is 3/2 * 14 / 36 = 7/12, that of independent facts 6/5 * 2
    influence, codes = np.array([2.0, 1, -2, 1, -1, -1]), np.array([0, 0, 1, 1, 2, 2])
    assert clustered_information(influence, codes) == pytest.approx((2.4 / (7 / 12), 1))
    # shares 1/4, 1/4 and 1/2: 9/2 over 13/8, between Kish's 8/3 and 3 facts
    for scale in (1, 10):
        information = clustered_information(np.array([1.0, 3, -2]), np.arange(3), scale * np.array([1.0, 1, 2]))
        assert information == pytest.approx((36 / 13, 1))
    held_constant = clustered_information(np.tile(influence, 2), np.repeat(np.arange(6), 2), n_parameters=4)
    assert held_constant.df == 2


@pytest.mark.parametrize(
    ("x", "y", "note"),
    [
        ([1, 2, 3], [1, 2, 3], "too few"),
        (range(9), [1] * 9, "outcome is the same for every fact"),
        ([1] * 9, range(9), "feature is the same for every fact"),
        (range(24), [0] * 23 + [1], "only 1 facts of the rarer value"),
        (range(24), [1] * 20 + [0] * 4, "only 4 facts of the rarer value"),
        ([0] * 12 + [1] * 12, ([0] * 8 + [1] * 4) * 2, "only 4 facts of the rarer value"),
    ],
)
def test_no_number_without_a_reason(x, y, note):
    result = spearman(x, y, range(len(x)))
    assert np.isnan([result[name] for name in ("rho", "low", "high", "p", "tau", "tau_p")]).all()
    assert note in result["note"]


def test_rare_facts_of_few_subjects_give_no_interval(rng):
    subjects = np.concatenate([np.repeat([0, 1, 2], 3), np.arange(3, 44)])
    result = spearman(rng.random(50), np.arange(50) < 9, subjects)
    assert result["n_rare"] == 9
    assert "of 3 subjects" in result["note"]


def test_the_fewest_facts_and_subjects_that_have_a_figure(rng):
    # squared differences of ranks sum to 4: 1 - 6 * 4 / 210
    smallest = spearman(range(6), [1, 3, 2, 5, 4, 6], range(6))
    assert (smallest["rho"], smallest["note"], smallest["n_rare"]) == (pytest.approx(1 - 24 / 210), "", 6)
    assert "only 4 facts: too few" in spearman(range(4), [1, 3, 2, 4], range(4))["note"]
    x, y = rng.random(50), np.arange(50) < 6
    assert spearman(x, y, np.maximum(np.arange(50), 1))["note"] == ""
    assert "of 4 subjects" in spearman(x, y, np.maximum(np.arange(50), 2))["note"]
    assert spearman(x, np.arange(50) < 5, np.arange(50))["note"] == ""


def test_rare_facts_are_counted_by_the_commonest_value():
    assert count_rare(np.arange(24), [0] * 18 + [1] * 6) == 6
    assert count_rare(np.arange(24), np.arange(24)) == 24
    assert count_rare([0] * 90 + [1] * 10, [0] * 80 + list(range(1, 21))) == 2


def coverage(n, share, slope, several, x_of="subject", times=1000, seed=0):
    """Coverage of rho at the sample's share, share of p below .05, and share of samples with an interval."""
    rng, truth = np.random.default_rng([seed, n, round(100 * share)]), area(slope, share) if slope else 0.5
    hits, rejections = [], []
    for _ in range(times):
        x, y, codes = simulate(rng, n, share, slope, several, x_of)
        result = spearman(x, y, codes)
        if not result["note"]:
            rho = rho_of(truth, y.mean())
            hits.append(result["low"] <= rho <= result["high"])
            rejections.append(result["p"] < 0.05)
    return (np.mean(hits), np.mean(rejections), len(hits) / times) if hits else (np.nan, np.nan, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("x_of", ["", "subject", "fact"])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.98])
@pytest.mark.parametrize("n", [24, 100, 400])
def test_coverage_and_false_positives(n, share, x_of):
    """Wherever most samples have an interval, it covers 93% or more, and 4 to 7% of p-values under the null are low."""
    false_positives, power = (coverage(n, share, slope, bool(x_of), x_of, times=600) for slope in (0.0, 0.5))
    print(  # noqa: T201
        f"\n| {n} | {share:.0%} | {x_of or 'one fact per subject'} | {false_positives[2]:.2f} "
        f"| {false_positives[0]:.3f} | {false_positives[1]:.3f} | {power[0]:.3f} |"
    )
    if false_positives[2] > 0.5:
        assert false_positives[0] > 0.925
        assert false_positives[1] < 0.075
        assert power[0] > 0.925


def test_coverage_of_a_rare_outcome():
    """The bootstrap covered 60% to 87% here."""
    coverage_share, power, estimated_share = coverage(100, 0.1, 0.5, several=False, times=150)
    assert estimated_share > 0.9
    assert coverage_share > 0.9
    assert power > 0.5


def test_the_interval_of_a_normal_pair_covers(rng):
    """The true Spearman of a normal pair is 6 / pi asin(rho / 2)."""
    truth = 6 / np.pi * np.arcsin(0.6 / 2)
    hits = []
    for _ in range(200):
        x = rng.standard_normal(60)
        y = 0.6 * x + 0.8 * rng.standard_normal(60)
        result = spearman(x, y, np.arange(60))
        hits.append(result["low"] <= truth <= result["high"])
    assert 0.91 < np.mean(hits) <= 0.985


def test_the_weighted_interval_covers_the_population(rng):
    """A sample that takes one outcome four times as often estimates the population's rho, not its own."""
    population_x = rng.standard_normal(200_000)
    population_y = (0.6 * population_x + rng.standard_normal(200_000) > 1.2).astype(float)
    truth = stats.spearmanr(population_x, population_y).statistic
    chances = np.where(population_y == 1, 4.0, 1.0)
    hits, unweighted_hits = [], []
    for _ in range(150):
        rows = rng.choice(200_000, 150, p=chances / chances.sum())
        x, y, weights = population_x[rows], population_y[rows], 1 / chances[rows]
        result, plain_result = spearman(x, y, np.arange(150), weights=weights), spearman(x, y, np.arange(150))
        hits.append(result["low"] <= truth <= result["high"])
        unweighted_hits.append(plain_result["low"] <= truth <= plain_result["high"])
    assert np.mean(hits) > 0.9
    assert np.mean(unweighted_hits) < np.mean(hits)


def test_five_facts_that_all_differ_are_enough():
    result = spearman(range(5), [1, 2, 3, 5, 4], range(5))
    assert result["note"] == ""
    assert result["rho"] == pytest.approx(0.9)
    assert result["low"] < 0.9 < result["high"]
