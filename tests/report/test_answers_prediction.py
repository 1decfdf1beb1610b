"""Sentences on prediction: each one follows its numbers, and says the opposite if they do."""

import pandas as pd
import pytest
from fabricated_rankings import NAN

from edit_robustness.labels import PREDICTION_METRICS
from edit_robustness.report.answers.prediction import describe_prediction, describe_predictor
from edit_robustness.report.page import environment
from edit_robustness.report.rows import records

EMPTY = pd.DataFrame()


def make_prediction(**values):
    return pd.DataFrame(
        [
            {"model": "m", "predictor": "full", "groups": "relation", "trained_on": "", "metric": "auc_within",
             "value": 0.62, "low": 0.55, "high": 0.7, "n_facts": 400, "note": "", **values}
        ]
    )  # fmt: skip


class TestPrediction:
    @pytest.mark.parametrize(
        ("low", "high", "phrase"),
        [
            (0.55, 0.70, "The features of a fact predict success beyond method and kind"),
            (0.45, 0.70, "do not predict success significantly beyond method and kind"),
            (0.30, 0.45, "predict success worse than a constant does, beyond method and kind"),
        ],
    )
    def test_the_verdict_is_that_of_the_interval(self, low, high, phrase):
        text = describe_prediction(make_prediction(low=low, high=high))
        assert phrase in text
        assert f"0.62 [{low:.2f}, {high:.2f}], 400 facts on held-out relations" in text

    def test_doubts_of_the_table_are_passed_on(self):
        text = describe_prediction(make_prediction(note="24 facts: cannot tell (at least 100 needed)"))
        assert text.startswith("Whether success can be predicted before the edit cannot be told (24 facts: cannot tell")
        assert "cannot be told (no interval;" in describe_prediction(make_prediction(low=NAN))

    @pytest.mark.parametrize(
        ("low", "high", "text"),
        [
            (0.5, 0.9, " they are too far from the mean (calibration slope 0.80 [0.50, 0.90]; 1 is right)."),
            (1.1, 1.4, " they are too close to the mean (calibration slope 0.80 [1.10, 1.40]; 1 is right)."),
            (0.9, 1.1, ""),
            (NAN, NAN, ""),
        ],
    )
    def test_a_slope_that_is_not_1_is_a_caution_beside_the_figure(self, low, high, text):
        slope = make_prediction(metric="calibration_slope", value=0.8, low=low, high=high)
        sentence = describe_prediction(pd.concat([make_prediction(), slope]))
        assert ("Its probabilities are not calibrated:" + text in sentence) if text else "calibrat" not in sentence
        template = environment().from_string(
            '{% from "_tables.html.j2" import prediction with context %}{{ prediction(rows) }}'
        )
        rows = [
            {**row, "against": "", "tested_on": "", "n_probes": 9, "n_groups": 3}
            for row in records(pd.concat([make_prediction(), slope]))
        ]
        page = template.render(rows=rows, PREDICTION_METRICS=PREDICTION_METRICS)
        assert ("not calibrated" in page.partition("<table")[0]) == bool(text)

    @pytest.mark.parametrize("low", [0.45, 0.55])
    def test_a_predictor_that_does_not_carry_over_is_not_praised_without_it(self, low):
        transfer = make_prediction(trained_on="popqa", tested_on="counterfact", low=low)
        sentence = describe_prediction(pd.concat([make_prediction(), transfer]))
        caution = "Trained on PopQA and tested on CounterFact, they do not do so significantly (AUC 0.62 [0.45, 0.70])."
        assert sentence.endswith(caution) == (low == 0.45)

    def test_nothing_predicted_is_said(self):
        assert describe_prediction(EMPTY) == "Success was not predicted before the edit."
        prediction = make_prediction(predictor="(none)", metric="", value=NAN, note="no edit succeeded")
        assert describe_prediction(prediction).endswith("is unknown: no edit succeeded.")
        assert "is unknown: no figure" in describe_prediction(make_prediction(trained_on="zsre"))

    @pytest.mark.parametrize(
        ("low", "high", "phrase"),
        [(0.55, 0.7, "better than chance"), (0.4, 0.7, "not significantly different from chance"),
         (0.3, 0.45, "worse than chance")],
    )  # fmt: skip
    def test_a_predictor_is_compared_with_chance(self, low, high, phrase):
        (text,) = describe_predictor({"auc_within": {"value": 0.5, "low": low, "high": high}}, "relation")
        assert f"[{low:.0%}, {high:.0%}] of the pairs: {phrase}" in text

    @pytest.mark.parametrize(
        ("figures", "text"),
        [
            ((0.12, 0.05, 0.2), "is 12% [5%, 20%] smaller than"),
            ((-0.12, -0.2, -0.05), "is 12% [5%, 20%] larger than"),
            ((0.02, -0.05, 0.1), "is 2% [-5%, 10%] smaller than"),
        ],
    )
    def test_a_predictor_may_have_a_larger_error(self, figures, text):
        skill = dict(zip(("value", "low", "high"), figures, strict=True))
        (sentence,) = describe_predictor({"brier_skill_method_kind": skill}, "relation")
        assert text in sentence
        assert sentence.endswith(", not significantly different from 0.") == (figures[1] < 0 < figures[2])

    def test_a_predictor_without_figures_has_no_sentence(self):
        assert list(describe_predictor({}, "relation")) == []
