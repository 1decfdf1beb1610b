import numpy as np
import pandas as pd
import pytest
from scipy import stats

from edit_robustness.statistics.intervals import effective_size, proportion, rates, wilson


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
    assert effective_size(np.array([1, 0, 1.0]), np.array(list("abc"))) == 3
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
