from dataclasses import replace

import numpy as np
import pytest
from fabricated_outcomes import FEATURES, fabricate_outcomes

from edit_robustness.labels import PREDICTORS
from edit_robustness.statistics.design import Design, Trials
from edit_robustness.statistics.fitting import AGAINST, fitters, inner_folds, logistic_fitter, split
from edit_robustness.statistics.prediction import predict
from edit_robustness.statistics.validation import Validation, probes_of_edits

QUICK = Validation(bootstrap=300)
FULL = Validation(bootstrap=300, permutations=0, predictors=("full",))
"""The predictor that knows all features alone."""


@pytest.fixture(scope="module")
def predictions():
    outcomes = fabricate_outcomes(relation_sd=0.5)
    outcomes.loc[outcomes["fact_id"].isin(["f1", "f2", "f3"]), "log_views"] = np.nan
    return predict(outcomes, FEATURES, QUICK)


def find(table, predictor, metric):
    return table.query("predictor == @predictor and metric == @metric").iloc[0]


def test_features_that_matter_beat_what_knows_method_and_kind(predictions):
    table = predictions.prediction
    assert find(table, "constant", "auc")["value"] == 0.5
    assert find(table, "method_kind", "auc_within")["value"] == 0.5
    full = find(table, "full", "auc_within")
    assert full["low"] > 0.6
    assert full["against"] == "method_kind_perplexity"
    step = find(table, "method_kind_perplexity", "auc_within")
    assert step["against"] == "method_kind"
    assert step["step_low"] > 0.05
    assert find(table, "full", "brier_skill_method_kind")["low"] > 0.05
    assert find(table, "full", "brier")["value"] < find(table, "method_kind", "brier")["value"]
    assert find(table, "full", "calibration_slope")["value"] == pytest.approx(1, abs=0.3)


def test_every_figure_has_an_interval_and_counts(predictions):
    table = predictions.prediction
    rows = table[table["value"].notna()]
    assert (rows["low"] <= rows["value"] + 1e-12).all()
    assert (rows["value"] <= rows["high"] + 1e-12).all()
    step_rows = rows[rows["step"].notna()]
    assert (step_rows["step_low"] <= step_rows["step"] + 1e-12).all()
    assert set(rows["n_facts"]) == {150}
    assert set(rows["n_groups"]) == {20}
    assert set(rows["note"]) == {""}


def test_where_it_fails_is_shown_by_kind(predictions):
    table = predictions.prediction
    assert find(table, "full", "auc:statement")["low"] > 0.6
    # in the made-up study features do not matter for specificity
    specificity_row = find(table, "full", "auc:neighbourhood")
    assert specificity_row["low"] < 0.5 < specificity_row["high"]


def test_the_features_that_matter_are_the_important_ones(predictions):
    table = predictions.importance.query("metric == 'auc_within'").sort_values("value", ascending=False)
    assert table["feature"].tolist()[:2] == ["log_perplexity_new", "log_views"]
    assert table.iloc[0]["low"] > 0
    unimportant_rows = table[~table["feature"].isin(["log_perplexity_new", "log_views"])]
    assert (unimportant_rows["low"] < 0.01).all()
    assert table.set_index("feature").loc["log_views", "n_missing"] == 3


def test_calibration_has_a_curve_per_predictor(predictions):
    table = predictions.calibration
    assert set(table["predictor"]) == set(PREDICTORS) - {"constant"}
    full = table[table["predictor"] == "full"]
    assert full["n_probes"].sum() == find(predictions.prediction, "full", "auc")["n_probes"]
    assert ((full["low"] < full["predicted"]) & (full["predicted"] < full["high"])).mean() > 0.6


def test_every_predictor_has_a_label_and_a_comparison():
    assert set(fitters(FEATURES)) == set(PREDICTORS) == {*AGAINST, "constant"}


def test_a_relations_luck_does_not_leak():
    """Nothing but each relation's own luck decides, and a feature names the relation."""
    outcomes = fabricate_outcomes(
        400, signal=0, relation_sd=3.0, luck_sd=0, n_relations=12, kinds={"statement": "edit"}
    )
    outcomes["margin"] = outcomes["relation"].str[1:].astype(float)
    by_relation = predict(outcomes, FEATURES, FULL).prediction
    boosting = Validation(groups="subject", bootstrap=100, permutations=0, predictors=("boosting",))
    by_subject = predict(outcomes, FEATURES, boosting).prediction
    assert find(by_relation, "full", "auc_within")["value"] < 0.6
    assert find(by_subject, "boosting", "auc_within")["value"] > 0.65
    assert set(by_subject["groups"]) == {"subject"}


def test_the_test_fold_has_no_part_in_a_choice():
    """The same training trials give the same fit, whatever the outcomes of the test trials are."""
    outcomes = fabricate_outcomes(100)
    trials = Trials.of(outcomes, FEATURES, "relation")
    train, test = next(split(trials, 5, 0))
    flipped_outcomes = outcomes.assign(value=outcomes["value"].where(~outcomes.index.isin(test), 1 - outcomes["value"]))
    fits = [
        logistic_fitter(FEATURES)(Trials.of(rows, FEATURES, "relation").take(train), 0, "platt")
        for rows in (outcomes, flipped_outcomes)
    ]
    assert (fits[0].coefficients == fits[1].coefficients).all()
    assert fits[0].calibration == fits[1].calibration


def test_groups_are_whole_in_inner_and_outer_folds():
    trials = Trials.of(fabricate_outcomes(80), FEATURES, "relation")
    for folds in (list(split(trials, 5, 0)), inner_folds(trials, 0)):
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(trials)))
        for train, test in folds:
            assert not set(trials.group[train]) & set(trials.group[test])


def test_the_slopes_may_differ_between_methods():
    """The effect of a feature on one method is the opposite of that on the other."""
    outcomes = fabricate_outcomes(200, signal=0, kinds={"statement": "edit"}, seed=3)
    sign = np.where(outcomes["method"] == "rome", 1.0, -1.0)
    probability = 1 / (1 + np.exp(-2.5 * sign * outcomes["margin"]))
    outcomes["value"] = (np.random.default_rng(0).random(len(outcomes)) < probability).astype(float)
    table = predict(outcomes, FEATURES, FULL).prediction
    assert find(table, "full", "auc_within")["low"] > 0.75


def test_a_bent_effect_is_found():
    outcomes = fabricate_outcomes(250, signal=0, luck_sd=0, kinds={"statement": "edit", "cloze": "edit"})
    probability = 1 / (1 + np.exp(-(3 * np.abs(outcomes["margin"]) - 2.4)))
    outcomes["value"] = (np.random.default_rng(0).random(len(outcomes)) < probability).astype(float)
    table = predict(outcomes, FEATURES, FULL).prediction
    assert find(table, "full", "auc_within")["low"] > 0.65


def test_what_is_predicted_are_the_probes_of_edits():
    outcomes = fabricate_outcomes(20, methods=("none", "context", "rome"))
    probes = probes_of_edits(outcomes)
    assert set(probes["method"]) == {"rome"}
    assert set(zip(probes["family"], probes["metric"], strict=True)) == {
        ("edit", "success"),
        ("specificity", "specificity"),
    }
    assert probes_of_edits(outcomes.assign(protocol="teacher_forced")).empty
    assert probes_of_edits(outcomes.assign(metric="reversion")).empty


def test_few_facts_or_relations_cannot_tell():
    small_prediction = predict(fabricate_outcomes(24), FEATURES, FULL).prediction
    assert set(small_prediction["note"]) == {"24 facts: cannot tell (at least 100 needed)"}
    narrow = predict(fabricate_outcomes(120, n_relations=6), FEATURES, FULL).prediction
    assert set(narrow["note"]) == {"6 relations: cannot tell (at least 10 needed)"}


def test_a_rare_outcome_cannot_tell():
    outcomes = fabricate_outcomes(150, signal=0)
    outcomes["value"] = (outcomes.index % 20 == 0).astype(float)
    table = predict(outcomes, FEATURES, FULL).prediction
    reason = "45 of 900 probes succeeded: cannot tell (at least 50 of both outcomes needed)"
    assert set(table["note"]) == {reason}


def test_what_cannot_be_predicted_says_why():
    outcomes = fabricate_outcomes(60)
    for rows, reason in (
        (outcomes.assign(value=1.0), "nothing to predict"),
        (outcomes.assign(method="none"), "no probes"),
        (outcomes.assign(value=(outcomes["relation"] == "P1").astype(float)), "60 facts: cannot tell"),
    ):
        tables = predict(rows, FEATURES, QUICK)
        assert reason in tables.prediction.loc[0, "note"]
        assert tables.importance.empty
        assert tables.calibration.empty


def test_features_that_are_missing_or_constant_are_left_out():
    outcomes = fabricate_outcomes(120).assign(margin=np.nan, recalled=0.0)
    outcomes["log_views"] = outcomes["log_views"].where(outcomes["fact_id"] != "f0", np.inf)
    trials = Trials.of(outcomes, FEATURES, "relation")
    design = Design.fit(trials, FEATURES)
    assert {scale.name for scale in design.scales} == {"log_views", "log_perplexity_true", "log_perplexity_new"}
    assert {scale.name for scale in design.scales if scale.share_missing} == {"log_views"}
    assert np.isfinite(design.matrix(trials)).all()
    table = predict(outcomes, FEATURES, replace(FULL, permutations=2))
    assert find(table.prediction, "full", "auc_within")["low"] > 0.6
    assert (table.importance.query("feature == 'margin'")["value"] == 0).all()


def test_without_perplexity_there_is_no_predictor_of_it():
    table = predict(fabricate_outcomes(120), ["log_views"], Validation(bootstrap=100, permutations=0)).prediction
    assert set(table["predictor"]) == {"constant", "method_kind", "full", "boosting"}
    assert set(table.query("predictor == 'full'")["against"]) - {""} == {"method_kind"}


def test_the_seed_decides():
    outcomes = fabricate_outcomes(60)
    validation = Validation(folds=2, bootstrap=100, seed=3, permutations=1)
    first, second = (predict(outcomes, FEATURES, validation) for _ in range(2))
    assert first.prediction.equals(second.prediction)
    assert first.importance.equals(second.importance)
