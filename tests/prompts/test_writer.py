from dataclasses import replace

import pytest

from edit_robustness.prompts.relations import Templates
from edit_robustness.prompts.writer import requests, tidy, write
from edit_robustness.records import Fact, Relation, SubjectType

CAPITAL = Relation(
    id="P36",
    name="capital",
    statement="The capital of {} is",
    paraphrases=("{} is governed from",),
    question="What is the capital of {}?",
    cloze="They rule {} from ____.",
    context="{} is old.",
    subject="place",
    reversed_question="Of what is {} the capital?",
)
TEMPLATES = Templates({"P36": CAPITAL}, (), {"place": SubjectType("place", "this place", ())})
FRANCE = Fact("f", "France", "P36", "{}, ruled from", "Paris", "Rome", ("Lutetia",))
SPAIN = Fact("s", "Spain", "own", "{} is ruled from", "", "Oslo")
PARTS = ["paraphrase"] * 4 + ["question", "cloze", "profile", "dialogue"]


class Script:
    """A writer that says the same to every request, or what comes next to each try."""

    name = fingerprint = "script"

    def __init__(self, *tries):
        self.tries, self.heard = tries, []

    def replies(self, conversations):
        self.heard.append(conversations)
        return [self.tries[(len(turns) - 2) // 2] for turns in conversations]


def asked(fact):
    return {(request.part, request.number): request.conversation for request in requests(fact, TEMPLATES)}


def test_what_a_writer_is_asked_for():
    assert [part for part, _ in asked(FRANCE)] == [*PARTS, "reversed_question"]
    # without a template, many subjects may have this object
    assert [part for part, _ in asked(SPAIN)] == PARTS
    for (part, _), (system, user) in asked(FRANCE).items():
        assert (system.role, user.role) == ("system", "user")
        assert '"The capital of France is ____."' in user.text
        assert ("Do not use these names: Paris, Lutetia, Rome." in user.text) == (part != "reversed_question")
    assert "Do not use these names: Oslo." in asked(SPAIN)["cloze", 0][1].text


BLANKED = 'A sentence with a blank: "The capital of France is ____."'
ONE_MORE = "It names France, means the same, and ends with ____ too."
FORBIDDEN = "Do not use these names: Paris, Lutetia"
REQUESTS = {
    ("paraphrase", 0): f"Write another sentence that opens with France. {ONE_MORE} {FORBIDDEN}, Rome.",
    ("paraphrase", 1): f"Write another sentence that has France in its middle. {ONE_MORE} {FORBIDDEN}, Rome.",
    ("paraphrase", 2): (
        f"Write another sentence in the form of an entry in a questionnaire. {ONE_MORE} {FORBIDDEN}, Rome."
    ),
    ("paraphrase", 3): (
        f"Write another sentence in the form of something that one person says to another. {ONE_MORE} "
        f"{FORBIDDEN}, Rome."
    ),
    ("question", 0): (
        f"Write a question that names France and whose answer is what ____ stands for. {FORBIDDEN}, Rome."
    ),
    ("cloze", 0): (
        "Write another sentence that names France, with ____ once, not at the end, for the same thing. "
        f"{FORBIDDEN}, Rome."
    ),
    ("profile", 0): (
        "Write 200 to 300 words about France, as an encyclopaedia would, without a heading. Name France in the first "
        f"sentence. Leave out what ____ stands for. {FORBIDDEN}, Rome."
    ),
    ("dialogue", 0): (
        "Write a conversation about France of four lines. The first and the third begin with `User:`, the second and "
        "the fourth with `Assistant:`. Name France in the first line. Leave out what ____ stands for. "
        f"{FORBIDDEN}, Rome."
    ),
    ("reversed_question", 0): (
        f"Write a question that names Rome and whose answer would be France. Leave France out. {FORBIDDEN}."
    ),
}


def test_the_requests_word_for_word():
    assert {key: user.text for key, (_, user) in asked(FRANCE).items()} == {
        key: f"{BLANKED}\n{task}" for key, task in REQUESTS.items()
    }
    assert asked(FRANCE)["cloze", 0][0].text == (
        "You write short English texts, each exactly as it is asked for. Answer with the text alone: no introduction, "
        "no explanation, no quotation marks around it."
    )
    question = replace(SPAIN, prompt="Who rules {}?")
    assert asked(question)["paraphrase", 0][1].text == (
        'A sentence with a blank: “The answer to the question "Who rules Spain?" is ____.”\n'
        'The question is "Who rules Spain?" Ask the same question in other words, and name Spain. '
        "Do not use these names: Oslo."
    )


def test_a_question_is_rephrased_by_questions():
    question = replace(SPAIN, prompt="Who rules {}?")
    assert "Ask the same question in other words" in asked(question)["paraphrase", 0][1].text


@pytest.mark.parametrize(
    ("part", "reply", "text"),
    [
        ("question", '"Where is it?"', "Where is it?"),
        ("question", "“Where is it?”", "Where is it?"),
        ("question", '"Where" is "it"?', '"Where" is "it"?'),
        ("paraphrase", "France is ruled from ____.", "France is ruled from"),
        ("paraphrase", '"France is ruled from the ___"', "France is ruled from the"),
        ("paraphrase", "France has ____ as its seat.", "France has ____ as its seat."),
        ("cloze", "```\nThey meet in ____ now.\n```", "They meet in ____ now."),
        ("profile", "France is old.\n\nIt is large.", "France is old. It is large."),
        ("question", "Where\x00 is \x14it\ud800?", "Where is it?"),
        ("dialogue", "User: Hello\n\n Assistant: Yes\n", "User: Hello\nAssistant: Yes"),
    ],
)
def test_replies_are_tidied(part, reply, text):
    assert tidy(part, reply) == text


def test_a_refused_text_is_shown_to_the_writer_with_the_reason_and_every_try_is_kept():
    script = Script("They rule France from Paris, not ____.", "They rule France from ____.", "never")
    wordings = write([FRANCE], TEMPLATES, script, tries=3)["f"]
    cloze = [(word.number, word.text, word.accepted, word.reason) for word in wordings if word.part == "cloze"]
    assert cloze == [
        (0, "They rule France from Paris, not ____.", False, "names an object: 'Paris'"),
        (0, "They rule France from ____.", True, ""),
    ]
    again = next(turns for turns in script.heard[1] if "with ____ once" in turns[1].text)
    assert [turn.role for turn in again] == ["system", "user", "assistant", "user"]
    assert again[2].text == "They rule France from Paris, not ____."
    assert again[3].text == "That cannot be used (names an object: 'Paris'). Write it once more."
    assert {word.source for word in wordings} == {"writer"}


def test_a_writer_is_not_asked_more_often_than_that():
    script = Script(*["Nothing."] * 5)
    wordings = write([FRANCE, SPAIN], TEMPLATES, script, tries=2)
    assert [len(turns) for turns in script.heard] == [len(PARTS) * 2 + 1] * 2
    assert not any(word.accepted for words in wordings.values() for word in words)
    assert [len(words) for words in wordings.values()] == [2 * (len(PARTS) + 1), 2 * len(PARTS)]


def test_an_empty_reply_is_refused_and_asked_again():
    script = Script("", "They rule France from ____.")
    wordings = write([FRANCE], TEMPLATES, script, tries=2)["f"]
    assert wordings[0].reason == "empty: there is no text"
    assert all(turns[2].text for turns in script.heard[1])
