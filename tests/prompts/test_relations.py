import copy

import pytest

from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Relation, SubjectType

RAW = {
    "relations": {
        "P36": {
            "name": "capital",
            "object": "a city",
            "statement": "The capital of {} is",
            "paraphrases": ["{} is governed from", "The seat of government of {} is in", "People who rule {} meet in"],
            "question": "What is the capital of {}?",
            "cloze": "The capital of {} is called ____.",
            "context": "{} is a country. Many people live in {}.",
            "subject": "place",
        },
        "P246": {
            "name": "symbol",
            "object": "a symbol",
            "statement": "The symbol of {} is",
            "paraphrases": ["{} is written as", "In a formula, {} becomes", "Element: {}. Symbol:"],
            "question": "What is the symbol of {}?",
            "cloze": "The letters ____ stand for {}.",
            "context": "A tube of {}.",
            "subject": "place",
            "reversed_question": "Which element has the symbol {}?",
        },
    },
    "subjects": {"place": {"reference": "this place", "profile": ["{} is old.", "See {}.", "On {}.", "{} and {}."]}},
    "unrelated": ["The train was late again."],
}


def changed(field, value):
    raw = copy.deepcopy(RAW)
    raw["relations"]["P36"][field] = value
    return raw


def test_relations_are_read():
    templates = read_relations(RAW)
    assert templates.relations["P36"] == Relation(
        id="P36",
        name="capital",
        object="a city",
        subject="place",
        statement="The capital of {} is",
        paraphrases=("{} is governed from", "The seat of government of {} is in", "People who rule {} meet in"),
        question="What is the capital of {}?",
        cloze="The capital of {} is called ____.",
        context="{} is a country. Many people live in {}.",
    )
    assert templates.relations["P246"].reversed_question == "Which element has the symbol {}?"
    assert templates.unrelated == ("The train was late again.",)
    place = SubjectType("place", "this place", ("{} is old.", "See {}.", "On {}.", "{} and {}."))
    assert templates.subjects == {"place": place}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("statement", "The capital is", r"P36\.statement: must contain \{\} exactly once, it has 0: The capital is"),
        ("statement", "{} and {} are", r"P36\.statement: must contain \{\} exactly once, it has 2"),
        ("statement", "The capital of {} is.", r"P36\.statement: must end right before the object"),
        ("statement", "The capital of {} is!", r"P36\.statement: must end right before the object"),
        ("statement", "What is the capital of {}? ", r"P36\.statement: must end right before the object"),
        ("statement", "{} is old;", r"P36\.statement: must end right before the object"),
        ("statement", 36, r"P36\.statement: .*string"),
        ("paraphrases", ["{} a", "{} b"], r"P36\.paraphrases: .*at least 3"),
        ("paraphrases", ["{} a", "{} b", "c"], r"P36\.paraphrases\.2: must contain \{\} exactly once"),
        ("paraphrases", ["{} a", "{} b", "{} a"], r"P36\.paraphrases: must differ"),
        ("question", "What?", r"P36\.question: must contain \{\}"),
        ("cloze", "The capital of {} is ___.", r"P36\.cloze: must contain ____ exactly once"),
        ("cloze", "The capital of {} is _____.", r"P36\.cloze: must contain ____ exactly once"),
        ("cloze", "____ of {} is ____.", r"P36\.cloze: must contain ____ exactly once"),
        ("context", "A country.", r"P36\.context: must contain \{\} at least once"),
        ("name", " ", r"P36\.name: is empty"),
        ("subject", "planet", r"relations\.P36\.subject: unknown type planet; types under `subjects`: place"),
        ("reversed_question", "What?", r"P36\.reversed_question: must contain \{\} exactly once"),
        ("unaffected", ["P36"], r"relations\.P36\.unaffected: the relation itself"),
        ("unaffected", ["P99"], r"relations\.P36\.unaffected: no relation P99 in this file"),
        ("unaffected", ["P36", "P36"], r"P36\.unaffected: must differ"),
        ("nmae", "capital", r"P36\.nmae: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_template_is_named(field, value, message):
    with pytest.raises(ValueError, match=message):
        read_relations(changed(field, value))


def test_all_wrong_templates_are_named_at_once():
    raw = changed("question", "What?")
    del raw["relations"]["P36"]["context"]
    with pytest.raises(ValueError, match=r"(?s)P36\.question.*P36\.context: Field required"):
        read_relations(raw)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"reference": "", "profile": ["{}."] * 4}, r"subjects\.place\.reference: is empty"),
        ({"reference": "it", "profile": ["{}.", "See {}."]}, r"subjects\.place\.profile: .*at least 4"),
        (
            {"reference": "it", "profile": ["{}.", "See {}.", "On {}.", "No."]},
            r"profile\.3: must contain \{\} at least once",
        ),
    ],
)
def test_a_wrong_type_of_subjects_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        read_relations({**RAW, "subjects": {"place": wrong}})


@pytest.mark.parametrize("raw", [{}, {"relations": {}}, {"relations": RAW["relations"], "unrelatd": []}])
def test_a_file_without_relations_or_with_other_keys_is_refused(raw):
    with pytest.raises(ValueError, match=r"relations|unrelatd"):
        read_relations(raw)


@pytest.mark.parametrize(("raw", "content"), [(None, "nothing"), ([], "a list"), ("text", "a str")])
def test_a_file_that_holds_no_names_is_refused(raw, content):
    with pytest.raises(ValueError, match=f"raw_relations .* contain {content}; they must have `relations:`"):
        read_relations(raw)
