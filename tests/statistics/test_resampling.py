import numpy as np
import pytest
from scipy import stats

from edit_robustness.statistics import resampling
from edit_robustness.statistics.resampling import mean_interval, percentiles, resampled_means


def test_the_interval_is_that_of_scipys_percentile_bootstrap():
    values = np.random.default_rng(0).exponential(1, 60)
    value, low, high = mean_interval(values, 0.95, 20000, 0)
    reference = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000, rng=1).confidence_interval
    assert value == values.mean()
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=0.01)


def test_columns_are_drawn_together_and_alike_for_a_seed():
    values = np.random.default_rng(0).normal(size=(9, 1))
    means = resampled_means(np.hstack([values, 2 * values]), 50, 3)
    np.testing.assert_allclose(means[:, 1], 2 * means[:, 0])
    np.testing.assert_array_equal(means, resampled_means(np.hstack([values, 2 * values]), 50, 3))


def test_how_many_are_held_at_once_changes_nothing(monkeypatch):
    values = np.arange(10.0)
    means = resampled_means(values, 7, 0)
    monkeypatch.setattr(resampling, "AT_ONCE", 25)
    np.testing.assert_array_equal(resampled_means(values, 7, 0), means)


def test_little_to_resample():
    assert np.isnan(mean_interval(np.array([]), 0.95, 10, 0)).all()
    assert np.isnan(mean_interval(np.array([1.0]), 0.95, 10, 0)[1:]).all()
    assert np.isnan(percentiles(np.array([np.nan]), 0.95)).all()
