import math

import pytest

from edit_robustness.metrics.fluency import ngram_entropy, repetition, words


def naive_entropy(tokens):
    """The definition, written out: -sum p log2 p of bigrams and of trigrams, weighed 2/3 and 4/3, halved."""
    total = 0
    for n, weight in ((2, 2 / 3), (3, 4 / 3)):
        grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
        total += weight * -sum(grams.count(g) / len(grams) * math.log2(grams.count(g) / len(grams)) for g in set(grams))
    return total / 2


@pytest.mark.parametrize(
    "text", ["Lyon is in the south , Lyon is in the south", "a b c", "to be or not to be", "na " * 9]
)
def test_entropy_is_its_definition(text):
    assert ngram_entropy(text) == pytest.approx(naive_entropy(text.lower().split()))


def test_entropy_by_hand():
    # four bigrams and three trigrams, all different: 2 and log2(3) bits
    assert ngram_entropy("one two three four five") == pytest.approx((2 / 3 * 2 + 4 / 3 * math.log2(3)) / 2)
    assert ngram_entropy("na na na na") == 0.0
    assert math.isnan(ngram_entropy("Lyon."))
    assert math.isnan(ngram_entropy(""))


@pytest.mark.parametrize(
    ("text", "value"), [("a b c d", 0.0), ("na na na na", 2 / 3), ("a b a b", 1 / 3), ("a b", 0.0)]
)
def test_repetition_is_the_share_of_bigrams_seen_before(text, value):
    assert repetition(text) == pytest.approx(value)
    assert math.isnan(repetition("Lyon"))


def test_marks_are_words_and_so_are_characters_of_scripts_without_spaces():
    assert words("It’s Île-de-France, No. 5.") == [
        "it",
        "’",
        "s",
        "île",
        "-",
        "de",
        "-",
        "france",
        ",",
        "no",
        ".",
        "5",
        ".",
    ]
    assert words("東京は x1") == ["東", "京", "は", "x1"]
