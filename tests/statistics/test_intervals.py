import json
import logging

import numpy as np
import pandas as pd
import pytest
from fabricated_edits import REPOSITORY
from scipy import stats

from edit_robustness.statistics.intervals import (
    effective_size,
    intraclass_correlation,
    mean,
    paired_difference,
    proportion,
    rates,
    wilson,
)

logger = logging.getLogger(__name__)

REFERENCE = REPOSITORY / "tests" / "reference"


@pytest.mark.parametrize(("successes", "n"), [(0, 24), (24, 24), (7, 24), (1, 3)])
def test_wilson_is_scipys(successes, n):
    reference = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((reference.low, reference.high))


def test_wilson_without_trials_is_nan():
    assert np.isnan(wilson(0, 0)).all()


def test_one_probe_a_fact_is_plain_wilson():
    result = proportion([1, 1, 0, 1], ["a", "b", "c", "d"])
    assert (result.low, result.high) == wilson(3, 4)


def test_repeating_every_probe_adds_no_information():
    values, clusters = np.array([1, 0, 1, 1, 0, 1.0] * 4), np.arange(24)
    once = proportion(values, clusters)
    thrice = proportion(np.repeat(values, 3), np.repeat(clusters, 3))
    assert thrice.value == once.value
    assert thrice.high - thrice.low >= once.high - once.low
    assert effective_size(np.repeat(values, 3), np.repeat(clusters, 3)) <= 24


@pytest.mark.parametrize(
    ("values", "clusters", "size"),
    [
        # p = 1/2, residuals 1/2, 1/2 and -1: var = 3/2 * 1.5 / 36 = 1/16, and 1/4 over 1/16 is 4
        ([1, 1, 0, 1, 0, 0], "aaabcc", 4),
        # all probes of a subject agree: 2/9 over 13/108 would be 1.8, less than Kish's 36 / (9 + 1 + 4)
        ([1, 1, 1, 1, 0, 0], "aaabcc", 36 / 14),
        # every subject has the same share, so that var is 0: no more than the trials
        ([1, 0, 1, 0, 1, 1, 0, 0], "aabbcccc", 8),
        ([1, 1, 1, 1, 1, 1], "aaabcc", 36 / 14),
        ([0, 0, 0, 0, 0, 0], "aaabcc", 36 / 14),
    ],
)
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_the_effective_size_by_hand(values, clusters, size, confidence):
    values, clusters = np.array(values, dtype=float), np.array(list(clusters))
    tail = (1 + confidence) / 2
    scale = (stats.t.ppf(tail, len(values) - 1) / stats.t.ppf(tail, 3 - 1)) ** 2
    assert effective_size(values, clusters, confidence) == pytest.approx(size * scale)
    p = values.mean()
    result = proportion(values, clusters, confidence)
    assert (result.low, result.high) == pytest.approx(wilson(p * size * scale, size * scale, confidence))
    assert (result.n, result.n_clusters) == (len(values), 3)
    assert effective_size(values, clusters) == effective_size(values, clusters, 0.95)


def test_one_trial_per_subject_counts_as_one_and_one_subject_as_one():
    assert effective_size(np.array([1, 0, 1.0]), np.array(list("abc"))) == pytest.approx(3)
    assert effective_size(np.array([1, 0, 1.0]), np.array(list("aaa"))) == 1


def test_all_successes_still_have_a_width():
    result = proportion(np.ones(72), np.repeat(np.arange(24), 3))
    assert result.high == 1.0
    assert 0.8 < result.low < 0.9


def test_one_subject_alone_says_next_to_nothing():
    result = proportion([1, 1, 1], ["a", "a", "a"])
    assert result.low < 0.25


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.85])
@pytest.mark.parametrize("alike", [0.0, 0.3, 0.8])
def test_coverage_is_near_nominal(rate, alike):
    """24 subjects of 1 to 4 probes; `alike` is the share of probes that repeat their subject's first answer."""
    rng = np.random.default_rng(7)
    clusters = np.repeat(np.arange(24), np.arange(24) % 4 + 1)
    hits = []
    for _ in range(1500):
        trials, cluster_trials = rng.random(len(clusters)) < rate, (rng.random(24) < rate)[clusters]
        values = np.where(rng.random(len(clusters)) < np.sqrt(alike), cluster_trials, trials).astype(float)
        result = proportion(values, clusters)
        hits.append(result.low <= rate <= result.high)
    assert 0.915 < np.mean(hits) < 0.995


def test_the_naive_interval_would_not_cover():
    """What the clusters are for: independent trials assumed, too many intervals miss."""
    rng = np.random.default_rng(7)
    hits = []
    for _ in range(1500):
        successes = 3 * (rng.random(24) < 0.5).sum()
        low, high = wilson(successes, 72)
        hits.append(low <= 0.5 <= high)
    assert np.mean(hits) < 0.85


def test_rates_count_and_leave_out_missing_scores():
    scores = pd.DataFrame(
        {
            "method": ["rome"] * 3 + ["ft"],
            "fact_id": ["a", "a", "b", "a"],
            "subject": ["a", "a", "b", "a"],
            "value": [1.0, 0.0, np.nan, np.nan],
        }
    )
    table = rates(scores, ["method"]).set_index("method")
    assert table.loc["rome", ["value", "n_probes", "n_facts", "n_missing"]].tolist() == [0.5, 2, 1, 1]
    assert np.isnan(table.loc["ft", "value"])
    assert table.loc["ft", "n_probes"] == 0


def test_rates_of_groups_whose_rows_are_mixed_are_those_of_each_group_alone():
    rng = np.random.default_rng(0)
    scores = pd.DataFrame(
        {
            "method": rng.choice(["rome", "ft", "ike"], 60),
            "fact_id": rng.choice(list("abcdefgh"), 60),
            "value": rng.choice([0.0, 1.0, np.nan], 60),
            "unit": "share",
        }
    )
    tokens = scores.assign(method="tokens", unit="tokens", value=scores["value"] * 7)
    scores = pd.concat([scores, tokens]).sample(frac=1, random_state=0).assign(subject=lambda table: table["fact_id"])
    table = rates(scores, ["method"])
    assert table["method"].tolist() == scores["method"].unique().tolist()
    for row in table.itertuples(index=False):
        rows = scores[scores["method"] == row.method]
        complete_rows = rows.dropna()
        estimate = mean if row.method == "tokens" else proportion
        estimate_alone = estimate(complete_rows["value"], complete_rows["subject"])
        assert (row.value, row.low, row.high, row.n_probes) == pytest.approx(estimate_alone[:4])
        assert (row.n_facts, row.n_missing) == (complete_rows["fact_id"].nunique(), len(rows) - len(complete_rows))


def test_the_intraclass_correlation_is_that_of_rs_analysis_of_variance():
    """Recorded by tests/reference/intraclass_correlation.R."""
    reference = json.loads((REFERENCE / "intraclass_correlation.json").read_text())
    clusters = np.repeat(np.arange(len(reference["sizes"])), reference["sizes"])
    assert intraclass_correlation(np.array(reference["values"], float), clusters) == pytest.approx(reference["rho"])


def test_the_size_is_the_smaller_of_the_linearised_and_the_one_of_the_design_effect():
    values, sizes = np.array([1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0.0]), np.array([1, 2, 1, 5, 3])
    clusters = np.repeat(np.arange(5), sizes)
    n, k, p = 12, 5, values.mean()
    totals = np.bincount(clusters, weights=values)
    linear_size = p * (1 - p) / (k / (k - 1) * ((totals - p * sizes) ** 2).sum() / n**2)
    by_design = n / (1 + ((sizes**2).sum() / n - 1) * intraclass_correlation(values, clusters))
    t_ratio = (stats.t.ppf(0.975, n - 1) / stats.t.ppf(0.975, k - 1)) ** 2
    one_per_cluster = n**2 / (sizes**2).sum()
    estimate_alone = min(np.clip(linear_size, one_per_cluster, n), by_design) * t_ratio
    assert linear_size != pytest.approx(by_design)
    assert effective_size(values, clusters) == pytest.approx(estimate_alone)


def test_rare_successes_that_the_large_clusters_lack_do_not_narrow_the_interval():
    """Answers of one subject always agree; without the intraclass correlation the interval would cover 72%."""
    rng = np.random.default_rng(3)
    hits = []
    for _ in range(400):
        sizes = np.where(rng.random(400) < 0.15, 12, rng.integers(1, 3, size=400))
        clusters = np.repeat(np.arange(400), sizes)
        result = proportion((rng.random(400) < 0.02)[clusters].astype(float), clusters)
        hits.append(result.low <= 0.02 <= result.high)
    assert np.mean(hits) > 0.92


def test_means_of_several_probes_carry_more_than_one_probe():
    probes = np.array([[1, 0, 1, 1], [0, 0, 1, 0], [1, 1, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]], float)
    means = proportion(probes.mean(axis=1), np.arange(6))
    one_each = proportion([1, 0, 1, 0, 0, 1], np.arange(6))
    assert means.high - means.low < one_each.high - one_each.low


def test_a_paired_difference_is_newcombes_method_10():
    """Recorded by tests/reference/paired_proportions.R; the first row is his own example, .057 to .340."""
    for n_both, only_first, only_second, n_neither, low, high in json.loads(
        (REFERENCE / "paired_proportions.json").read_text()
    ):
        counts = [int(count) for count in (n_both, only_first, only_second, n_neither)]
        first, second = np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts)
        result = paired_difference(first, second, np.arange(len(first)))
        assert (result.low, result.high) == pytest.approx((low, high))
        assert result.value == pytest.approx((only_first - only_second) / len(first))
        assert (result.p < 0.05) == (low > 0 or high < 0)


def test_the_p_value_of_a_difference_is_the_level_at_which_its_interval_ends_at_0():
    first, second = np.repeat([1, 1, 0, 0], [18, 14, 4, 14]), np.repeat([1, 0, 1, 0], [18, 14, 4, 14])
    result = paired_difference(first, second, np.arange(50))
    assert paired_difference(first, second, np.arange(50), 1 - result.p).low == pytest.approx(0, abs=1e-6)
    assert paired_difference(first, first, np.arange(50)).p == 1.0


def test_means_that_differ_by_a_rounding_error_do_not_differ():
    first, second = np.array([0.2, 0.4, 0.0, 0.6, 0.2]), np.array([0.4, 0.2, 0.6, 0.0, 0.2])
    second[0] += 1e-16
    assert paired_difference(first, second + 1e-17, np.arange(5)).p == 1.0
    assert paired_difference(np.full(5, 0.1 + 0.2), np.full(5, 0.3), np.arange(5)).p == 1.0


def test_a_difference_without_pairs_is_nan():
    assert np.isnan(paired_difference([], [], [])).all()


def test_probes_of_one_subject_widen_a_difference():
    first, second = np.array([1, 0, 1, 1, 0, 1, 1, 1.0]), np.array([0, 0, 1, 0, 0, 1, 0, 1.0])
    once = paired_difference(first, second, np.arange(8))
    thrice = paired_difference(np.repeat(first, 3), np.repeat(second, 3), np.repeat(np.arange(8), 3))
    assert thrice.value == once.value
    assert thrice.high - thrice.low >= (once.high - once.low) * 0.98


@pytest.mark.slow
@pytest.mark.parametrize("n", [24, 100, 400])
@pytest.mark.parametrize(("first_rate", "second_rate"), [(0.02, 0.02), (0.02, 0.3), (0.5, 0.6), (0.98, 0.9), (0.98, 1)])
@pytest.mark.parametrize("shape", ["one probe per subject", "1 to 4 probes", "means of 5 probes"])
def test_intervals_cover(n, first_rate, second_rate, shape):
    """Coverage of shares and paired differences; the figures are in docs/explanation/statistics.md."""
    rng = np.random.default_rng(11)
    hits, difference_hits = [], []
    for _ in range(1000):
        sizes = rng.integers(1, 5, size=n) if shape == "1 to 4 probes" else np.ones(n, int)
        clusters = np.repeat(np.arange(n), sizes)
        shape_of_draws = (len(clusters), 5 if shape == "means of 5 probes" else 1)
        of_subject = rng.random(n)[clusters][:, None]
        first = np.where(rng.random(shape_of_draws) < 0.5, of_subject, rng.random(shape_of_draws))
        second = np.where(rng.random(shape_of_draws) < 0.6, first, rng.random(shape_of_draws))
        values = [(draws < rate).mean(axis=1) for draws, rate in ((first, first_rate), (second, second_rate))]
        share, difference = proportion(values[0], clusters), paired_difference(*values, clusters)
        hits.append(share.low <= first_rate <= share.high)
        difference_hits.append(difference.low - 1e-9 <= first_rate - second_rate <= difference.high + 1e-9)
    figures = np.mean(hits), np.mean(difference_hits)
    logger.info("%s, n = %d, %s and %s: share %.3f, difference %.3f", shape, n, first_rate, second_rate, *figures)
    assert np.mean(hits) > 0.88
    assert np.mean(difference_hits) > 0.9
