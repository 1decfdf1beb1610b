"""Whether the unedited model answers with a stable object of the right type."""

import json

import pytest

from edit_robustness.metrics.known import is_known, named_object, opens_with
from edit_robustness.metrics.mentions import verdict

OBJECTS = [["United States", "US", "USA"], ["France"], ["New York"], ["York"], ["日本", "Japan"]]


def row(text, true="", objects=OBJECTS, prompt="The country of Ada is", aliases=(), conversation=False):
    return {
        "text": text,
        "sentence": text,
        "prompt": prompt,
        "conversation": conversation,
        "target_new": "Rome",
        "target_true": true,
        "target_true_aliases": json.dumps(aliases),
        "relation_objects": json.dumps(objects),
        "subject": "Ada",
        "verdict": verdict(text, ["Rome"], [true, *aliases]),
    }


@pytest.mark.parametrize(
    ("text", "object_name"),
    [
        (" the U.S. and France.", "United States"),
        (" France, not the USA.", "France"),
        (" not France but York.", "York"),
        (" New York.", "New York"),
        (" let us see.", ""),
        (" 日本です。", "日本"),
        (" Rome.", "Rome"),
        ("", ""),
    ],
)
def test_the_first_object_of_the_relation_is_named(text, object_name):
    assert named_object(row(text)) == object_name


@pytest.mark.parametrize(
    ("text", "is_stable"),
    [
        (" France.", True),
        (" the United States.", True),
        (' "France" is it.', True),
        (" a part of France.", False),
        (" Rome.", False),
        (" somewhere.", False),
    ],
)
def test_an_answer_is_known_if_it_opens_with_an_object(text, is_stable):
    assert is_known(row(text)) == is_stable
    assert is_known(row(text, true="Gaul", objects=[], aliases=("France", "United States"))) == is_stable


def test_only_the_true_object_counts_where_it_is_known():
    assert not is_known(row(" France.", true="Norway", objects=[]))
    assert is_known(row(" Norway.", true="Norway", objects=[]))


@pytest.mark.parametrize("prompt", [{"prompt": "Where is Ada from?"}, {"conversation": True}])
def test_a_question_may_be_answered_in_a_whole_sentence(prompt):
    assert is_known(row(" Ada is from France.", **prompt))
    assert not is_known(row(" Ada is from France."))


def test_opening_with_a_name():
    assert opens_with(" The Netherlands are flat.", ("The Netherlands",))
    assert opens_with("Netherlands", ("Holland", "Netherlands"))
    assert not opens_with("In the Netherlands", ("Netherlands",))


@pytest.mark.parametrize(
    ("sentence", "name", "opens"),
    [
        ("New-York is it", "New York", True),
        ("AT & T", "AT&T", True),
        ("St. Petersburg", "St Petersburg", True),
        ("Parisian wine, from Paris", "Paris", False),
    ],
)
def test_opening_with_a_name_is_told_as_names_are_everywhere(sentence, name, opens):
    assert opens_with(sentence, (name,)) is opens
