"""Prediction from a sample with weights: each step equals that of a table in which rows are repeated."""

import numpy as np
import pandas as pd
import pytest

from edit_robustness.statistics.calibration import Isotonic, Platt, curve, slope_and_intercept, weighted_proportion
from edit_robustness.statistics.design import Trials
from edit_robustness.statistics.discrimination import Resamples, concordance, mean_of
from edit_robustness.statistics.fitting import fit_constant, fit_path, logistic_fitter
from edit_robustness.statistics.intervals import wilson
from edit_robustness.statistics.prediction import predict
from edit_robustness.statistics.validation import Validation

RNG = np.random.default_rng(0)
N = 300
CLUSTER = np.arange(N) // 10
WEIGHTS = 1.0 + CLUSTER % 3
PROBABILITY = np.round(RNG.uniform(0.05, 0.95, N), 2)
TARGET = (RNG.random(N) < PROBABILITY).astype(int)
TIMES = WEIGHTS.astype(int)


def repeat(values):
    return np.repeat(values, TIMES, axis=0)


def resamples(weights=None, codes=CLUSTER):
    return Resamples.draw(codes, 50, 0.95, 1, weights)


def test_a_weighted_regression_path_is_that_of_repeated_rows():
    matrix, strengths = RNG.normal(size=(N, 3)), (0.01, 1.0)
    weighted_result = fit_path(matrix, TARGET, strengths, WEIGHTS)
    repeated_result = fit_path(repeat(matrix), repeat(TARGET), strengths)
    for (_, coefficients, intercept), (_, references, reference) in zip(weighted_result, repeated_result, strict=True):
        assert [*coefficients, intercept] == pytest.approx([*references, reference], abs=1e-4)


@pytest.mark.parametrize("form", [Platt, Isotonic])
def test_weighted_calibration_is_that_of_repeated_rows(form):
    points = np.linspace(0.1, 0.9, 9)
    weighted_result, repeated_result = (
        form.fit(PROBABILITY, TARGET, WEIGHTS),
        form.fit(repeat(PROBABILITY), repeat(TARGET)),
    )
    assert weighted_result(points) == pytest.approx(repeated_result(points), abs=1e-5)
    assert np.abs(weighted_result(points) - form.fit(PROBABILITY, TARGET)(points)).max() > 1e-3


def test_weighted_metrics_and_their_draws_are_those_of_repeated_rows():
    weighted_result, repeated_result = resamples(WEIGHTS), resamples(codes=repeat(CLUSTER))
    strata = np.arange(N) % 2
    pairs = [
        (concordance(PROBABILITY, TARGET, strata, weighted_result).auc(weighted_result),
         concordance(repeat(PROBABILITY), repeat(TARGET), repeat(strata), repeated_result).auc(repeated_result)),
        (mean_of((PROBABILITY - TARGET) ** 2, weighted_result),
         mean_of(repeat((PROBABILITY - TARGET) ** 2), repeated_result)),
    ]  # fmt: skip
    for estimate, reference in pairs:
        assert estimate.value == pytest.approx(reference.value)
        assert estimate.draws == pytest.approx(reference.draws)
    # classes of log odds are cut at quantiles of the rows, so they differ a little
    for estimate, reference in zip(
        slope_and_intercept(PROBABILITY, TARGET, weighted_result),
        slope_and_intercept(repeat(PROBABILITY), repeat(TARGET), repeated_result),
        strict=True,
    ):  # fmt: skip
        assert estimate.value == pytest.approx(reference.value, abs=0.01)
    part = weighted_result.take(np.arange(N) < 100)
    assert mean_of(PROBABILITY[:100], part).value == pytest.approx(np.average(PROBABILITY[:100], weights=WEIGHTS[:100]))


def test_the_interval_of_a_weighted_share_is_that_of_the_ratio_of_totals():
    share = weighted_proportion(TARGET, CLUSTER, WEIGHTS, 0.95)
    value = np.average(TARGET, weights=WEIGHTS)
    totals = pd.Series(WEIGHTS * (TARGET - value)).groupby(CLUSTER).sum() / WEIGHTS.sum()
    variance = (totals**2).sum() * 30 / 29
    spread = np.average((TARGET - value) ** 2, weights=WEIGHTS) * N / (N - 1)
    kish = 1 / (pd.Series(WEIGHTS / WEIGHTS.sum()).groupby(CLUSTER).sum() ** 2).sum()
    size = np.clip(spread / variance, kish, N) * (1.959964 / 2.045230) ** 2
    assert share[:3] == pytest.approx((value, *wilson(value * size, size, 0.95)), rel=1e-5)
    certain = weighted_proportion(np.ones(N), CLUSTER, WEIGHTS, 0.95)
    assert certain.high == 1
    assert certain.low < 0.95
    rows = curve(PROBABILITY, TARGET, CLUSTER, 0.95, WEIGHTS)
    assert rows["n_probes"].sum() == N
    assert np.abs(rows["observed"] - curve(PROBABILITY, TARGET, CLUSTER, 0.95)["observed"]).max() > 1e-3


def probes(weight):
    """Facts with a high feature fail; the sample has too few of them."""
    n = 240
    feature = (np.arange(n) % 7 == 0).astype(float)
    facts = pd.DataFrame(
        {"fact_id": [f"f{i}" for i in range(n)], "subject": [f"s{i}" for i in range(n)],
         "relation": [f"P{i % 12}" for i in range(n)], "x": feature + RNG.normal(0, 0.05, n)}
    ).assign(weight=np.where(feature == 1, weight, 1.0))  # fmt: skip
    rows = facts.merge(pd.DataFrame({"method": ["rome", "ft"], "kind": "statement", "family": "edit"}), how="cross")
    probability = np.where(rows["x"] > 0.5, 0.2, 0.8)
    return rows.assign(value=(RNG.random(len(rows)) < probability).astype(float))


def test_predictions_of_a_weighted_sample_are_about_the_population():
    rows = probes(5.0)
    trials = Trials.of(rows, ["x"], "relation")
    share = np.average(rows["value"], weights=rows["weight"])
    assert fit_constant(trials, 0, "platt").probability(trials)[0] == pytest.approx(share)
    probability = logistic_fitter(["x"])(trials, 0, "platt").probability(trials)
    assert np.average(probability, weights=rows["weight"]) == pytest.approx(share, abs=0.03)
    assert Trials.of(rows.assign(weight=3.0), ["x"], "relation").weight is None


def test_metrics_of_held_out_probes_use_the_weights():
    rows, validation = probes(5.0), Validation(bootstrap=50, permutations=0, folds=3, predictors=("full",))
    tables = [predict(table, ["x"], validation).prediction for table in (rows, rows.assign(weight=1.0))]
    briers = [table.set_index(["predictor", "metric"]).loc[("constant", "brier"), "value"] for table in tables]
    shares = [np.average(rows["value"], weights=weights) for weights in (rows["weight"], np.ones(len(rows)))]
    assert briers == pytest.approx([share * (1 - share) for share in shares], abs=0.02)
