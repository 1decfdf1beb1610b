"""Tests of report.answers: each sentence follows its numbers, and says the opposite if they do."""

import numpy as np
import pandas as pd
import pytest

from edit_robustness.report.answers import (
    Evidence,
    answer_cost,
    answer_generalization,
    answer_questions,
    compare_with_baseline,
    describe_association,
    describe_prediction,
    describe_predictor,
    describe_ranking,
    describe_regression,
    describe_specificity,
    describe_weakest,
    describe_within,
    find_gentler,
    list_cautions,
)
from edit_robustness.statistics.associations import CORRELATION_COLUMNS
from edit_robustness.statistics.comparisons import (
    COMPARISON_COLUMNS,
    RANKING_COLUMNS,
    WEAKEST_COLUMNS,
    compare_methods,
    rank_methods,
    weakest_kinds,
)

NAN = float("nan")
EMPTY = pd.DataFrame()
LABELS = {"log_views": "Page views"}


def make_tables(rates, n=40, outcome="generalization"):
    """The rankings and comparisons of methods that succeed on a share of the facts."""
    rows = [
        {
            "model": "m", "protocol": "free", "outcome": outcome, "method": method, "fact_id": f"f{i}",
            "subject": f"s{i}", "value": NAN if np.isnan(rate) else float(i < round(rate * n)),
        }
        for method, rate in rates.items()
        for i in range(n)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    comparisons = compare_methods(table)
    return rank_methods(table, comparisons), comparisons, weakest_kinds(table)


def join_tables(*tables):
    return tuple(pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True))


class TestGeneralization:
    def test_the_best_method_is_named_with_its_rate_and_facts(self):
        rankings, comparisons, _ = make_tables({"rome": 0.9, "ft": 0.2})
        sentence = describe_ranking(rankings, comparisons)
        assert sentence.startswith("ROME generalizes best of 2 methods: its edits hold on 90% [")
        assert sentence.endswith("of the prompts other than the statement (40 facts).")

    def test_the_other_method_is_named_if_it_is_better(self):
        rankings, comparisons, _ = make_tables({"rome": 0.2, "ft": 0.9})
        assert describe_ranking(rankings, comparisons).startswith("FT generalizes best of 2 methods")

    def test_methods_without_a_significant_difference_cannot_be_told_apart(self):
        rankings, comparisons, _ = make_tables({"rome": 0.9, "memit": 0.85, "ft": 0.1})
        sentence = describe_ranking(rankings, comparisons)
        assert sentence.startswith(
            "The best 2 of 3 methods cannot be told apart: edits by ROME and MEMIT hold on 90% ["
        )
        alike = make_tables({"rome": 0.9, "memit": 0.85})
        assert describe_ranking(*alike[:2]).startswith("The 2 methods cannot be told apart: edits by ROME and MEMIT")

    def test_many_methods_that_are_alike_are_counted(self):
        rankings, comparisons, _ = make_tables(dict.fromkeys(("rome", "memit", "ft", "mend", "kn"), 0.5))
        sentence = describe_ranking(rankings, comparisons)
        assert "and 2 more hold on 50% [" in sentence
        assert sentence.count("50%") == 3

    def test_one_method_is_not_called_the_best(self):
        rankings, comparisons, _ = make_tables({"rome": 0.9})
        assert describe_ranking(rankings, comparisons).startswith("ROME is the only editing method with a figure: its")
        with_baseline = make_tables({"rome": 0.9, "context": 0.1})
        assert describe_ranking(*with_baseline[:2]).startswith("ROME is the only editing method with a figure: its")
        other_failed = make_tables({"rome": 0.9, "ft": NAN})
        assert describe_ranking(*other_failed[:2]).startswith("ROME is the only editing method with a figure: its")

    def test_too_few_facts_for_a_test_are_stated(self):
        rankings, comparisons, _ = make_tables({"rome": 1.0, "ft": 0.0}, n=4)
        sentence = describe_ranking(rankings, comparisons)
        assert sentence.startswith("ROME has the highest mean of 2 methods, but they share too few facts for a test")
        assert "best" not in sentence

    def test_a_method_that_another_one_beats_in_pairs_is_not_the_best(self):
        rankings, comparisons, _ = make_tables({"rome": 0.9, "ft": 0.5})
        sentence = describe_ranking(rankings.assign(best=False), comparisons)
        assert sentence.startswith("ROME has the highest mean, but is not the best by paired tests, of 2 methods")

    @pytest.mark.parametrize(
        "tables",
        [
            (EMPTY, EMPTY, EMPTY),
            (pd.DataFrame(columns=RANKING_COLUMNS), pd.DataFrame(columns=COMPARISON_COLUMNS), EMPTY),
            make_tables({"rome": NAN, "ft": NAN}),
            make_tables({"context": 0.9}),
        ],
    )
    def test_without_a_figure_nothing_is_claimed(self, tables):
        sentence, details = answer_generalization(*tables)
        assert sentence == "No editing method has a figure for prompts other than the statement."
        assert not [line for line in details if "best" in line or "weak" in line]

    def test_efficacy_is_given_for_the_best_methods(self):
        tables = join_tables(
            make_tables({"rome": 0.5, "ft": 0.1}), make_tables({"rome": 0.75, "ft": 1.0}, outcome="efficacy")
        )
        _, details = answer_generalization(*tables)
        assert details[0].startswith("Efficacy, the share of statements answered with the new object, is 75% [")
        assert "FT" not in details[0]
        _, details = answer_generalization(*make_tables({"rome": 0.5, "ft": 0.1}))
        assert not any("Efficacy" in line for line in details)

    def test_facts_that_differ_between_methods_are_a_range(self):
        rankings, comparisons, _ = make_tables({"rome": 0.9, "memit": 0.85})
        changed = rankings.assign(n_facts=[40, 38])
        assert "(38 to 40 facts)" in describe_ranking(changed, comparisons)


def make_kinds(rates, n=40):
    tables = [make_tables({"rome": rate}, n, f"generalization:{kind}")[0] for kind, rate in rates.items()]
    assert all(table.empty for table in tables)
    rows = [
        {"model": "m", "protocol": "free", "outcome": f"generalization:{kind}", "method": "rome", "fact_id": f"f{i}",
         "subject": f"s{i}", "value": float(i < round(rate * n))}
        for kind, rate in rates.items() for i in range(n)
    ]  # fmt: skip
    return weakest_kinds(pd.DataFrame(rows))


class TestWeakestKind:
    def test_the_lowest_kind_is_named_with_those_that_may_be_as_weak(self):
        text = describe_weakest(make_kinds({"paraphrase": 0.9, "question": 0.35, "doubt": 0.3}), "rome")
        assert text.startswith("The lowest rate of ROME is on “doubt”: 30% [")
        assert "(40 facts; the interval holds for 3 kinds at once)" in text
        assert text.endswith("As weak may be “question”.")

    def test_a_kind_that_stands_out_is_said_to(self):
        text = describe_weakest(make_kinds({"paraphrase": 0.9, "question": 0.95, "doubt": 0.1}), "rome")
        assert text.endswith("Every other kind is significantly better.")

    def test_kinds_that_are_alike_are_not_told_apart(self):
        text = describe_weakest(make_kinds({"paraphrase": 0.5, "question": 0.55}), "rome")
        assert text.endswith("No other kind is significantly better.")
        same = describe_weakest(make_kinds({"paraphrase": 1.0, "question": 1.0}), "rome")
        assert same.endswith("No other kind is significantly better.")

    def test_too_few_facts_are_stated(self):
        text = describe_weakest(make_kinds({"paraphrase": 1.0, "question": 0.0}, n=3), "rome")
        assert text.endswith("The facts are too few to compare kinds.")

    def test_a_single_kind_is_not_called_the_weakest(self):
        text = describe_weakest(make_kinds({"paraphrase": 0.5}), "rome")
        assert text.startswith("The only other kind of prompt with a figure for ROME is “paraphrase”: 50% [")

    @pytest.mark.parametrize("kinds", [EMPTY, pd.DataFrame(columns=WEAKEST_COLUMNS)])
    def test_no_kind_has_no_figure(self, kinds):
        assert describe_weakest(kinds, "rome") == "No kind of prompt other than the statement has a figure with ROME."


class TestBaseline:
    def compare(self, rates, n=40):
        rankings, comparisons, _ = make_tables(rates, n)
        return list(compare_with_baseline(rankings, comparisons, ["rome"]))

    def test_more_less_and_alike_follow_the_test(self):
        (more,) = self.compare({"context": 0.9, "rome": 0.2})
        assert "generalizes to 90% [" in more
        assert ": significantly more than ROME (+70 points [+" in more
        (less,) = self.compare({"context": 0.2, "rome": 0.9})
        assert ": significantly less than ROME (-70 points [-" in less
        assert less.endswith("Holm p < .001, 40 facts).")
        (alike,) = self.compare({"context": 0.5, "rome": 0.55})
        assert ": not significantly different from ROME (-5 points [-" in alike

    def test_the_correction_decides_and_not_the_interval(self):
        rankings, comparisons, _ = make_tables({"context": 0.9, "rome": 0.2})
        (line,) = compare_with_baseline(rankings, comparisons.assign(p_holm=0.2), ["rome"])
        assert "not significantly different from ROME" in line
        assert "Holm p = .200" in line

    def test_no_comparison_is_explained(self):
        (line,) = self.compare({"context": 0.9, "rome": 0.2}, n=3)
        assert line.endswith("It could not be compared with ROME: 3 subjects in common: too few (at least 5).")
        assert self.compare({"rome": 0.2}) == []
        assert self.compare({"context": NAN, "rome": 0.2}) == []


class TestCost:
    def make(self, **rates):
        generalization = make_tables({"rome": 0.9, "ft": 0.2})
        parts = [make_tables(values, outcome=f"specificity:{kind}") for kind, values in rates.items()]
        return join_tables(generalization, *parts)

    def test_each_kind_of_the_best_method_has_its_rate(self):
        rankings, comparisons, _ = self.make(
            neighbourhood={"rome": 0.6, "ft": 0.9}, relation_specificity={"rome": 0.05, "ft": 0.05}
        )
        sentence, details = answer_cost(rankings, comparisons, EMPTY)
        assert sentence.startswith("Of the answers that the unedited model knows, edits by ROME leave unchanged 60% [")
        assert "about other subjects of the same relation (40 facts) and 5% [" in sentence
        assert details[0].startswith(
            "Significantly more answers of the kind “neighbourhood” stay unchanged than with ROME: FT (90% ["
        )
        assert not any("relation specificity" in line for line in details[:-1])
        assert details[-1].endswith("kedro run --pipeline=sequential_eval.")

    def test_no_method_is_called_gentler_if_it_is_not(self):
        for ft in (0.6, 0.65, 0.1):
            rankings, comparisons, _ = self.make(neighbourhood={"rome": 0.6, "ft": ft})
            assert list(find_gentler(rankings, comparisons, "rome")) == []
        rankings, comparisons, _ = self.make(neighbourhood={"rome": 0.2, "context": 1.0})
        assert list(find_gentler(rankings, comparisons, "rome")) == []

    def test_a_kind_without_known_answers_has_no_rate(self):
        rankings, _, _ = self.make(neighbourhood={"rome": 0.6}, unrelated={"rome": NAN})
        text = describe_specificity(rankings, "rome")
        assert text.endswith("; no known answer could be scored about other subjects and relations.")
        rankings, _, _ = self.make(unrelated={"rome": NAN})
        assert describe_specificity(rankings, "rome") == (
            "Specificity of ROME is unknown: no known answer could be scored about other subjects and relations."
        )
        rankings, _, _ = self.make()
        assert describe_specificity(rankings, "rome").endswith("no prompt about other facts was asked.")

    @pytest.mark.parametrize("rankings", [EMPTY, make_tables({"rome": NAN})[0]])
    def test_without_a_method_there_is_no_cost(self, rankings):
        sentence, _ = answer_cost(rankings, EMPTY, EMPTY)
        assert sentence == "The cost cannot be given, because no editing method has a figure."


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

    def test_the_strongest_of_the_significant_ones_is_given_with_its_figures(self):
        table = make_correlations({}, {"rho": -0.5, "feature": "margin"}, {"rho": 0.9, "p_holm": 0.2})
        text = describe_association(table, LABELS)
        assert text.startswith("Facts with higher values of “margin” are harder")
        assert "generalization: ρ = -0.50 [+0.20, +0.60], 100 facts, Holm p = .020)" in text
        assert text.endswith("the strongest of 2 significant associations among 3 tests.")

    def test_no_significant_association_says_what_could_be_detected(self):
        text = describe_association(make_correlations({"p_holm": 0.2}, {"p_holm": 1.0, "rho": -0.45}), LABELS)
        assert text.startswith("No feature is significantly associated")
        assert "over 2 tests: the largest correlation is that of “Page views” (ROME, generalization: ρ = -0.45" in text
        assert text.endswith("100 facts are enough to detect only correlations of 0.37 or more.")
        unknown = describe_association(make_correlations({"p_holm": 0.2, "detectable": NAN}), LABELS)
        assert unknown.endswith("Holm p = .200).")

    def test_the_level_is_that_of_the_run(self):
        table = make_correlations({"p_holm": 0.02})
        assert describe_association(table, LABELS, 0.01).startswith("No feature is significantly associated")

    def test_tests_that_are_not_primary_are_left_out(self):
        table = make_correlations({"primary": False})
        assert describe_association(table, LABELS) == "No association of features with outcomes of edits was computed."
        assert describe_association(EMPTY, LABELS) == "No association of features with outcomes of edits was computed."

    def test_no_estimate_at_all_gives_the_commonest_reason(self):
        nothing = {"rho": NAN, "p_holm": NAN, "note": "the outcome is the same for every fact"}
        text = describe_association(make_correlations(nothing, nothing, {**nothing, "note": "another"}), LABELS)
        assert text == (
            "No association could be tested: of 3 none has an estimate, mostly because the outcome is the same for "
            "every fact."
        )

    @pytest.mark.parametrize(
        ("within", "verdict"),
        [
            ((0.3, 0.1, 0.5), "within relations it is +0.30 [+0.10, +0.50], significant too"),
            ((0.1, -0.1, 0.3), "within relations it is +0.10 [-0.10, +0.30], not significantly different from 0"),
            ((-0.3, -0.5, -0.1), "within relations it is -0.30 [-0.50, -0.10], of the opposite sign"),
        ],
    )
    def test_relations_may_agree_or_not(self, within, verdict):
        row = make_correlations(dict(zip(("within_rho", "within_low", "within_high"), within, strict=True)))
        (text,) = describe_within(row.to_dict("records")[0])
        assert verdict in text
        assert text.endswith("given prior knowledge +0.10 [-0.20, +0.40], not significantly different from 0.")

    def test_nothing_is_said_of_what_was_not_estimated(self):
        missing = {"within_low": NAN, "partial_low": NAN}
        assert list(describe_within(make_correlations(missing).to_dict("records")[0])) == []
        one = {"n_relations": 1, "partial_low": NAN}
        assert list(describe_within(make_correlations(one).to_dict("records")[0])) == []


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
        assert f"the success rate {verb} per unit of “Page views”: {effects[0]:+.1f} points" in text
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


def make_prediction(**values):
    return pd.DataFrame(
        [
            {"model": "m", "predictor": "full", "groups": "relation", "trained_on": "", "metric": "auc_within",
             "value": 0.62, "low": 0.55, "high": 0.7, "n_facts": 400, "note": "", **values}
        ]
    )  # fmt: skip


class TestPrediction:
    @pytest.mark.parametrize(
        ("low", "high", "verdict"),
        [
            (0.55, 0.70, "The features of a fact predict success beyond method and kind"),
            (0.45, 0.70, "do not predict success significantly beyond method and kind"),
            (0.30, 0.45, "predict success worse than a constant does, beyond method and kind"),
        ],
    )
    def test_the_verdict_is_that_of_the_interval(self, low, high, verdict):
        text = describe_prediction(make_prediction(low=low, high=high))
        assert verdict in text
        assert f"0.62 [{low:.2f}, {high:.2f}], 400 facts on held-out relations" in text

    def test_doubts_of_the_table_are_passed_on(self):
        text = describe_prediction(make_prediction(note="24 facts: cannot tell (at least 100 needed)"))
        assert text.startswith("Whether success can be predicted before the edit cannot be told (24 facts: cannot tell")
        assert "cannot be told (no interval;" in describe_prediction(make_prediction(low=NAN))

    def test_nothing_predicted_is_said(self):
        assert describe_prediction(EMPTY) == "Success was not predicted before the edit."
        refused = make_prediction(predictor="(none)", metric="", value=NAN, note="no edit succeeded")
        assert describe_prediction(refused).endswith("is unknown: no edit succeeded.")
        assert "is unknown: no figure" in describe_prediction(make_prediction(trained_on="zsre"))

    @pytest.mark.parametrize(
        ("low", "high", "verdict"),
        [(0.55, 0.7, "better than chance"), (0.4, 0.7, "not significantly different from chance"),
         (0.3, 0.45, "worse than chance")],
    )  # fmt: skip
    def test_a_predictor_is_compared_with_chance(self, low, high, verdict):
        (text,) = describe_predictor({"auc_within": {"value": 0.5, "low": low, "high": high}}, "relation")
        assert f"[{low:.0%}, {high:.0%}] of the pairs: {verdict}" in text

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


def test_all_questions_are_answered_without_any_table():
    evidence = Evidence(EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY)
    answers = answer_questions(evidence, "m")
    assert [answer.question for answer in answers] == [
        "Does an edit hold however people ask?", "What does an edit cost?", "Which facts are hard to edit?",
    ]  # fmt: skip
    assert not any("nan" in line for answer in answers for line in (answer.sentence, *answer.details))


def test_one_models_answers_are_from_its_own_rows_and_free_generation():
    tables = make_tables({"rome": 0.9, "ft": 0.2})
    others = [table.assign(model="other") for table in make_tables({"rome": 0.1, "ft": 0.8})]
    forced = [table.assign(protocol="teacher_forced") for table in make_tables({"rome": 0.1, "ft": 0.8})]
    rankings, comparisons, kinds = join_tables(tables, others, forced)
    evidence = Evidence(rankings, comparisons, kinds, EMPTY, EMPTY, EMPTY, EMPTY)
    assert answer_questions(evidence, "m")[0].sentence.startswith("ROME generalizes best of 2 methods")
    assert answer_questions(evidence, "other")[0].sentence.startswith("FT generalizes best of 2 methods")


def make_headline(**values):
    return {"method": "rome", "metric": "cut", "protocol": "free", "family": "edit", "value": 0.25, **values}


def test_many_cut_answers_and_failed_facts_are_cautions():
    rankings, _, _ = make_tables({"rome": 0.9, "ft": 0.2})
    table = pd.DataFrame([make_headline(), make_headline(method="ft", value=0.5)])
    (line,) = list_cautions(table, rankings)
    assert line.startswith("These figures may be too low: the token limit cut 25% (ROME) of the answers")
    assert list(list_cautions(table.assign(value=0.01), rankings)) == []
    assert list(list_cautions(table.assign(family="specificity"), rankings)) == []
    (failed,) = list_cautions(table.assign(value=0.0, n_failed=[3, 0]), rankings)
    assert failed.startswith("Some facts could not be measured: ROME (3 facts failed).")
