"""Sentences on associations of features: each one follows its numbers, and says the opposite if they do."""

import pandas as pd
import pytest
from fabricated_rankings import NAN

from edit_robustness.report.answers.difficulty import (
    describe_association,
    describe_exploration,
    describe_regression,
    describe_within,
)
from edit_robustness.statistics.associations import CORRELATION_COLUMNS

EMPTY = pd.DataFrame()


LABELS = {"log_views": "Page views"}


def make_correlations(*rows):
    return pd.DataFrame(
        [
            {
                "model": "m", "family": "edit", "method": "rome", "protocol": "free", "outcome": "generalization",
                "feature": "log_views", "primary": True, "rho": 0.4, "low": 0.2, "high": 0.6, "p": 0.001,
                "p_holm": 0.02, "within_rho": 0.3, "within_low": 0.1, "within_high": 0.5, "n_relations": 4,
                "partial_rho": 0.1, "partial_low": -0.2, "partial_high": 0.4, "n_facts": 100, "detectable": 0.37,
                "note": "", **values,
            }
            for values in rows
        ]
    ).reindex(columns=CORRELATION_COLUMNS)  # fmt: skip


class TestDifficulty:
    @pytest.mark.parametrize(
        ("values", "start"),
        [
            ({}, "Facts with higher values of “Page views” are easier to edit with ROME"),
            ({"rho": -0.4}, "Facts with higher values of “Page views” are harder to edit with ROME"),
            ({"outcome": "reversion"}, "Facts with higher values of “Page views” are harder to edit with ROME"),
            ({"outcome": "reversion", "rho": -0.4}, "Facts with higher values of “Page views” are easier"),
            (
                {"outcome": "specificity:neighbourhood"},
                "Edits of facts with higher values of “Page views” by ROME leave more other answers unchanged",
            ),
            (
                {"outcome": "specificity:neighbourhood", "rho": -0.4},
                "Edits of facts with higher values of “Page views” by ROME leave fewer other answers unchanged",
            ),
            ({"feature": "user_column"}, "Facts with higher values of “user column” are easier"),
        ],
    )
    def test_the_direction_is_that_of_the_outcome(self, values, start):
        assert describe_association(make_correlations(values), LABELS).startswith(start)

    def test_what_is_true_or_false_of_a_fact_has_no_higher_values(self):
        row = make_correlations({"feature": "recalled"})
        text = describe_association(row, {"recalled": "Old object recalled"}, shares={"recalled"})
        assert text.startswith("Facts for which this is true: “Old object recalled” are easier to edit with ROME (")

    def test_the_strongest_of_the_significant_ones_is_given_with_its_figures(self):
        table = make_correlations({}, {"rho": -0.5, "feature": "margin"}, {"rho": 0.9, "p_holm": 0.2})
        text = describe_association(table, LABELS)
        assert text.startswith("Facts with higher values of “margin” are harder")
        assert "generalization: ρ = -0.50 [0.20, 0.60], 100 facts, Holm p = 0.020)" in text
        assert text.endswith("the strongest of 2 significant associations among 3 tests.")

    def test_no_significant_association_says_what_could_be_detected(self):
        text = describe_association(make_correlations({"p_holm": 0.2}, {"p_holm": 1.0, "rho": -0.45}), LABELS)
        assert text == (
            "The one primary feature is not significantly associated with an outcome of edits after Holm's "
            "correction over 2 tests; 100 facts are enough to detect only correlations of 0.37 or more."
        )
        unknown = describe_association(make_correlations({"p_holm": 0.2, "detectable": NAN}), LABELS)
        assert unknown.endswith("over 1 test.")

    def test_primary_features_without_values_are_counted(self):
        rows = [{"p_holm": 0.2}, {"p_holm": 0.3, "feature": "margin"}, {"rho": NAN, "p_holm": NAN, "feature": "links"}]
        text = describe_association(make_correlations(*rows), LABELS)
        assert text.startswith("None of the 2 primary features that could be tested (1 more has no values) is")

    def test_an_association_beyond_the_primary_tests_is_called_exploratory(self):
        other = {"primary": False, "feature": "length", "rho": -0.6, "low": -0.7, "high": -0.5, "q_bh": 0.001}
        weaker = {**other, "feature": "margin", "rho": 0.5}
        (text,) = describe_exploration(make_correlations({}, other, weaker), LABELS)
        assert text == (
            "Exploratory, of 2 associations with success beyond the primary tests whose false discovery rate is below "
            "5%: facts with higher values of “length” are harder to edit with ROME (generalization: ρ = -0.60 "
            "[-0.70, -0.50], 100 facts; within relations 0.30 [0.10, 0.50])."
        )
        (text,) = describe_exploration(make_correlations({**other, "rho": 0.6, "n_relations": 1}), LABELS)
        assert "are easier to edit with ROME" in text
        assert "within relations" not in text
        for row in ({**other, "q_bh": 0.2}, {**other, "primary": True}, {**other, "outcome": "specificity:unrelated"}):
            assert list(describe_exploration(make_correlations(row), LABELS)) == []
        assert list(describe_exploration(EMPTY, LABELS)) == []

    def test_the_level_is_that_of_the_run(self):
        table = make_correlations({"p_holm": 0.02})
        assert describe_association(table, LABELS, 0.01).startswith("The one primary feature is not significantly")

    def test_tests_that_are_not_primary_are_left_out(self):
        table = make_correlations({"primary": False})
        assert describe_association(table, LABELS) == "No association of features with outcomes of edits was computed."
        assert describe_association(EMPTY, LABELS) == "No association of features with outcomes of edits was computed."

    def test_no_estimate_at_all_gives_the_commonest_reason(self):
        no_estimate = {"rho": NAN, "p_holm": NAN, "note": "the outcome is the same for every fact"}
        text = describe_association(
            make_correlations(no_estimate, no_estimate, {**no_estimate, "note": "another"}), LABELS
        )
        assert text == (
            "No association could be tested: of 3 none has an estimate, mostly because the outcome is the same for "
            "every fact."
        )

    @pytest.mark.parametrize(
        ("within", "phrase"),
        [
            ((0.3, 0.1, 0.5), "within relations it is 0.30 [0.10, 0.50], significant too"),
            ((0.1, -0.1, 0.3), "within relations it is 0.10 [-0.10, 0.30], not significantly different from 0"),
            ((-0.3, -0.5, -0.1), "within relations it is -0.30 [-0.50, -0.10], of the opposite sign"),
        ],
    )
    def test_relations_may_agree_or_not(self, within, phrase):
        row = make_correlations(dict(zip(("within_rho", "within_low", "within_high"), within, strict=True)))
        (text,) = describe_within(row.to_dict("records")[0])
        assert phrase in text
        assert text.endswith("given prior knowledge 0.10 [-0.20, 0.40], not significantly different from 0.")

    def test_nothing_is_said_of_what_was_not_estimated(self):
        no_bounds = {"within_low": NAN, "partial_low": NAN}
        assert list(describe_within(make_correlations(no_bounds).to_dict("records")[0])) == []
        single_relation = {"n_relations": 1, "partial_low": NAN}
        assert list(describe_within(make_correlations(single_relation).to_dict("records")[0])) == []


def make_regression(**values):
    return pd.DataFrame(
        [
            {"model": "m", "name": "popularity", "formula": "success ~ log_views", "family": "binomial",
             "outcome": "success/free", "term": "log_views", "effect": -3.0, "effect_low": -5.0, "effect_high": -1.0,
             "n_facts": 100, **values}
        ]
    )  # fmt: skip


class TestRegression:
    row = make_correlations({}).to_dict("records")[0]

    @pytest.mark.parametrize(
        ("effects", "verb"),
        [
            ((-3.0, -5.0, -1.0), "falls"),
            ((3.0, 1.0, 5.0), "rises"),
            ((1.0, -1.0, 3.0), "does not change significantly"),
        ],
    )
    def test_the_verb_is_that_of_the_interval(self, effects, verb):
        table = make_regression(**dict(zip(("effect", "effect_low", "effect_high"), effects, strict=True)))
        (text,) = describe_regression(table, self.row, LABELS)
        assert f"the success rate {verb} per unit of “Page views”: {effects[0]:.1f} points" in text
        assert text.endswith("100 facts.")

    def test_a_caution_about_calibration_stands_beside_the_effect(self):
        check = {"name": "popularity", "check": "calibration", "value": 14.2, "flag": "caution"}
        (text,) = describe_regression(make_regression(), self.row, LABELS, pd.DataFrame([check]))
        assert text.endswith(
            "100 facts. Calibration: observed and predicted rates differ by up to 14 points, so read the direction of "
            "these effects and not their exact size."
        )
        for other in ({"flag": "fine"}, {"check": "influence"}, {"name": "knowledge"}):
            (text,) = describe_regression(make_regression(), self.row, LABELS, pd.DataFrame([{**check, **other}]))
            assert text.endswith("100 facts.")

    def test_the_effect_within_the_method_is_preferred(self):
        table = pd.concat([make_regression(), make_regression(term="log_views|method=rome", effect=-9.0)])
        (text,) = describe_regression(table, self.row, LABELS)
        assert "the success rate of ROME falls per unit of “Page views”: -9.0 points" in text

    @pytest.mark.parametrize(
        "values",
        [
            {"effect": NAN}, {"effect_low": NAN}, {"term": "recalled"}, {"family": "gaussian"},
            {"outcome": "kl/next_token"},
        ],
    )  # fmt: skip
    def test_other_rows_say_nothing(self, values):
        assert list(describe_regression(make_regression(**values), self.row, LABELS)) == []
        assert list(describe_regression(EMPTY, self.row, LABELS)) == []
