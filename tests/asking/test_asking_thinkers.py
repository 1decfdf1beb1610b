"""Models that think are asked as others are: thinking off, or cut off, and the objects scored behind it."""

from dataclasses import replace

import pytest
from fabricated_edits import FACTS, probes

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.asking.converse import ConversationSettings, converse
from edit_robustness.asking.topics import Topic
from edit_robustness.editing.edits import PromptPrefix
from edit_robustness.metrics.scores import score_answers
from edit_robustness.models.thinking import LIMIT
from edit_robustness.models.tiny import tiny_model
from edit_robustness.records import Turn
from edit_robustness.speakers.local import LocalSpeaker, LocalSpeakerSettings, conversation_ids, speak
from edit_robustness.speakers.scripted import ScriptedSpeaker
from edit_robustness.tables import answers_from_table, answers_to_table

ASKING = "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}<|assistant|>"
# a template loses the line break that it ends in, unless an expression writes it
ALWAYS = ASKING + "{{ '<think>\\n' }}"
EMPTY = ASKING + "{{ '<think>\\n\\n</think>\\n\\n' }}"
NONE = PromptPrefix()
KINDS = ("statement", "question", "doubt")


def thinker(template):
    lm = tiny_model("llama")
    lm.tokenizer.chat_template = template
    return lm


def answers(template, decoding, edits=(NONE,)):
    return list(ask(thinker(template), [(edit, probes(KINDS, FACTS[0])) for edit in edits], decoding))


def test_what_is_thought_has_a_limit_of_its_own_and_is_no_answer():
    (edit_answers,) = answers(ALWAYS, Decoding(max_new_tokens=6, max_thinking_tokens=9))
    for answer in edit_answers:
        if answer.probe.conversation:
            # a random model closes no thinking part
            assert (answer.text, answer.tokens, answer.finished) == ("", 0, False)
            assert answer.thinking
        else:
            assert answer.tokens
            assert answer.thinking == ""
    table = answers_to_table(edit_answers, model="m", method="none", decoding="d")
    assert answers_from_table(table) == edit_answers
    scores = score_answers(table).query("protocol == 'free' and metric == 'cut'").set_index("kind")["value"]
    assert scores["question"].all()


def test_objects_are_scored_behind_an_empty_thinking_part():
    decoding = Decoding(max_new_tokens=3, max_thinking_tokens=3)
    edits = (PromptPrefix(), PromptPrefix("Once. "))
    open_, closed_answers, other_answers = (answers(template, decoding, edits) for template in (ALWAYS, EMPTY, ASKING))
    for edit_answers, closed_edit_answers, without in zip(open_, closed_answers, other_answers, strict=True):
        for open_answer, closed_answer, plain in zip(edit_answers, closed_edit_answers, without, strict=True):
            if open_answer.probe.follows is None:
                assert open_answer.logprob_new == pytest.approx(closed_answer.logprob_new, abs=1e-4)
                assert open_answer.logprob_true == pytest.approx(closed_answer.logprob_true, abs=1e-4)
                assert open_answer.margin == pytest.approx(closed_answer.margin, abs=1e-4)
            if open_answer.probe.conversation and open_answer.probe.follows is None:
                assert open_answer.logprob_new != pytest.approx(plain.logprob_new, abs=1e-3)


def test_a_doubt_follows_the_answer_and_not_what_was_thought():
    lm = thinker(ALWAYS)
    (edit_answers,) = ask(
        lm, [(PromptPrefix(), probes(KINDS, FACTS[0]))], Decoding(max_new_tokens=4, max_thinking_tokens=4)
    )
    doubt = next(answer for answer in edit_answers if answer.probe.follows is not None)
    previous_turns = [*doubt.probe.previous_turns, Turn("assistant", ""), Turn("user", doubt.probe.text)]
    (turn,) = speak(lm, [conversation_ids(lm, previous_turns)], limit=4, thinking_limit=4)
    assert (turn.text, turn.finished) == ("", False)
    assert doubt.thinking


def test_answers_say_by_which_limits_they_were_made():
    decoding = Decoding()
    assert (decoding.max_new_tokens, decoding.max_thinking_tokens) == (64, LIMIT)
    assert decoding.describe(thinker(ALWAYS)) == f"greedy, 64 new tokens, {LIMIT} thinking tokens, float32"
    assert decoding.describe(thinker(ASKING)) == "greedy, 64 new tokens, float32"


def test_a_speaker_that_thinks_is_cut_and_says_so(caplog):
    lm = thinker(ALWAYS)
    speaker = LocalSpeaker(lm, LocalSpeakerSettings(max_new_tokens=4, max_thinking_tokens=5))
    assert speaker.replies([[Turn("user", "Where?")]] * 2) == ["", ""]
    assert "2 of 2 turns were cut off; raise the speaker's max_new_tokens (4) or max_thinking_tokens (5)" in caplog.text
    other_speaker = LocalSpeaker(lm, LocalSpeakerSettings(max_new_tokens=4, max_thinking_tokens=6))
    assert other_speaker.fingerprint != speaker.fingerprint
    with pytest.raises(ValueError, match=r"and 2044 new tokens"):
        LocalSpeaker(lm, replace(LocalSpeakerSettings(), max_new_tokens=44, max_thinking_tokens=2000)).replies(
            [[Turn("user", "W" * 99)]]
        )


@pytest.mark.parametrize(("template", "n_unfinished"), [(ALWAYS, 2), (EMPTY, 0)])
def test_turns_of_a_model_that_thinks_are_what_it_says_after(template, n_unfinished, monkeypatch):
    lm, fact = thinker(template), FACTS[0]
    monkeypatch.setattr(type(lm), "stop_ids", frozenset(range(len(lm.tokenizer))) if not n_unfinished else frozenset())
    talk = (PromptPrefix(), Topic(fact, "Where is it?", "And in other words?"))
    settings = ConversationSettings(rounds=2, max_new_tokens=4, max_thinking_tokens=5)
    (transcript,) = converse(lm, [talk], ScriptedSpeaker(), settings, method="none")
    assert (transcript.replies, transcript.unfinished) == (("", ""), n_unfinished)


def test_a_conversation_keeps_room_for_what_is_thought():
    lm = thinker(ALWAYS)
    talk = (PromptPrefix(), Topic(FACTS[0], "Where is it?", "And in other words?"))
    settings = ConversationSettings(rounds=1, max_new_tokens=4, max_thinking_tokens=lm.max_length)
    (transcript,) = converse(lm, [talk], ScriptedSpeaker(), settings, method="none")
    assert transcript.cut_short
    assert not transcript.replies
