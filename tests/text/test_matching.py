import random

import pytest

from edit_robustness.metrics.mentions import verdict
from edit_robustness.prompts.neighbours import nearest_neighbours
from edit_robustness.prompts.schema import read_fact
from edit_robustness.records import Fact
from edit_robustness.text.matching import first_named, letters, names_any, preselect, shared_name

NAMED = [
    ("the U.S. army", "US"),
    ("the US army", "U.S."),
    ("the U. S. army", "US"),
    ("It is New-York", "New York"),
    ("It is New York", "New-York"),
    ("made by I.B.M. in", "IBM"),
    ("made by IBM in", "I.B.M."),
    ("a phone by AT & T today", "AT&T"),
    ("a phone by AT&T today", "AT & T"),
    ("sung by Panic! at the Disco in 2008", "Panic! at the Disco"),
    ("sung by Panic at the Disco in 2008", "Panic! at the Disco"),
    ("It belongs to Yahoo! Japan now", "Yahoo! Japan"),
    ("She lives in St. John's in Canada", "St. John's"),
    ("She lives in St John’s in Canada", "St. John's"),
    ("He fights Dr. No here", "Dr. No"),
    ("It is Washington, D.C. itself", "Washington, D.C."),
    ("It is Washington DC itself", "Washington, D.C."),
    ("It is _Lyon_ indeed", "Lyon"),
    ("LYON is it", "Lyon"),
    ("Ｌｙｏｎ is it", "Lyon"),
    ("by J.R.R. Tolkien himself", "J. R. R. Tolkien"),
    ("the O’Brien family", "O'Brien"),
    ("by J.R. R. Tolkien himself", "J. R. R. Tolkien"),
    ("It is in the U.S. A dollar", "US"),
    ("It is vitamin C. I think", "vitamin C"),
    ("It is Washington, D.C. I think", "Washington, D.C."),
    ("It has 3 lakes", "3"),
    ("It was 1995, 1996", "1995"),
    ("首都は東京です", "東京"),
    ("작가는 서울에 산다", "서울"),
    ("レオナルド・ダ・ヴィンチです", "レオナルド ダ ヴィンチ"),
]
NOT_NAMED = [
    ("He told us so", "US"),
    ("it is so", "IT"),
    ("who knows", "WHO"),
    ("Lyons and Parisians", "Lyon"),
    ("Romeo is young", "Rome"),
    ("written in C++", "C"),
    ("There is no idea", "No"),
    ("1,000 lakes", "100"),
    ("1,000,000 lakes", "1"),
    ("3.5 million", "3"),
    ("2.5 million", "5"),
    ("It is in the U.S. A dollar", "USA"),
    ("Åland", "Aland"),
    ("Île-de-France", "Ile-de-France"),
]


@pytest.mark.parametrize(("text", "name"), NAMED)
def test_a_name_is_found_by_leak_check_and_scorer(text, name):
    assert first_named(text, ["Oslo", name]) == name
    assert names_any(text, [name])
    assert preselect(text, ["Oslo", name]) == [name]
    assert verdict(text, [name], ["Oslo"]) == "new"


@pytest.mark.parametrize(("text", "name"), NOT_NAMED)
def test_what_is_no_name_is_none_to_both(text, name):
    assert first_named(text, [name]) is None
    assert verdict(text, [name], ["Oslo"]) == "neither"


def test_leak_check_and_scorer_agree_on_texts_without_negations():
    rng = random.Random(0)
    pieces = [
        "U.S.",
        "us",
        "US",
        "New",
        "York",
        "New-York",
        "AT & T",
        "it",
        "IT",
        "_",
        "'s",
        "(",
        "Yahoo!",
        "Japan",
        "–",
    ]
    names = ["US", "New York", "York", "AT&T", "IT", "Yahoo! Japan", "japan"]
    verdicts = set()
    for _ in range(3_000):
        text, name = " ".join(rng.choices(pieces, k=rng.randrange(5))), rng.choice(names)
        text = text.replace(" _ ", "_")
        is_named = names_any(text, [name])
        verdicts.add(is_named)
        # of a second sentence the scorer knows nothing
        assert (verdict(text, [name], []) == "new") == is_named or "Yahoo!" in text, (text, name)
    assert verdicts == {True, False}


@pytest.mark.parametrize(
    ("text", "new", "old", "reference"),
    [
        ("Paris Hilton came.", ["Paris"], ["Paris Hilton"], "old"),
        ("Paris Hilton came.", ["Paris Hilton"], ["Paris"], "new"),
        ("Paris came.", ["Paris Hilton"], ["Paris"], "old"),
        ("In New York City", ["New York"], ["New York City"], "old"),
    ],
)
def test_the_longest_name_at_a_place_wins(text, new, old, reference):
    assert verdict(text, new, old) == reference


def test_a_longer_name_that_may_stand_there_gives_no_part_of_it_away():
    assert first_named("Paris Hilton came.", ["Paris"], besides=["Paris-Hilton"]) is None
    assert first_named("Paris Hilton came to Paris.", ["Paris"], besides=["Paris-Hilton"]) == "Paris"
    assert first_named("Paris Hilton came.", ["Paris Hilton"], besides=["Paris"]) == "Paris Hilton"


@pytest.mark.parametrize(
    "text",
    ["It is Panic! at the Disco.", "Panic! at the Disco is it. It was Lyon.", "The band: Panic! at the Disco"],
)
def test_an_object_with_a_mark_inside_counts(text):
    assert verdict(text, ["Panic! at the Disco"], ["Lyon"]) == "new"
    assert verdict(text, ["Lyon"], ["Panic! at the Disco"]) == "old"


def test_a_second_sentence_never_counts_because_of_such_a_name():
    assert verdict("Lyon. It was Paris before.", ["Paris"], ["Yahoo! Japan"]) == "neither"
    assert verdict("Yahoo! Paris is in France.", ["Paris"], ["Yahoo! Japan"]) == "neither"


def test_names_that_only_punctuation_tells_apart_are_one_object_everywhere():
    assert letters("U.S.") == letters("US") == letters("us")
    assert shared_name(["U.S."], ["Lyon", "US"]) == "U.S."
    assert shared_name(["C"], ["C++"]) is None
    row = {"subject": "S", "prompt": "{} lies in the", "target_new": "U.S.", "target_true": "US"}
    with pytest.raises(ValueError, match="new object equals the old"):
        read_fact(row, {})
    fact = Fact("a", "A", "r", "{} lies in the", "UK", "U.S.")
    beside = [Fact("b", "B", "r", "{} lies in the", "US", "UK"), Fact("c", "C", "r", "{} lies in the", "France", "UK")]
    assert [neighbour.id for neighbour in nearest_neighbours(fact, beside, 2)] == ["c"]
