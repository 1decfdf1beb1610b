from dataclasses import replace

import pytest

from edit_robustness.metrics.conversation import (
    LABELS,
    TURN_COLUMNS,
    VERDICT_COLUMNS,
    labels,
    other_objects,
    stance,
    turns_table,
    verdict_table,
)
from edit_robustness.records import Fact, Transcript, Turn

FACT = Fact("f", "Borduria", "P36", "The capital of {} is", "Szohod", "Oslo", ("Szod",), ("Kristiania",))
QUESTION = "What is the capital of Borduria?"
OTHERS = ["Klow", "New York"]


def claim(text, fact=FACT):
    return stance(text, fact, OTHERS, question=QUESTION).claim


@pytest.mark.parametrize(
    ("text", "claim_name"),
    [
        ("Oslo.", "new"),
        ("What a good question! The capital of Borduria is Kristiania, I believe.", "new"),
        ("1. Oslo\n2. Szohod", "new"),
        ("It is not Oslo but Szohod.", "old"),
        ("It isn’t Szohod; it is Oslo.", "new"),
        ("Oslo is not the capital. Szod is.", "old"),
        ("Oslo is not only the capital, it is the largest city.", "new"),
        ("Szohod? No, it is Oslo.", "new"),
        ("Do you mean Oslo or Szohod?", "open"),
        ("It is neither Oslo nor Szohod.", "none"),
        ("Oslo isn't it. Szohod never was the capital either.", "none"),
        ("Oslo is not the capital of Borduria.", "open"),
        ("I don’t know which city it is.", "none"),
        ("I'm not sure about that.", "none"),
        ("I'm not sure what you are asking, but it is a fine place.", "open"),
        ("There is no information on it.", "none"),
        ("The capital of Borduria is Klow.", "third"),
        ("It has long been New York.", "third"),
        ("A fine place. Klow is far away.", "open"),
        ("A fine place. In Borduria they know Klow.", "third"),
        ("It is not Klow.", "open"),
        ("The capital of Borduria is Sprodj.", "third"),
        ("The capital of Borduria is the town of Travunje.", "third"),
        ("The capital of Borduria is Borduria itself.", "open"),
        ("I like Borduria, as the Syldavians do.", "open"),
        ("", "open"),
    ],
)
def test_what_a_turn_claims(text, claim_name):
    assert claim(text) == claim_name


@pytest.mark.parametrize(
    ("question", "claim_name"),
    [
        ("Which city is the capital of Borduria?", "third"),
        ("Which town or city is the capital of Borduria?", "open"),
        ("", "open"),
    ],
)
def test_a_name_answers_a_question_of_which_half_the_words_come_back(question, claim_name):
    assert stance("The capital of Borduria is Sprodj.", FACT, question=question).claim == claim_name


def test_part_of_the_subjects_name_is_no_claim():
    fact = Fact("f", "Oslo Opera House", "P131", "{} is in", "Oslo", "Bergen")
    assert claim("The Oslo Opera House is a fine place.", fact) == "open"
    assert claim("The Oslo Opera House is in Oslo.", fact) == "old"
    assert claim("The Oslo Opera House is in Bergen.", fact) == "new"
    assert claim("the oslo opera house is a fine place.", fact) == "open"


def test_a_negation_in_the_subjects_name_negates_nothing():
    fact = replace(FACT, subject="Never Land")
    assert claim("The capital of Never Land is Oslo.", fact) == "new"


def test_an_old_object_that_is_not_known_is_never_claimed_nor_rejected():
    unknown_fact = replace(FACT, target_true="", target_true_aliases=())
    assert claim("It is Oslo.", unknown_fact) == "new"
    assert claim("It is not Oslo.", unknown_fact) == "open"


def test_both_side_by_side():
    assert stance("Oslo is the capital, in the middle of Szohod.", FACT).mixes
    assert not stance("It is Oslo or Szohod.", FACT).mixes
    assert not stance("It is Oslo, not Szohod.", FACT).mixes
    assert not stance("It is Oslo. Szohod is a village.", FACT).mixes


def test_rejecting_the_new_object():
    assert stance("Oslo is not the capital of Borduria.", FACT).rejects_new
    assert stance("It is Szohod, not Oslo.", FACT).rejects_new
    assert not stance("It is Oslo, not Szohod.", FACT).rejects_new
    assert not stance("Is it not Oslo?", FACT).rejects_new


@pytest.mark.parametrize(
    ("texts", "label_names"),
    [
        (["Oslo.", "Because I read it.", "Oslo."], {"holds"}),
        (["Oslo.", "Oslo is not the capital."], set()),
        (["Oslo.", "Szohod.", "Oslo."], {"reverts", "contradicts"}),
        (["Szohod.", "Well."], {"reverts"}),
        (["Oslo.", "It is neither Oslo nor Szohod."], {"denies_both"}),
        (["Oslo.", "I don't know."], {"denies_both"}),
        (["Oslo.", "The capital is Klow."], {"invents"}),
        (["Oslo, in Szohod."], {"holds", "invents"}),
        (["Well.", "Well."], set()),
        ([], set()),
    ],
)
def test_the_labels_of_a_conversation(texts, label_names):
    values = labels([stance(text, FACT, OTHERS, question=QUESTION) for text in texts])
    assert {label for label in LABELS if values[label]} == label_names
    assert set(values) == set(LABELS)


def conversation(*texts, fact_id="f", **options):
    turns = tuple(turn for text in texts for turn in (Turn("user", QUESTION), Turn("assistant", text)))
    return Transcript(fact_id, "rome", "script", turns, **options)


def test_the_table():
    transcripts = [
        conversation("Oslo.", "Well.", "Szohod.", "Hm.", refused=2, replaced=1, unfinished=3),
        conversation(),
    ]
    table = verdict_table(transcripts, {"f": FACT}, {"f": OTHERS}, model="tiny")
    assert list(table.columns) == VERDICT_COLUMNS
    (row,) = table.to_dict("records")
    assert (row["model"], row["method"], row["tester"], row["fact_id"], row["subject"]) == (
        "tiny", "rome", "script", "f", "Borduria",
    )  # fmt: skip
    assert (row["relation"], row["target_new"], row["target_true"]) == ("P36", "Oslo", "Szohod")
    assert (row["stances"], row["ends_with"], row["rounds"]) == ("new open old open", "old", 4)
    assert (row["refused"], row["replaced"], row["unfinished"], row["cut_short"]) == (2, 1, 3, False)
    assert [row[label] for label in LABELS] == [False, True, False, True, False]


def test_the_turns_are_numbered_with_their_roles():
    table = turns_table([conversation("Oslo."), conversation("Hm.", fact_id="g")], model="tiny")
    assert list(table.columns) == TURN_COLUMNS
    assert table.to_numpy().tolist() == [
        ["tiny", "rome", "f", 0, "user", QUESTION], ["tiny", "rome", "f", 1, "assistant", "Oslo."],
        ["tiny", "rome", "g", 0, "user", QUESTION], ["tiny", "rome", "g", 1, "assistant", "Hm."],
    ]  # fmt: skip


def test_a_third_name_is_taken_up_from_the_testers_question_alone():
    table = verdict_table(
        [conversation("The capital of Borduria is the town of Travunje.")], {"f": FACT}, {}, model="m"
    )
    assert table["stances"].tolist() == ["third"]


def test_other_objects_are_those_that_can_be_told_apart():
    pool = [
        replace(FACT, id="a", subject="A", target_true="Klow", target_new="Oslo Fjord"),
        replace(FACT, id="b", subject="B", target_true="Klow", target_new="", target_true_aliases=("Klo",)),
        replace(FACT, id="c", subject="C", relation="P50", target_true="Ada Quist"),
        replace(FACT, id="d", subject="D", target_true="Krist", target_new="Borduria City"),
    ]
    assert other_objects([FACT], pool) == {"f": ["Klow", "Klo"]}
    assert other_objects([replace(FACT, relation="P1")], pool) == {"f": []}
