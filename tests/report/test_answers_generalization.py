"""Sentences on generalization: each one follows its numbers, and says the opposite if they do."""

import pandas as pd
import pytest
from fabricated_rankings import NAN, join_tables, make_tables

from edit_robustness.report.answers.generalization import (
    answer_generalization,
    compare_with_baseline,
    describe_datasets,
    describe_knowledge,
    describe_ranking,
    describe_weakest,
)
from edit_robustness.statistics.comparisons import (
    COMPARISON_COLUMNS,
    RANKING_COLUMNS,
    WEAKEST_COLUMNS,
    weakest_kinds,
)

EMPTY = pd.DataFrame()


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
        new_rankings = rankings.assign(n_facts=[40, 38])
        assert "(38 to 40 facts)" in describe_ranking(new_rankings, comparisons)


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
        text = describe_weakest(make_kinds({"paraphrase": 1.0, "question": 1.0}), "rome")
        assert text.endswith("No other kind is significantly better.")

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
        (gain,) = self.compare({"context": 0.9, "rome": 0.2})
        assert "generalizes to 90% [" in gain
        assert ": significantly more than ROME (70 points [" in gain
        (loss,) = self.compare({"context": 0.2, "rome": 0.9})
        assert ": significantly less than ROME (-70 points [-" in loss
        assert loss.endswith("Holm p < 0.001, 40 facts).")
        (alike,) = self.compare({"context": 0.5, "rome": 0.55})
        assert ": not significantly different from ROME (-5 points [-" in alike

    def test_the_correction_decides_and_not_the_interval(self):
        rankings, comparisons, _ = make_tables({"context": 0.9, "rome": 0.2})
        (line,) = compare_with_baseline(rankings, comparisons.assign(p_holm=0.2), ["rome"])
        assert "not significantly different from ROME" in line
        assert "Holm p = 0.200" in line

    def test_no_comparison_is_explained(self):
        (line,) = self.compare({"context": 0.9, "rome": 0.2}, n=3)
        assert line.endswith("It could not be compared with ROME: 3 subjects in common: too few (at least 5).")
        assert self.compare({"rome": 0.2}) == []
        assert self.compare({"context": NAN, "rome": 0.2}) == []


def make_dataset_rows(*rows):
    defaults = {"outcome": "generalization", "dataset": "first", "method": "rome", "low": 0.1, "high": 0.9}
    return pd.DataFrame([{**defaults, "n_facts": 40, "n_missing": 0, **row} for row in rows])


class TestDataSets:
    def test_each_data_set_has_its_rate_beside_the_baseline(self):
        table = make_dataset_rows(
            {"value": 0.62}, {"value": 0.54, "method": "context"}, {"value": 0.19, "dataset": "second", "n_facts": 20}
        )
        (text,) = describe_datasets(table, ["rome"])
        assert text == (
            "By data set, ROME generalizes to 62% [10%, 90%] on first (40 facts, the in-context baseline 54% "
            "[10%, 90%]) and 19% [10%, 90%] on second (20 facts)."
        )

    def test_a_single_data_set_is_not_named(self):
        assert list(describe_datasets(make_dataset_rows({"value": 0.62}), ["rome"])) == []
        assert list(describe_datasets(EMPTY, ["rome"])) == []
        other_method = make_dataset_rows({"value": 0.6}, {"value": 0.1, "dataset": "second", "method": "ft"})
        assert list(describe_datasets(other_method, ["rome"])) == []


class TestKnowledge:
    @pytest.mark.parametrize(
        ("value", "missing", "text"),
        [
            (0.05, 3, "recalls 2 of 40 edited facts (5%; 3 more answers were cut), so most edits teach a fact rather"),
            (0.75, 0, "recalls 30 of 40 edited facts (75%), so most edits replace a fact that the model knows."),
        ],
    )
    def test_what_the_model_knew_says_what_edits_do(self, value, missing, text):
        rows = make_dataset_rows({"outcome": "recalled", "method": "none", "value": value, "n_missing": missing})
        (sentence,) = describe_knowledge(rows)
        assert text in sentence

    def test_nothing_is_said_without_a_measurement(self):
        rows = make_dataset_rows({"outcome": "recalled", "value": NAN, "n_facts": 0, "n_missing": 3})
        assert list(describe_knowledge(rows)) == []
        assert list(describe_knowledge(EMPTY)) == []
