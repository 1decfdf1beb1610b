"""AUC, Brier score and calibration against R's pROC and glm (tests/reference/discrimination.R)."""

import json

import numpy as np
import pytest
from record_discrimination import RECORD, make_predictions
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from edit_robustness.statistics.calibration import Isotonic, Platt, curve, log_odds, read_map, slope_and_intercept
from edit_robustness.statistics.discrimination import Estimate, Resamples, auc, concordance, mean_of, skill
from edit_robustness.statistics.intervals import wilson


@pytest.fixture(scope="module")
def data():
    return make_predictions()


@pytest.fixture(scope="module")
def reference():
    return json.loads(RECORD.read_text())


def draw(data, bootstrap=200):
    return Resamples.draw(data["cluster"].to_numpy(), bootstrap, 0.95, 0)


def columns(data, *names):
    return [data[name].to_numpy() for name in names]


def test_auc_is_that_of_proc(data, reference):
    p, y, stratum = columns(data, "p", "y", "stratum")
    assert auc(y, p) == pytest.approx(reference["auc"], abs=1e-12)
    within = concordance(p, y, stratum, draw(data)).auc(draw(data))
    assert within.value == pytest.approx(reference["auc_within"], abs=1e-12)


def test_a_resample_is_the_auc_of_its_rows(data):
    """Draw the rows of each cluster as often as it is drawn, and compute the AUC by another library."""
    p, y, cluster = columns(data, "p", "y", "cluster")
    resamples = draw(data, 5)
    draws = concordance(p, y, np.zeros(len(data), dtype=int), resamples).auc(resamples).draws
    for weights, value in zip(resamples.weights, draws, strict=True):
        rows = np.repeat(np.arange(len(data)), weights[resamples.codes].astype(int))
        assert value == pytest.approx(roc_auc_score(y[rows], p[rows]), abs=1e-12)
    assert resamples.weights.sum(axis=1).tolist() == [len(set(cluster))] * 5


def test_brier_score_and_skill(data, reference):
    p, y = columns(data, "p", "y")
    resamples, errors = draw(data), (p - y) ** 2
    assert mean_of(errors, resamples).value == pytest.approx(reference["brier"], abs=1e-12)
    constant = (y.mean() - y) ** 2
    assert skill(errors, constant, resamples).value == pytest.approx(reference["brier_skill"], abs=1e-12)
    assert np.isnan(skill(errors, np.zeros(len(y)), resamples).value)


def test_calibration_is_that_of_glm(data, reference):
    p, y, w = columns(data, "p", "y", "w")
    slope, intercept = slope_and_intercept(p, y, draw(data))
    assert slope.value == pytest.approx(reference["calibration_slope"], abs=1e-6)
    assert intercept.value == pytest.approx(reference["calibration_intercept"], abs=1e-6)
    codes = draw(data).codes
    weights = np.array([[w[codes == code][0] for code in range(codes.max() + 1)]], dtype=float)
    draws = slope_and_intercept(p, y, Resamples(codes, weights, 0.95))[0].draws
    assert draws[0] == pytest.approx(reference["weighted_slope"], abs=1e-6)


def test_the_maps_are_those_of_glm_and_of_scikit_learn(data, reference):
    p, y = columns(data, "p", "y")
    platt = Platt.fit(p, y)
    assert [platt.intercept, platt.slope] == pytest.approx(reference["platt"], abs=1e-6)
    isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p, y)
    test = np.linspace(0, 1, 500)
    assert Isotonic.fit(p, y)(test) == pytest.approx(isotonic.predict(test), abs=1e-12)
    for calibration in (platt, Isotonic.fit(p, y)):
        again = read_map(json.loads(json.dumps(calibration.plain())))
        assert (again(test) == calibration(test)).all()
    # scikit-learn's sigmoid smooths the targets, so it is close but not equal
    sigmoid = _SigmoidCalibration().fit(log_odds(p), y)
    assert platt(test) == pytest.approx(sigmoid.predict(log_odds(test)), abs=0.02)


def test_a_map_never_turns_the_order_around():
    p = np.linspace(0.1, 0.9, 50)
    assert Platt.fit(p, (p < 0.5).astype(int)) == Platt(1.0, 0.0)
    assert Platt.fit(np.full(50, 0.5), (p < 0.5).astype(int)) == Platt(1.0, 0.0)


def test_an_unknown_map_is_refused():
    with pytest.raises(ValueError, match="spline"):
        read_map({"form": "spline"})


def test_the_curve_has_all_probes_and_equal_predictions_in_one_class(data):
    p, y, cluster = columns(data, "p", "y", "cluster")
    table = curve(p, y, cluster, 0.95)
    assert table["n_probes"].sum() == len(data)
    assert table["predicted"].is_monotonic_increasing
    assert ((table["low"] <= table["observed"]) & (table["observed"] <= table["high"])).all()
    assert len(curve(np.full(len(p), 0.5), y, cluster, 0.95)) == 1


def test_the_curve_by_hand():
    p, y, cluster = np.linspace(0.05, 0.81, 20), np.tile([0, 1, 1, 1], 5), np.arange(20)
    table = curve(p, y, cluster, 0.9)
    assert table["bin"].tolist() == list(range(1, 11))
    assert table["predicted"].tolist() == pytest.approx(p.reshape(10, 2).mean(axis=1))
    assert table["observed"].tolist() == [0.5, 1] * 5
    assert table["n_probes"].tolist() == [2] * 10
    for row, values in zip(table.to_dict("records"), y.reshape(10, 2), strict=True):
        assert (row["low"], row["high"]) == pytest.approx(wilson(values.sum(), 2, 0.9))


def test_equal_predictions_have_no_slope_and_chance_auc(data):
    y = data["y"].to_numpy()
    constant = np.full(len(y), 0.5)
    assert auc(y, constant) == 0.5
    assert np.isnan(slope_and_intercept(constant, y, draw(data))[0].value)


def test_one_outcome_or_one_cluster_has_no_figure():
    assert np.isnan(auc(np.ones(5), np.linspace(0, 1, 5)))
    single = Resamples.draw(np.zeros(5), 50, 0.95, 0)
    assert np.isnan(single.interval(np.ones(50))).all()


def test_intervals_are_wider_than_percentiles_for_few_clusters():
    draws = np.random.default_rng(0).normal(size=20000)
    widths = [np.ptp(Resamples.draw(np.arange(k), 10, 0.95, 0).interval(draws)) for k in (6, 30, 2000)]
    assert widths[0] > widths[1] > widths[2] == pytest.approx(2 * 1.96, abs=0.1)


def test_the_expanded_percentiles_of_six_clusters():
    # sqrt(6 / 5) times the t quantile 2.0150 of 5 degrees of freedom is 2.2074, a normal tail of .01364
    low, high = Resamples.draw(np.arange(6), 10, 0.9, 0).interval(np.linspace(0, 1, 1001))
    assert (low, high) == pytest.approx((0.01364, 1 - 0.01364), abs=1e-5)


def test_a_resample_is_calibrated_as_its_rows_are(data):
    p, y, cluster = (values[:60] for values in columns(data, "p", "y", "cluster"))
    resamples = Resamples.draw(cluster, 3, 0.95, 0)
    estimates = slope_and_intercept(p, y, resamples)
    for number, weights in enumerate(resamples.weights):
        rows = np.repeat(np.arange(60), weights[resamples.codes].astype(int))
        again = slope_and_intercept(p[rows], y[rows], Resamples.draw(cluster[rows], 2, 0.95, 0))
        for estimate, reference in zip(estimates, again, strict=True):
            assert estimate.draws[number] == pytest.approx(reference.value, abs=1e-6)


def test_differences_pair_the_draws():
    first, second = Estimate(0.7, np.array([0.6, 0.8])), Estimate(0.5, np.array([0.4, 0.6]))
    difference = first - second
    assert difference.value == pytest.approx(0.2)
    assert difference.draws == pytest.approx([0.2, 0.2])
