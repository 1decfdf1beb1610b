"""Corrections for several tests, compared with statsmodels."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from edit_robustness.statistics.multiplicity import benjamini_hochberg, holm


@pytest.mark.parametrize(("correct", "method"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_adjusted_p_values_equal_those_of_statsmodels(correct, method, n):
    rng = np.random.default_rng(n)
    p_values = np.round(rng.random(n) ** 3, 2)
    np.testing.assert_array_equal(correct(p_values), multipletests(p_values, method=method)[1])
    with_gaps = np.insert(p_values, [0, n // 2, n], np.nan)
    np.testing.assert_array_equal(correct(with_gaps)[~np.isnan(with_gaps)], correct(p_values))
    assert np.isnan(correct(with_gaps)[np.isnan(with_gaps)]).all()


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_no_test_has_no_p_value(correct):
    assert len(correct([])) == 0
    assert np.isnan(correct([np.nan, np.nan])).all()
