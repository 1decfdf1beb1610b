import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from edit_robustness.asking.topics import names_object, retry_turns, topic, view_for_tester
from edit_robustness.pipelines.ingest.nodes import validate_facts
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Fact, Relation, Turn
from edit_robustness.speakers.scripted import FOLLOW_UP, TESTER, ScriptedSpeaker, fields
from edit_robustness.tables import facts_from_table

ROOT = Path(__file__).parents[2]
COUNTERFACT = ROOT.parent / "shared/data/counterfact/full_records_500.json"

FACT = Fact("f", "Borduria", "P36", "The seat of power in {} is", "Szohod", "Oslo", ("Szod",), ("Kristiania",))
CAPITAL = Relation("P36", "capital", "{} is", (), "From where is {} ruled?", "____", "")


@pytest.mark.parametrize(
    "text",
    [
        "Is it Oslo?",
        "OSLO!",
        "Szohod or not",
        "I mean Kristiania's streets",
        "I mean Szod.",
        "Is it O.s.l.o?",
        "the Oslo-born",
    ],
)
def test_either_object_in_any_of_its_names(text):
    assert names_object(text, FACT)


@pytest.mark.parametrize("text", ["Where is Borduria ruled from?", "the Osloers", "", "I had expected another city"])
def test_what_names_none(text):
    assert not names_object(text, FACT)


def test_the_subjects_own_name_is_no_naming():
    fact = Fact("f", "Oslo Opera House", "P131", "{} is in", "Oslo", "Bergen", subject_aliases=("Opera of Oslo",))
    assert not names_object("Where is the Oslo Opera House, or Opera of Oslo?", fact)
    assert names_object("Is the Oslo Opera House in Oslo?", fact)


def test_an_old_object_that_is_not_known_is_nowhere():
    assert not names_object("Where to?", replace(FACT, target_true="", target_true_aliases=()))


def test_the_questions_of_a_fact():
    subject_topic = topic(FACT, CAPITAL)
    assert subject_topic.question == "From where is Borduria ruled?"
    assert subject_topic.other_words == 'How would you complete this sentence: "The seat of power in Borduria is ..."?'
    alone = topic(FACT, None)
    assert alone.question == subject_topic.other_words
    assert alone.other_words == "What can you tell me about Borduria?"
    question = topic(replace(FACT, prompt="What is {} ruled from?"), None)
    assert question.question == "What is Borduria ruled from?"


def test_a_question_that_names_an_object_is_not_asked():
    leaky_relation = replace(CAPITAL, question="Is {} ruled from Oslo?")
    assert topic(FACT, leaky_relation).question.startswith("How would you complete")


def test_the_brief_can_be_read_by_a_script():
    brief = topic(replace(FACT, subject="Bor{question}\nduria"), CAPITAL).brief()
    assert brief.role == "system"
    values = fields(brief.text)
    assert values["subject"] == "Bor{question} duria"
    assert values["question"] == "From where is Bor{question} duria ruled?"
    assert values["forbidden"] == "Oslo; Kristiania; Szohod; Szod"


def test_the_tester_hears_the_conversation_from_its_side():
    subject_topic = topic(FACT, CAPITAL)
    tester_turns = view_for_tester(subject_topic, [Turn("user", "Where?"), Turn("assistant", "")])
    assert [turn.role for turn in tester_turns] == ["system", "user", "assistant", "user"]
    assert tester_turns[2].text == "Where?"
    assert tester_turns[3].text
    again = retry_turns(tester_turns, "")
    assert [turn.role for turn in again[4:]] == ["assistant", "user"]
    assert all(turn.text for turn in again)


def lines_of(topics):
    """All that the scripts can say on these topics."""
    for fact_topic in topics:
        brief = fact_topic.brief()
        for script in (TESTER, FOLLOW_UP):
            for line in (line for lines in script for line in lines):
                yield fact_topic.fact, ScriptedSpeaker([[line]]).replies([[brief]])[0]


def leaks(topics):
    return [(fact.id, line) for fact, line in lines_of(topics) if names_object(line, fact)]


def test_the_script_names_no_object_of_the_embedded_facts():
    raw = yaml.safe_load((ROOT / "data/01_raw/relations.yml").read_text(encoding="utf-8"))
    table = pd.read_csv(ROOT / "data/01_raw/facts.csv", dtype=str, keep_default_na=False)
    facts = facts_from_table(validate_facts(table, raw)[0])
    relations = read_relations(raw).relations
    assert not leaks([topic(fact, relations.get(fact.relation)) for fact in facts[::4]])


@pytest.mark.skipif(not COUNTERFACT.exists(), reason="the records are not here")
def test_the_script_names_no_object_of_counterfact():
    topics = []
    for record in json.loads(COUNTERFACT.read_text(encoding="utf-8"))[::5]:
        rewrite = record["requested_rewrite"]
        names = (rewrite["target_true"]["str"], rewrite["target_new"]["str"])
        topics.append(topic(Fact(str(record["case_id"]), rewrite["subject"], "", rewrite["prompt"], *names), None))
    assert len(topics) == 100
    assert not leaks(topics)
