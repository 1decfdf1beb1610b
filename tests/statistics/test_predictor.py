"""The predictor as a file: equal to scikit-learn, explained by its features, and refused where it was not trained."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fabricated_outcomes import FEATURES, KINDS, METHODS, fabricate_outcomes, record_run, summarise
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from edit_robustness.statistics.design import Trials
from edit_robustness.statistics.fitting import logistic_fitter
from edit_robustness.statistics.predictor import OtherPredictor, Predictor, read_predictor, write_predictors
from edit_robustness.statistics.predictor_training import train, validate_and_train
from edit_robustness.statistics.validation import Validation

QUICK = Validation(bootstrap=200)
SETTINGS = record_run()["methods"]["tiny"]


@pytest.fixture(scope="module")
def outcomes():
    rows = fabricate_outcomes(150, relation_sd=0.4)
    return rows.assign(log_views=rows["log_views"].where(~rows["fact_id"].isin(["f1", "f2", "f3"])))


@pytest.fixture(scope="module")
def content(outcomes):
    """The content of the file after JSON."""
    *_, content = validate_and_train(outcomes, summarise(), [record_run()], QUICK)
    return json.loads(json.dumps(content, allow_nan=False))


@pytest.fixture(scope="module")
def predictor(content):
    return read_predictor(content, "tiny")


@pytest.fixture(scope="module")
def facts(outcomes):
    return outcomes.drop_duplicates("fact_id")[["fact_id", *FEATURES]].reset_index(drop=True)


@pytest.mark.parametrize("form", ["platt", "isotonic"])
def test_the_file_predicts_what_scikit_learn_does(outcomes, facts, form):
    """A regression fitted by scikit-learn to the same design, and its own isotonic or logistic map."""
    validation = replace(QUICK, form=form)
    fit = logistic_fitter(FEATURES)(Trials.of(outcomes, FEATURES, "relation"), 0, form)
    empty = pd.DataFrame(columns=["predictor", "groups", "metric"])
    training_result = train(outcomes, FEATURES, empty, record_run(), validation)
    predictor = Predictor.read(json.loads(json.dumps(training_result.plain())))
    table = predictor.predict(facts, METHODS, list(KINDS))

    rows = outcomes.drop_duplicates(["fact_id", "method", "kind"])
    trials = Trials.of(rows, FEATURES, "relation")
    model = LogisticRegression(solver="newton-cholesky", C=fit.strength, tol=1e-6, max_iter=100)
    model.coef_, model.intercept_ = fit.coefficients[None, :], np.array([fit.intercept])
    model.classes_ = np.array([0, 1])
    probability = model.predict_proba(fit.design.matrix(trials))[:, 1]
    if form == "isotonic":
        calibration = IsotonicRegression(out_of_bounds="clip")
        points = fit.calibration.plain()
        calibration.fit(points["points"], points["values"])
        probability = calibration.predict(probability)
    else:
        calibration = LogisticRegression()
        calibration.coef_ = np.array([[fit.calibration.slope]])
        calibration.intercept_ = np.array([fit.calibration.intercept])
        calibration.classes_ = np.array([0, 1])
        probability = calibration.predict_proba(np.log(probability / (1 - probability))[:, None])[:, 1]
    probabilities = rows[["fact_id", "method", "kind"]].assign(expected=probability)
    joint_table = table.merge(probabilities, on=["fact_id", "method", "kind"], validate="one_to_one")
    assert len(joint_table) == len(table) == len(facts) * len(METHODS) * len(KINDS)
    assert joint_table["probability"].to_numpy() == pytest.approx(joint_table["expected"].to_numpy(), abs=1e-9)


def test_the_fit_is_the_optimum_of_the_penalised_likelihood(outcomes):
    """The gradient of sum of losses + |coefficients|^2 / 2C is zero: a transcription of the objective."""
    trials = Trials.of(outcomes, FEATURES, "relation")
    fit = logistic_fitter(FEATURES)(trials, 0, "platt")
    matrix = fit.design.matrix(trials)
    residual = 1 / (1 + np.exp(-(fit.intercept + matrix @ fit.coefficients))) - trials.target
    assert np.abs(matrix.T @ residual + fit.coefficients / fit.strength).max() < 1e-2
    assert abs(residual.sum()) < 1e-2


def test_the_file_says_what_it_was_trained_on(content):
    predictor = content["predictors"]["tiny"]
    assert content["schema"] == 1
    assert predictor["fingerprint"] == "abc"
    assert predictor["methods"] == SETTINGS
    assert predictor["kinds"] == KINDS
    assert predictor["datasets"] == ["counterfact"]
    assert (predictor["n_facts"], predictor["n_probes"], predictor["n_groups"]) == (150, 900, 20)
    auc = predictor["held_out"]["auc_within"]
    assert auc["low"] < auc["value"] < auc["high"]
    assert {"brier", "brier_skill", "auc:statement"} <= set(predictor["held_out"])
    feature = predictor["regression"]["features"][0]
    assert {"name", "fill", "mean", "scale", "low", "high", "share_missing"} <= set(feature)


def test_contributions_are_from_an_average_fact(predictor):
    """The average is the same for all facts, and the drivers tell how a fact differs from it."""
    scales = {scale.name: scale for scale in predictor.fit.design.scales}
    average = pd.DataFrame([{"fact_id": "x", **{name: scale.mean for name, scale in scales.items()}}])
    high = average.assign(fact_id="y", log_perplexity_new=scales["log_perplexity_new"].high)
    table = predictor.predict(pd.concat([average, high]), ["rome"], ["statement"]).set_index("fact_id")
    assert table.loc["x", "average"] == pytest.approx(table.loc["y", "average"], abs=1e-12)
    assert table.loc["y", "probability"] < table.loc["y", "average"] - 0.1
    first = table.loc["y", "drivers"].split(";")[0]
    assert first.startswith("Label of log_perplexity_new -")
    change = 100 * (table.loc["y", "probability"] - table.loc["y", "average"])
    assert int(first.split()[-1]) == pytest.approx(change, abs=8)


def test_a_fact_outside_the_range_is_marked_and_clipped(predictor):
    scales = {scale.name: scale for scale in predictor.fit.design.scales}
    base = {name: scale.mean for name, scale in scales.items()}
    top = scales["log_perplexity_new"].high
    facts = pd.DataFrame(
        [
            {"fact_id": "edge", **base, "log_perplexity_new": top},
            {"fact_id": "far", **base, "log_perplexity_new": top + 100},
            {"fact_id": "unknown", **base, "log_views": np.nan},
        ]
    )
    table = predictor.predict(facts, ["rome"], ["statement"]).set_index("fact_id")
    assert table["outside"].to_dict() == {"edge": "", "far": "Label of log_perplexity_new", "unknown": ""}
    assert table["missing"].to_dict() == {"edge": "", "far": "", "unknown": "Label of log_views"}
    assert table.loc["far", "probability"] == table.loc["edge", "probability"]


def check(predictor, **changes):
    arguments = {"model": "tiny", "fingerprint": "abc", "methods": SETTINGS, "kinds": ["statement"], **changes}
    predictor.check(*arguments.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": "other"}, "fingerprint abc, and `tiny` is now other"),
        ({"methods": {**SETTINGS, "memit": {}}}, 'not trained on memit, but on ft, rome.*"preflight.methods=ft rome"'),
        (
            {"methods": {"rome": {"layer": 3, "lr": 0.5}}},
            r"other settings \(layer 1, now 3\): set methods.rome.tiny back",
        ),
        ({"kinds": ["doubt", "statement"]}, "not trained on the kinds doubt, but on cloze, neighbourhood, statement"),
    ],
)
def test_what_it_was_not_trained_on_is_refused(predictor, changes, message):
    check(predictor)
    with pytest.raises(OtherPredictor, match=message):
        check(predictor, **changes)


def test_another_model_is_refused(content):
    with pytest.raises(OtherPredictor, match="not trained on model `gpt2`, but on tiny"):
        read_predictor(content, "gpt2")
    with pytest.raises(OtherPredictor, match="schema 1"):
        read_predictor({"schema": 0}, "tiny")
    predictor_without_coefficients = {**content["predictors"]["tiny"], "regression": {}}
    with pytest.raises(ValueError, match="make it again"):
        read_predictor({"schema": 1, "predictors": {"tiny": predictor_without_coefficients}}, "tiny")


def test_facts_without_a_feature_are_refused(predictor, facts):
    with pytest.raises(OtherPredictor, match="lack features that the predictor reads: log_perplexity_new"):
        predictor.predict(facts.drop(columns="log_perplexity_new"), ["rome"], ["statement"])


def test_the_file_of_no_predictor():
    assert write_predictors([]) == {"schema": 1, "predictors": {}}
