"""Sentences on specificity: each one follows its numbers, and says the opposite if they do."""

import pandas as pd
import pytest
from fabricated_rankings import NAN, join_tables, make_tables

from edit_robustness.report.answers.cost import answer_cost, describe_specificity, find_gentler

EMPTY = pd.DataFrame()


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
        assert sentence.startswith(
            "Of the answers in which the unedited model names a definite object (known prompts), edits by ROME leave "
            "unchanged 60% ["
        )
        assert "about other subjects of the same relation (40 facts) and 5% [" in sentence
        assert details[0].startswith(
            "Significantly more answers of the kind “neighbourhood” stay unchanged than with ROME: FT (90% ["
        )
        assert not any("relation specificity" in line for line in details[:-1])
        assert details[-1] == "The cost for general abilities is not measured here."

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
