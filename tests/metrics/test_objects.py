import pytest

from edit_robustness.metrics.objects import MOST_WORDS, stated_object


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" Paris. It is a city.", "Paris"),
        (" Paris\n\nParis", "Paris"),
        (" the United Kingdom.", "United Kingdom"),
        (' "The Hobbit", a novel.', "Hobbit"),
        (" Paris, which lies on the Seine.", "Paris"),
        (" Paris (France).", "Paris"),
        (" Paris - the city of light", "Paris"),
        (" Jean-Luc Picard and others", "Jean-Luc Picard"),
        (" 1987.", "1987"),
        (" called **Lutetia**.", "Lutetia"),
        (" 东京。", "东京"),
        (" Indonesian rupiah (Rp).", "Indonesian rupiah"),
        (" the BBC on 21 December 2012.", "BBC"),
        (" Google to improve the experience of its users.", "Google"),
        (" Alice in Wonderland.", "Alice in Wonderland"),
        (" a team of engineers from many parts of the world", ""),
        (" Washington D.C.", "Washington D.C"),
        # an answer in a whole sentence
        (" The capital of France is Paris.", "Paris"),
        (" Paris is the capital of France.", "Paris"),
        (" It is Paris.", "Paris"),
        (" It was the city of Paris, long ago.", "city of Paris"),
        # nothing that could be an object
        ("", ""),
        (" ...", ""),
        (" a large city in the north of a country", ""),
        (" not known.", ""),
        (" I do not know.", ""),
        (" unknown.", ""),
        (" France.", ""),
        (" The capital of France is France.", ""),
    ],
)
def test_what_a_generation_names(text, name):
    assert stated_object(text, "France") == name


def test_a_name_has_few_words():
    words = [f"Word{n}" for n in range(MOST_WORDS + 1)]
    assert stated_object(" ".join(words[:-1]), "France") == " ".join(words[:-1])
    assert stated_object(" ".join(words), "France") == ""
