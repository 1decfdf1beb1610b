import pandas as pd
import pytest

from edit_robustness.metrics.judge import (
    conversation,
    conversations,
    is_judged,
    judgements_table,
    options,
    read_reply,
)
from edit_robustness.records import Answer, Probe
from edit_robustness.tables import answers_to_table

EDIT = Probe("a/question/0", "a", "question", "edit", "France", "Which city?", "Lyon", "Paris")
NEAR = Probe("a/neighbourhood/0", "a", "neighbourhood", "specificity", "Spain", "?", "Lyon", "Madrid")
FOLLOWS = Probe("a/hop/0", "a", "hop", "portability", "France", "?", "Rhône", "")


class Fake:
    """Always says the same."""

    name, fingerprint = "fake", "0"

    def __init__(self, reply):
        self.reply, self.asked = reply, []

    def replies(self, conversations):
        self.asked += conversations
        return [self.reply] * len(conversations)


@pytest.fixture
def answers():
    rows = [Answer(probe, " Lyon!", True, 2, -1.0, -2.0, 1, 1, True, False) for probe in (EDIT, NEAR, FOLLOWS)]
    return answers_to_table(rows, model="m", method="rome")


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("A", "new"), (" B.", "old"), ("**C**", "neither"), ("(A)", "new"), ("a", ""), ("D", ""), ("A B", ""), ("", ""),
        ("A: Lyon", ""), ("The answer is A", ""), ("AB", ""),
    ],
)  # fmt: skip
def test_only_one_letter_is_read(reply, verdict):
    assert read_reply(reply, "Lyon", "Paris") == verdict


def test_letters_say_nothing_of_which_object_is_new():
    assert {letter: verdict for letter, (verdict, _) in options("Lyon", "Paris").items()} == {
        "A": "new", "B": "old", "C": "neither"
    }  # fmt: skip
    assert read_reply("A", "Rome", "Paris") == "old"
    assert read_reply("B", "Rome", "Paris") == "new"


def test_without_an_old_object_there_are_two_letters():
    assert [verdict for verdict, _ in options("Lyon", "").values()] == ["new", "neither"]
    assert read_reply("C", "Lyon", "") == ""


def test_the_judge_sees_prompt_answer_and_objects():
    system, user = conversation("Which city?", " Lyon!", "Lyon", "Paris")
    assert (system.role, user.role) == ("system", "user")
    assert user.text.splitlines() == [
        "Prompt: Which city?", "Answer: Lyon!", "", "What does the answer give?", "A: Lyon", "B: Paris",
        "C: something else, several of these, or nothing", "", "Letter:",
    ]  # fmt: skip
    assert "(nothing)" in conversation("?", " ", "Lyon", "Paris")[1].text


def judge_answers(answers, judge):
    rows = answers[is_judged(answers)]
    return judgements_table(rows, judge.replies(conversations(rows)), judge.name)


def test_neighbours_are_not_judged_and_unread_replies_stay_empty(answers):
    judge = Fake("B")
    table = judge_answers(answers, judge)
    assert table["probe_id"].tolist() == ["a/question/0", "a/hop/0"]
    assert table["judged"].tolist() == ["old", "neither"]
    assert len(judge.asked) == 2
    assert set(judge_answers(answers, Fake("I think B"))["judged"]) == {""}
    assert not is_judged(answers[answers["family"] == "specificity"]).any()
    assert judge_answers(answers.head(0), judge).empty


def test_verdicts_survive_parquet(answers, tmp_path):
    table = judge_answers(answers, Fake("I cannot say"))
    table.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), table)
