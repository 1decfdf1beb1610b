"""The difference of two edits as one number each, against vectors put together by hand."""

from math import isnan

import pytest
import torch

from edit_robustness.editing.edit_difference import EditDifference, compare_edits
from edit_robustness.editing.edits import Codebook, Dense, LowRank, PromptPrefix
from edit_robustness.models.layout import Site

FIRST, SECOND = Site(0, "mlp_out"), Site(1, "mlp_out")


def dense(**changes):
    return Dense({site: torch.tensor(changes[name]) for name, site in (("a", FIRST), ("b", SECOND)) if name in changes})


def test_all_weights_are_one_vector():
    difference = compare_edits(dense(a=[[3.0, 0.0]], b=[[0.0, 4.0]]), dense(a=[[3.0, 0.0]], b=[[4.0, 0.0]]))
    assert difference == EditDifference(pytest.approx(9 / 25), pytest.approx(32**0.5 / 5))


def test_a_weight_that_one_edit_leaves_alone_counts_as_no_change():
    difference = compare_edits(dense(a=[[3.0, 0.0]]), dense(a=[[3.0, 0.0]], b=[[4.0, 0.0]]))
    assert difference == EditDifference(pytest.approx(3 / 5), pytest.approx(4 / 5))
    turned = compare_edits(dense(a=[[3.0, 0.0]], b=[[4.0, 0.0]]), dense(a=[[3.0, 0.0]]))
    assert turned == EditDifference(pytest.approx(3 / 5), pytest.approx(4 / 3))


def test_factors_are_compared_with_a_whole_change():
    factors = LowRank({FIRST: (torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0, 3.0]]))})
    same = compare_edits(factors, dense(a=[[1.0, 3.0], [2.0, 6.0]]))
    assert same == EditDifference(pytest.approx(1), 0)


def test_codebooks_are_compared_by_their_values():
    book = Codebook(FIRST, torch.ones(1, 2), torch.tensor([[3.0, 4.0]]), torch.ones(1), ("a",))
    other = Codebook(FIRST, 9 * torch.ones(1, 2), torch.tensor([[4.0, 3.0]]), torch.ones(1), ("a",))
    assert compare_edits(book, other) == EditDifference(pytest.approx(24 / 25), pytest.approx(2**0.5 / 5))
    elsewhere = Codebook(SECOND, torch.ones(1, 2), torch.ones(1, 2), torch.ones(1), ("a",))
    assert isnan(compare_edits(book, elsewhere).cosine)


def test_what_changes_nothing_has_no_direction():
    for pair in ((PromptPrefix("a"), PromptPrefix("a")), (dense(a=[[0.0, 0.0]]), dense(a=[[1.0, 0.0]]))):
        assert isnan(compare_edits(*pair).cosine)
