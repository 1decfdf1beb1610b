from collections import Counter
from random import Random

import pytest

from edit_robustness.prompts.grammar import words
from edit_robustness.prompts.slips import misspell


def draws(text, known_words=frozenset(), times=60):
    return {misspell(text, known_words, Random(seed)) for seed in range(times)}


def test_two_neighbouring_letters_inside_one_long_word_change_places():
    assert draws("The gold from Brazil is") == {
        "The gold from Barzil is",
        "The gold from Brzail is",
        "The gold from Braizl is",
    }


def test_a_slip_never_makes_a_word_that_is_known():
    assert draws("Brian is", words("the Brain of Man")) == {"Biran is"}
    assert draws("Brian is", words("brain biran")) == {""}


@pytest.mark.parametrize("text", ["It is at", "12345 67890", "東京特許許可局 in", "Aaaaaa is"])
def test_without_a_word_to_misspell_there_is_no_slip(text):
    assert draws(text) == {""}


def test_letters_stay_and_other_words_too():
    text = "The capital of Île-de-Nœud, Ελλάδα is"
    for slip in draws(text):
        assert Counter(slip) == Counter(text)
        assert sum(a != b for a, b in zip(slip.split(), text.split(), strict=True)) == 1
    assert any("Ελλ" not in slip for slip in draws(text))
