"""Regressions of a sample with weights, against a naive transcription and against a table with repeated rows."""

import numpy as np
import pandas as pd
import pytest
from naive_gee import naive_gee
from regression_data import simulate

from edit_robustness.statistics.regression import RegressionModel, regress
from edit_robustness.statistics.regression.design import Design
from edit_robustness.statistics.regression.equations import cluster_influences
from edit_robustness.statistics.regression.estimators import ESTIMATORS
from edit_robustness.statistics.regression.fits import Regression, count_effective, fit_model
from edit_robustness.statistics.regression.rows import select_rows

FORMULA = "success ~ kind + method*log_views"
METHODS = ("ft", "rome")


@pytest.fixture(scope="module")
def outcomes():
    """60 subjects with the weights 1, 2 and 3."""
    rows = simulate(60, 6, methods=METHODS, slopes=-0.4, seed=5)
    return rows.assign(weight=1.0 + rows["fact_id"].str[1:].astype(int) % 3)


def fit(outcomes, **settings):
    model = RegressionModel(formula=FORMULA, **settings)
    rows = select_rows(outcomes, model).table
    regression = Regression(rows, Design(model.parsed, rows), model.family, model.groups)
    return fit_model(regression, ESTIMATORS[model.method].equations, 0.95)


def repeat(outcomes, as_others):
    """Each row as often as its weight says; each time for another subject, or for the same one."""
    parts = []
    for number in range(3):
        part = outcomes[outcomes["weight"] > number]
        suffix = f"/{number}" if as_others else ""
        parts.append(part.assign(subject=part["subject"] + suffix, probe_id=part["probe_id"] + f"/{number}"))
    return pd.concat(parts, ignore_index=True).drop(columns="weight")


def by_name(regression):
    """Coefficients without the intercept and the terms with views, whose centre is the plain mean of the rows."""
    return {
        column.name: beta
        for column, beta in zip(regression.columns, regression.beta, strict=True)
        if column.variables and not column.name.startswith("method")
    }


def test_weighted_gee_is_a_naive_transcription(outcomes):
    regression = fit(outcomes)
    labels = pd.factorize(regression.rows["subject"].astype(str))[0]
    # weights that differ within a subject, too
    rng = np.random.default_rng(0)
    for weights in (regression.weights, rng.permutation(regression.weights)):
        again = fit_with(regression, weights)
        beta, spread = naive_gee(again.y, again.x, labels, weights=weights)
        assert again.beta == pytest.approx(beta, abs=1e-6)
        plain = cluster_influences(again.x, again.solution, again.clusters, "binomial", False, weights)
        assert plain.T @ plain == pytest.approx(spread, rel=1e-6)


def fit_with(regression, weights):
    rows = regression.rows.assign(weight=weights)
    return fit_model(Regression(rows, regression.design, "binomial", "subject"), ESTIMATORS["gee"].equations, 0.95)


def test_a_subject_of_weight_two_counts_as_two_subjects_in_gee(outcomes):
    weighted_fit, repeated_fit = by_name(fit(outcomes)), by_name(fit(repeat(outcomes, as_others=True)))
    assert weighted_fit.keys() == repeated_fit.keys()
    # the moments of the correlation subtract the number of terms from rows and pairs, which are fewer here
    assert list(weighted_fit.values()) == pytest.approx(list(repeated_fit.values()), abs=0.002)
    plain_fit = by_name(fit(outcomes.drop(columns="weight")))
    assert max(abs(plain_fit[name] - weighted_fit[name]) for name in weighted_fit) > 0.02


@pytest.mark.parametrize("family", ["binomial", "gaussian"])
def test_glm_with_weights_is_that_of_repeated_rows_with_the_errors_of_the_same_subjects(outcomes, family):
    settings = {"family": family, "estimator": "glm_cluster"}
    weighted_fit, repeated_fit = fit(outcomes, **settings), fit(repeat(outcomes, as_others=False), **settings)
    values, references = by_name(weighted_fit), by_name(repeated_fit)
    assert list(values.values()) == pytest.approx(list(references.values()), abs=1e-7)
    factors = [(len(f.y) - 1) / (len(f.y) - f.x.shape[1]) for f in (weighted_fit, repeated_fit)]
    names = [column.name for column in weighted_fit.columns]
    for name in values:
        index = names.index(name)
        errors = [
            np.sqrt(f.covariance[index, index] / factor)
            for f, factor in zip((weighted_fit, repeated_fit), factors, strict=True)
        ]
        assert errors[0] == pytest.approx(errors[1], rel=1e-6)


def test_effects_in_points_are_those_of_the_weighted_rows(outcomes):
    model = {"mine": RegressionModel(formula="success ~ kind + log_views", estimator="glm_cluster")}
    weighted_fit, repeated_fit = (
        regress(table, model)[0].set_index("term")["effect"] for table in (outcomes, repeat(outcomes, as_others=False))
    )
    assert weighted_fit.to_numpy() == pytest.approx(repeated_fit.to_numpy(), abs=1e-4, nan_ok=True)


def test_weights_cost_degrees_of_freedom(outcomes):
    weighted_fit, plain = fit(outcomes), fit(outcomes.drop(columns="weight"))
    # (60 * 2)^2 / (20 * (1 + 4 + 9)) = 51.4 of 60 subjects
    assert count_effective(weighted_fit.clusters, weighted_fit.weights) == pytest.approx(14400 / 280)
    assert weighted_fit.freedom <= 51 - weighted_fit.n_between < plain.freedom == 60 - plain.n_between
    assert fit(outcomes.assign(weight=7.0)).weights is None


@pytest.mark.parametrize(
    ("settings", "flag", "text"),
    [
        ({"formula": "success ~ kind"}, "fine", "weighted by `weight`"),
        ({"formula": "answer ~ kind", "family": "ordinal"}, "caution", "this estimator is unweighted"),
        ({"formula": "success ~ kind", "family": "conditional"}, "caution", "this estimator is unweighted"),
    ],
)
def test_the_checks_say_whether_weights_are_used(outcomes, settings, flag, text):
    _, checks = regress(outcomes, {"mine": RegressionModel(**settings)})
    row = checks.set_index("check").loc["weights"]
    assert row["flag"] == flag
    assert text in row["action"]
    _, checks = regress(outcomes.drop(columns="weight"), {"mine": RegressionModel(**settings)})
    assert "weights" not in set(checks["check"])
