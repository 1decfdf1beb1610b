"""Flags of benchmark scores, and the scores of chance and of constant answers."""

import math

import pytest

from edit_robustness.abilities.guards import best_text, find_flags, trivial_scores

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("score", "logprobs", "ranking", "flags"),
    [
        (1.0, (-1.0, -2.0), (-1.0, -2.0), ()),
        (1.0, (NAN, NAN), (NAN, NAN), ("not_finite",)),
        (0.0, (-1.0, -INF), (-1.0, -INF), ("not_finite",)),
        (NAN, (-900.0, -900.0), (), ("not_finite",)),
        (1.0, (-2.0, -2.0, -3.0), (-2.0, -2.0, -3.0), ("tied",)),
        # two that are not the best may be alike
        (1.0, (-1.0, -2.0, -2.0), (-1.0, -2.0, -2.0), ()),
        # by its length another option is the best, and the best two by sum do not count
        (1.0, (-2.0, -2.0), (-1.0, -0.5), ()),
        (0.3, (-2.0, -2.0), (), ()),
        (1.0, (-2.0,), (-2.0,), ()),
        (1.0, (), (), ()),
    ],
)
def test_flags(score, logprobs, ranking, flags):
    assert find_flags(score, logprobs, ranking) == flags


def test_baselines_count_what_each_answer_is_worth():
    golds, options = [0, 0, 1, 2], [2, 3, 2, 3]
    chance, constant = trivial_scores(options, lambda place, option: float(option == golds[place]))
    assert chance == pytest.approx((1 / 2 + 1 / 3 + 1 / 2 + 1 / 3) / 4)
    assert constant == 2 / 4


def test_the_best_constant_text_is_one_of_the_right_answers():
    golds = ["Yes", "No", "Yes", "Maybe"]
    assert best_text(golds, lambda place, text: float(golds[place] == text)) == 2 / 4
