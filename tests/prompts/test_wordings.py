import logging
from dataclasses import replace

import pandas as pd
import pytest

from edit_robustness.prompts.checks import read_turns
from edit_robustness.prompts.relations import Templates
from edit_robustness.prompts.wordings import (
    ANY_SUBJECT,
    Wording,
    accepted_texts,
    claim,
    complete_wordings,
    data_wordings,
    denial,
    other_profile,
    subject_type,
    template_wordings,
    wordings_from_table,
    wordings_to_table,
)
from edit_robustness.records import Fact, Relation, SubjectType

PLACE = SubjectType(
    "place",
    "this place",
    (
        "Maps of {} hang in many schools.",
        "A letter from {} was found in the attic.",
        "Nobody knows {} better than the children do.",
        "Much of {} was painted again last year.",
        "On the whole {} is said to be quiet.",
    ),
)
CAPITAL = Relation(
    id="P36",
    name="capital",
    statement="The capital of {} is",
    paraphrases=("{} is governed from", "Those who rule {} meet in"),
    question="What is the capital of {}?",
    cloze="They rule {} from ____, it is said.",
    context="{} has a page in every atlas.",
    subject="place",
    reversed_question="Of what is {} the capital?",
)
TEMPLATES = Templates({"P36": CAPITAL}, (), {"place": PLACE})
FRANCE = Fact("f", "France", "P36", "{}, ruled from", "Paris", "Rome", paraphrases=("Links. France, with its seat in",))
STATED = Fact("s", "Ada Quist", "", "{} lives in", "", "Rome")
ASKED = Fact("q", 'The "Owl"', "", "Who wrote {}?", "Ada", "Bo")


def texts(fact, templates=TEMPLATES):
    return accepted_texts(template_wordings(fact, templates))


def test_wordings_of_a_known_relation():
    texts_by_part = texts(FRANCE)
    assert texts_by_part["paraphrase"] == (
        "Links. France, with its seat in",
        "France is governed from",
        "Those who rule France meet in",
    )
    assert texts_by_part["question"] == ("What is the capital of France?",)
    assert texts_by_part["cloze"] == ("They rule France from ____, it is said.",)
    assert texts_by_part["profile"] == (
        "France has a page in every atlas. Maps of France hang in many schools. A letter from France was found in the "
        "attic. Nobody knows France better than the children do. Much of France was painted again last year. On the "
        "whole France is said to be quiet.",
    )
    assert texts_by_part["reversed_question"] == ("Of what is Rome the capital?",)
    sources = {word.text: word.source for word in template_wordings(FRANCE, TEMPLATES)}
    assert sources["Links. France, with its seat in"] == "data"
    assert sources["France is governed from"] == "templates"


def test_a_dialogue_has_four_turns_with_sentences_of_the_profile():
    turns = read_turns(texts(FRANCE)["dialogue"][0])
    sentences = [sentence.replace("{}", "France") for sentence in PLACE.profile]
    assert [turn.role for turn in turns] == ["user", "assistant", "user", "assistant"]
    assert all(sum(sentence in turn.text for sentence in sentences) == 1 for turn in turns)
    assert len({sentence for sentence in sentences for turn in turns if sentence in turn.text}) == 4


def test_sentences_that_name_an_object_are_left_out_of_profile_and_dialogue():
    attic = replace(FRANCE, target_new="The Attic", target_new_aliases=("attic",))
    texts_by_part = texts(attic)
    assert "Maps of France" in texts_by_part["profile"][0]
    assert "attic" not in texts_by_part["profile"][0] + texts_by_part["dialogue"][0]


def test_an_object_in_the_subjects_own_name_gives_nothing_away():
    opera = replace(FRANCE, subject="Paris Opera", paraphrases=())
    assert texts(opera)["profile"][0].startswith("Paris Opera has a page in every atlas. Maps of Paris Opera hang")


def test_three_sentences_are_too_few_for_a_profile():
    profiles = []
    for number in (2, 3):
        place = replace(PLACE, profile=PLACE.profile[:number])
        texts_by_part = texts(FRANCE, Templates(TEMPLATES.relations, (), {"place": place}))
        profiles.append(texts_by_part["profile"])
        assert texts_by_part["dialogue"] == ()
    assert [len(profile) for profile in profiles] == [0, 1]


def test_a_wording_that_gives_an_object_away_is_refused_with_the_reason():
    seat = replace(FRANCE, target_true_aliases=("meet",))
    [refusal] = [word for word in template_wordings(seat, TEMPLATES) if not word.accepted]
    assert (refusal.part, refusal.text) == ("paraphrase", "Those who rule France meet in")
    assert refusal.reason == "names an object: 'meet'"
    assert refusal.text not in texts(seat)["paraphrase"]


def test_a_paraphrase_that_repeats_the_statement_or_another_is_refused():
    again = replace(FRANCE, prompt="{} is governed from", paraphrases=("Those who RULE France  meet in",))
    reasons = [word.reason for word in template_wordings(again, TEMPLATES) if not word.accepted]
    assert reasons == ["repeats: the same text comes before"] * 2


def test_wordings_of_a_statement_without_a_relation():
    texts_by_part = texts(STATED)
    assert texts_by_part["question"] == ('How does this sentence end: "Ada Quist lives in"?',)
    assert texts_by_part["cloze"] == ("Ada Quist lives in ____.",)
    assert texts_by_part["paraphrase"] == texts_by_part["reversed_question"] == ()
    assert texts_by_part["profile"][0].startswith("A short entry on Ada Quist can be found")
    assert subject_type(STATED, TEMPLATES) is ANY_SUBJECT


def test_wordings_of_a_question_without_a_relation():
    texts_by_part = texts(replace(ASKED, paraphrases=('Who came up with The "Owl"?',)))
    assert texts_by_part["question"] == ('Who wrote The "Owl"?',)
    assert texts_by_part["cloze"] == ('The answer to the question “Who wrote The "Owl"?” is ____.',)
    assert texts_by_part["paraphrase"] == ('Who came up with The "Owl"?',)


def test_a_claim_is_a_whole_sentence_up_to_its_object_and_a_denial_denies_it():
    assert claim(FRANCE, CAPITAL) == "The capital of France is"
    assert denial(FRANCE, CAPITAL) == "It is not the case that the capital of France is"
    assert claim(STATED, None) == "Ada Quist lives in"
    assert denial(replace(STATED, subject="The Owl"), None) == "It is not the case that The Owl lives in"
    assert claim(ASKED, None) == 'The answer to the question “Who wrote The "Owl"?” is'
    assert denial(ASKED, None).startswith("It is not the case that the answer to the question “Who wrote")


def test_another_profile_shares_no_sentence_with_the_own_type():
    spain = replace(FRANCE, id="e", subject="Spain")
    assert other_profile(spain, TEMPLATES, ANY_SUBJECT).startswith("Maps of Spain")
    assert other_profile(spain, TEMPLATES, PLACE).startswith("A short entry on Spain")
    thing = replace(PLACE, name="thing", profile=tuple(f"{letter} {{}}." for letter in "ABCDE"))
    templates = Templates(TEMPLATES.relations, (), {"place": PLACE, "thing": thing})
    assert other_profile(spain, templates, PLACE) == "A Spain. B Spain. C Spain. D Spain. E Spain."


@pytest.mark.parametrize("fact", [FRANCE, STATED, ASKED])
def test_every_subject_has_a_profile_and_a_dialogue(fact):
    assert all(texts(fact)[part] for part in ("question", "cloze", "profile", "dialogue"))


# the table


def test_a_table_of_wordings_comes_back_as_it_was(tmp_path):
    wordings = template_wordings(FRANCE, TEMPLATES) + template_wordings(ASKED, TEMPLATES)
    wordings_to_table(wordings).to_csv(tmp_path / "w.csv", index=False)
    table = pd.read_csv(tmp_path / "w.csv", dtype=str, keep_default_na=False)
    assert wordings_from_table(table) == wordings


def test_refused_rows_stay_out_and_a_table_made_by_hand_needs_three_columns():
    rows = [
        {"fact_id": "f", "part": "paraphrase", "text": " One in ", "accepted": "True"},
        {"fact_id": "f", "part": "paraphrase", "text": "Two in", "accepted": "FALSE"},
        {"fact_id": "f", "part": "paraphrase", "text": "Three in", "accepted": ""},
    ]
    wordings = wordings_from_table(pd.DataFrame(rows))
    assert [(word.number, word.text, word.source) for word in wordings] == [
        (0, "One in", "table"),
        (1, "Three in", "table"),
    ]
    with pytest.raises(ValueError, match="has no column part, text; its columns are fact_id"):
        wordings_from_table(pd.DataFrame({"fact_id": ["f"]}))
    with pytest.raises(ValueError, match="line 3 of the table of wordings: unknown part 'riddle'; parts: paraphrase"):
        wordings_from_table(pd.DataFrame([rows[0], rows[0] | {"part": "riddle"}]))


def test_templates_stand_in_for_parts_of_which_nothing_passed_and_are_counted(caplog):
    candidates = {
        "f": [
            Wording("f", "question", 0, "Where is the king of France?", "table"),
            Wording("f", "cloze", 0, "France has no blank.", "table"),
        ]
    }
    with caplog.at_level(logging.WARNING):
        texts_by_part = accepted_texts(complete_wordings([FRANCE], candidates, TEMPLATES))
    assert texts_by_part["question"] == ("Where is the king of France?",)
    assert texts_by_part["cloze"] == ("They rule France from ____, it is said.",)
    assert "1 of 1 facts use a cloze from the templates" in caplog.text
    assert "use a question" not in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert complete_wordings([FRANCE], {}, TEMPLATES) == template_wordings(FRANCE, TEMPLATES)
    assert caplog.text == ""


def test_what_a_table_says_is_checked_too(caplog):
    candidates = {"f": [Wording("f", "question", 0, "Is Paris in France?", "table")]}
    with caplog.at_level(logging.INFO):
        wordings = complete_wordings([FRANCE], candidates, TEMPLATES)
    assert "Refused 1 wordings: question names an object" in caplog.text
    assert [word.reason for word in wordings if word.text == "Is Paris in France?"] == ["names an object: 'Paris'"]


def test_what_a_data_set_brings():
    assert data_wordings(FRANCE) == [Wording("f", "paraphrase", 0, "Links. France, with its seat in", "data")]
