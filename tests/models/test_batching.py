import random

import pytest

from edit_robustness.models.batching import batched_by_length, up_to

WORDS = ["ccc", "a", "bb", "aa", "dddd", "b", "eeeeeeeee"]


@pytest.mark.parametrize(
    ("longest_first", "batches"),
    [
        (False, [["a", "b", "bb"], ["aa", "ccc", "dddd"], ["eeeeeeeee"]]),
        (True, [["eeeeeeeee", "dddd", "ccc"], ["bb", "aa", "a"], ["b"]]),
    ],
)
def test_batches_hold_so_many_items_and_equal_lengths_keep_their_order(longest_first, batches):
    assert batched_by_length(WORDS, len, up_to(3), longest_first=longest_first) == batches
    assert batched_by_length([], len, up_to(3)) == []


def test_a_rule_sees_the_batch_and_the_next_item():
    near = batched_by_length(WORDS, len, lambda batch, word: len(word) <= len(batch[0]) + 1)
    assert near == [["a", "b", "bb", "aa"], ["ccc", "dddd"], ["eeeeeeeee"]]
    alone = batched_by_length(WORDS, len, lambda batch, word: False)
    assert [len(batch) for batch in alone] == [1] * len(WORDS)


def test_the_batches_are_those_of_sorting_and_cutting():
    """Keep the batches equal: the figures of stored files depend on which rows were padded together."""
    draw = random.Random(0)
    rows = [[draw.random()] * draw.randrange(1, 9) for _ in range(100)]
    longest = sorted(rows, key=len, reverse=True)
    assert batched_by_length(rows, len, up_to(16), longest_first=True) == [
        longest[i : i + 16] for i in range(0, 100, 16)
    ]
    shortest = sorted(rows, key=len)
    assert batched_by_length(rows, len, up_to(7)) == [shortest[i : i + 7] for i in range(0, 100, 7)]
