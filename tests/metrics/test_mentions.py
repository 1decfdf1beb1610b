import random

import pytest

from edit_robustness.metrics.mentions import verdict

NEW, OLD = ("Lyon", "Lugdunum"), ("Paris", "City of Light")


@pytest.mark.parametrize(
    ("text", "side"),
    [
        (" Lyon.", "new"),
        (" Paris.", "old"),
        ("Rome.", "neither"),
        ("", "neither"),
        ("LUGDUNUM, of course.", "new"),
        ("the city of light", "old"),
        ("the City-of-Light", "old"),
        ("Ｌｙｏｎ", "new"),
        ("Lyons and Parisians", "neither"),
        ("Lyon's", "new"),
        ("**Lyon**.", "new"),
        ("Paris and Lyon", "old"),
        ("Lyon and Paris", "new"),
        ("Rome. Lyon is another.", "neither"),
        ("Rome\nLyon", "neither"),
    ],
)
def test_names_in_the_first_sentence(text, side):
    assert verdict(text, NEW, OLD) == side


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("Lyon instead of Paris", "new"),
        ("not Paris but Lyon", "new"),
        ("not Paris, Lyon", "new"),
        ("not Paris; Lyon", "new"),
        ("not Paris: it is Lyon", "new"),
        ("It isn't Paris it's Lyon", "new"),
        ("It isn’t Lyon it is Paris", "old"),
        ("It is no longer Paris", "neither"),
        ("It was never Lyon", "neither"),
        ("It cannot be Lyon", "neither"),
        ("It can't be Lyon", "neither"),
        ("rather than Lyon, it is Paris", "old"),
        ("Unlike Paris, Lyon", "new"),
        ("NOT Paris", "neither"),
        ("Not only Lyon", "new"),
        ("a knot in Paris", "old"),
        ("neither Paris nor Lyon", "neither"),
    ],
)
def test_negated_names_do_not_count(text, side):
    assert verdict(text, NEW, OLD) == side


def test_a_name_never_grows_together_over_a_cut():
    assert verdict("City not Rome but of Light", NEW, OLD) == "neither"


@pytest.mark.parametrize(
    ("text", "new", "old", "side"),
    [
        ("New York", ["York"], ["New York"], "old"),
        ("New York", ["New York"], ["York"], "new"),
        ("York", ["New York"], ["York"], "old"),
        ("New-York", ["New York"], ["York"], "new"),
        ("the U.S. army", ["US"], ["UK"], "new"),
        ("the US army", ["U.S."], ["UK"], "new"),
        ("He told us so", ["US"], ["UK"], "neither"),
        ("who knows", ["WHO"], ["UN"], "neither"),
        ("Washington, D.C. is it", ["Washington DC"], ["Paris"], "new"),
        ("Washington DC", ["Washington, D.C."], ["Paris"], "new"),
        ("J. R. R. Tolkien", ["J.R.R. Tolkien"], ["x"], "new"),
        ("J.R.R. Tolkien", ["J. R. R. Tolkien"], ["x"], "new"),
        ("JRR Tolkien", ["J. R. R. Tolkien"], ["x"], "new"),
        ("the USSR", ["U.S.S.R."], ["x"], "new"),
        ("Nasa did", ["NASA"], ["x"], "new"),
        ("written in C++", ["C"], ["C++"], "old"),
        ("written in C", ["C"], ["C++"], "new"),
        ("O'Brien", ["O Brien"], ["x"], "new"),
        ("O’Brien", ["O'Brien"], ["x"], "new"),
        ("首都は東京です", ["東京"], ["大阪"], "new"),
        ("서울은 수도다", ["서울"], ["x"], "new"),
        ("Это Москва!", ["Москва"], ["x"], "new"),
        ("Große Straße", ["GROSSE STRASSE"], ["x"], "new"),
        ("the band !!! from", ["!!!"], ["x"], "neither"),
        ("a (b) c", ["", " "], ["[b]"], "old"),
        ("1,000 lakes", ["1000"], ["x"], "neither"),
        ("anything", [], [], "neither"),
    ],
)
def test_how_names_are_written(text, new, old, side):
    assert verdict(text, new, old) == side


NEVER = "Never Let Me Go"


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("It is Never Let Me Go.", "new"),
        ("Never Let Me Go, not Paris", "new"),
        ("Never Let Me Go was never about Lyon, but about Paris", "new"),
        ("It is not Never Let Me Go but Paris", "old"),
        ("Never let me go to Paris", "neither"),
    ],
)
def test_a_negation_inside_a_name_negates_nothing(text, side):
    assert verdict(text, [NEVER if "let" not in text else "Lyon"], ["Paris"]) == side


@pytest.mark.parametrize("text", ["It is Neither Here nor There.", "Neither Here nor There, not Neither Here"])
def test_a_negation_inside_the_longer_of_two_names_negates_nothing(text):
    long_name, short_name = "Neither Here nor There", "neither here"
    assert verdict(text, [long_name], [short_name]) == "new"
    assert verdict(text, [short_name], [long_name]) == "old"


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("Never Let Me Go was written in Lyon.", NEVER),
        ("Yahoo! was founded in Lyon.", "Yahoo!"),
        ('"Help!" is from Lyon.', "Help!"),
        ("Panic! at the Disco is from Lyon.", "Panic! at the Disco"),
    ],
)
def test_a_mark_or_a_negation_in_the_subjects_name_ends_no_sentence_and_negates_nothing(text, subject):
    assert verdict(text, ["Lyon"], ["Paris"], besides=[subject]) == "new"


def test_swapping_the_sides_swaps_the_verdict():
    rng = random.Random(0)
    pieces = ["Lyon", "Paris", "New York", "York", "not", "but", ",", "U.S.", "us", "instead of", "it is", "Rome"]
    mirror = {"new": "old", "old": "new", "neither": "neither"}
    sides = set()
    for _ in range(3_000):
        text = " ".join(rng.choices(pieces, k=rng.randrange(7)))
        new, old = ["Lyon", "York"], ["Paris", "New York", "US"]
        sides.add(verdict(text, new, old))
        assert verdict(text, old, new) == mirror[verdict(text, new, old)]
    assert sides == {"new", "old", "neither"}


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("No, it is not Lyon", "new"),
        (" No.", "new"),
        ("no", "new"),
        ("NO!", "new"),
        ("**No**, that is wrong.", "new"),
        ("No it is Lyon", "new"),
        ("No, not at all", "new"),
        ("No; never", "new"),
        ("The answer is no.", "new"),
        ("No. It is Lyon.", "new"),
        ("No - it is Lyon.", "new"),
        ("Yes, it is not Paris", "old"),
        ("Yes.", "old"),
        ("Yes, no doubt", "old"),
        ("YES", "old"),
        ("I do not know", "neither"),
        ("I have no idea", "neither"),
        ("There is no record of it", "neither"),
        ("No one can say", "neither"),
        ("No-one can say", "neither"),
        ("No longer", "neither"),
        ("Yesterday in Norway", "neither"),
        ("Lyon", "neither"),
    ],
)
def test_no_and_yes_are_answers(text, side):
    assert verdict(text, ["No"], ["Yes"]) == side
    mirror = {"new": "old", "old": "new", "neither": "neither"}[side]
    assert verdict(text, ["Yes"], ["No"]) == mirror


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("True", "new"),
        ("This is TRUE.", "new"),
        ("False, it is not Lyon", "old"),
        ("The statement is false.", "old"),
        ("That isn't true", "neither"),
        ("That is not false, it is true", "new"),
        ("untrue", "neither"),
        ("It is neither true nor false", "neither"),
    ],
)
def test_true_and_false_are_answers(text, side):
    assert verdict(text, ["True"], ["False"]) == side


CITIES = (["纽约", "大阪", "リヨン", "리옹", "上海", "京都"], ["北京", "東京", "パリ", "파리"])


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("不是北京，而是纽约。", "new"),
        ("不是北京而是纽约", "new"),
        ("首都不是北京，是纽约", "new"),
        ("首都不在北京，而在上海", "new"),
        ("它不再是北京。", "neither"),
        ("是纽约，而不是北京", "new"),
        ("并非北京，而是纽约", "new"),
        ("不只是北京", "old"),
        ("北京，不是纽约", "old"),
        ("是北京", "old"),
        ("日本の首都は東京ではなく大阪", "new"),
        ("首都は東京ではなく、大阪です。", "new"),
        ("首都は東京ではない。", "neither"),
        ("首都は東京じゃなくて大阪", "new"),
        ("首都は東京ではありません。", "neither"),
        ("首都は東京や京都ではなく大阪", "new"),
        ("大阪は東京ではない", "new"),
        ("首都は東京だけではなく大阪も", "old"),
        ("パリではなくリヨン", "new"),
        ("大阪です、東京ではない", "new"),
        ("首都は東京です", "old"),
        ("수도는 파리가 아니라 리옹이다", "new"),
        ("파리가 아닌 리옹", "new"),
        ("수도는 파리가 아닙니다", "neither"),
        ("리옹은 파리가 아니다", "new"),
        ("아니요, 파리입니다", "old"),
        ("파리뿐만 아니라 리옹도", "old"),
    ],
)
def test_negated_names_do_not_count_in_chinese_japanese_and_korean(text, side):
    assert verdict(text, *CITIES) == side
