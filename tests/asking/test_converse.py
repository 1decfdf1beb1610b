"""Conversations with edited models: who speaks when, under which edit, and what a tester may not say."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from fabricated_edits import FACTS, POOL, bits, hooks_on, method, same_bits

from edit_robustness.asking import converse as module
from edit_robustness.asking.converse import ConversationSettings, converse
from edit_robustness.asking.topics import names_object, topic
from edit_robustness.editing.edits import LowRank, NotRowwise, PromptPrefix
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model
from edit_robustness.records import Turn
from edit_robustness.speakers.local import LocalSpeaker, LocalSpeakerSettings, conversation_ids, speak
from edit_robustness.speakers.scripted import FOLLOW_UP, ScriptedSpeaker

SETTINGS = ConversationSettings(rounds=3, retries=2, max_new_tokens=5, batch_rows=4)
TOPICS = [topic(fact, None) for fact in FACTS]


class Fake:
    """Says what it is told to, and remembers what it heard."""

    name, fingerprint = "fake", "fake"

    def __init__(self, say, lm=None):
        self.say, self.lm, self.heard = say, lm, []
        self.before = bits(lm) if lm else None

    def replies(self, conversations):
        if self.lm:
            assert hooks_on(self.lm) == 0
            assert same_bits(bits(self.lm), self.before)
        self.heard += conversations
        return [self.say(turns) for turns in conversations]


class Alone(LowRank):
    """An edit that cannot act on single rows."""

    @contextmanager
    def applied(self, lm, rows=None):
        if rows is not None:
            raise NotRowwise("by itself")
        with super().applied(lm):
            yield lm


def talks(edits):
    return list(zip(edits, TOPICS, strict=True))


def words(transcripts):
    return [transcript.turns for transcript in transcripts]


def test_turns_alternate_and_the_facts_come_in_order(lab):
    lm = lab.model("llama")
    transcripts = list(converse(lm, talks(lab.edits("rome", "llama")), ScriptedSpeaker(), SETTINGS, method="rome"))
    assert [transcript.fact_id for transcript in transcripts] == [fact.id for fact in FACTS]
    for transcript in transcripts:
        assert [turn.role for turn in transcript.turns] == ["user", "assistant"] * 3
        assert (transcript.method, transcript.tester, transcript.refused, transcript.replaced) == (
            "rome",
            "script",
            0,
            0,
        )
        assert transcript.unfinished <= 3
        assert not transcript.cut_short


@pytest.mark.parametrize(
    ("method", "architecture"), [("rome", "llama"), ("ike", "gpt2"), ("grace", "llama"), ("serac", "llama")]
)
def test_many_in_one_batch_are_as_one_at_a_time(lab, method, architecture):
    lm = lab.model(architecture)
    preparation = lab.artefact(method, architecture)
    edits = [edit.with_artefact(preparation) for edit in lab.edits(method, architecture)]
    weights = bits(lm)
    turns_by_talk = words(converse(lm, talks(edits), ScriptedSpeaker(), SETTINGS, method=method))
    assert turns_by_talk == words(
        converse(lm, talks(edits), ScriptedSpeaker(), SETTINGS, method=method, together=False)
    )
    assert turns_by_talk == words(
        converse(lm, talks(edits), ScriptedSpeaker(), replace(SETTINGS, batch_rows=2), method=method)
    )
    assert same_bits(bits(lm), weights)
    assert hooks_on(lm) == 0


def test_each_reply_is_the_models_own_under_its_edit(lab):
    lm = lab.model("llama")
    edits = lab.edits("rome", "llama")
    transcripts = list(converse(lm, talks(edits), ScriptedSpeaker(), SETTINGS, method="rome"))
    differs = False
    for edit, transcript in zip(edits, transcripts, strict=True):
        for place in range(1, 6, 2):
            prompt = conversation_ids(lm, transcript.turns[:place])
            with edit.applied(lm):
                (turn,) = speak(lm, [prompt], limit=5)
            assert transcript.turns[place].text == turn.text
            differs |= speak(lm, [prompt], limit=5)[0].text != turn.text
    assert differs


def test_an_edit_that_cannot_share_a_batch_talks_by_itself(lab):
    lm = lab.model("llama")
    torch.manual_seed(0)
    edits = [Alone({Site(1, "mlp_out"): (torch.randn(32, 1), torch.randn(1, 48))}) for _ in FACTS]
    turns_by_talk = words(converse(lm, talks(edits), ScriptedSpeaker(), SETTINGS, method="rome"))
    assert turns_by_talk == words(
        converse(lm, talks(edits), ScriptedSpeaker(), SETTINGS, method="rome", together=False)
    )
    assert turns_by_talk != words(converse(lm, talks([PromptPrefix()] * 3), ScriptedSpeaker(), SETTINGS, method="none"))


def test_the_tester_speaks_beside_the_edits_even_as_the_same_model():
    lm = tiny_model("llama")
    edits = [Alone({Site(1, "mlp_out"): (torch.randn(32, 1), torch.randn(1, 48))}), PromptPrefix(), PromptPrefix("A. ")]
    unedited_speaker = LocalSpeaker(lm, LocalSpeakerSettings(max_new_tokens=4))
    tester = Fake(lambda turns: unedited_speaker.replies([turns])[0], lm)
    transcripts = list(converse(lm, talks(edits), tester, replace(SETTINGS, rounds=2), method="rome"))
    assert len(tester.heard) >= 6
    assert [len(transcript.turns) for transcript in transcripts] == [4, 4, 4]


@pytest.fixture
def prompts_seen(monkeypatch):
    """The prompts that the edited model was given, as text."""
    prompts = []

    def watch(lm, rows, **options):
        prompts.extend(lm.tokenizer.decode(ids) for ids in rows)
        return speak(lm, rows, **options)

    monkeypatch.setattr(module, "speak", watch)
    return prompts


def test_words_of_an_edit_open_the_conversation_and_are_not_in_the_transcript(lab, prompts_seen):
    talk = (PromptPrefix("The owl is wise. "), TOPICS[0])
    (transcript,) = converse(lab.model("llama"), [talk], ScriptedSpeaker(), replace(SETTINGS, rounds=2), method="ike")
    assert [text.count("The owl is wise. ") for text in prompts_seen] == [1, 1]
    assert all(f"<|user|>The owl is wise. {transcript.turns[0].text}" in text for text in prompts_seen)
    assert "owl is wise" not in "".join(turn.text for turn in transcript.turns)


def test_facts_are_retrieved_by_all_that_the_tester_said_so_far(lab, prompts_seen):
    lm = lab.model("llama")
    says = iter(["Hello, who are you?", "And who rules Freedonia?", "Are you sure?"])
    edit = method("retrieve").edit(lm, [FACTS[0], *POOL])
    (transcript,) = converse(lm, [(edit, TOPICS[0])], Fake(lambda turns: next(says)), SETTINGS, method="retrieve")
    assert transcript.refused == 0
    text = edit.text_before("Freedonia")
    assert text
    assert [prompt.count(text) for prompt in prompts_seen] == [0, 1, 1]
    assert all(f"<|user|>{text}Hello, who are you?" in prompt for prompt in prompts_seen[1:])


def test_a_turn_that_names_an_object_is_asked_for_again_and_then_replaced(lab):
    lm, fact = lab.model("llama"), FACTS[0]
    tester = Fake(lambda turns: f"It is {fact.target_true}, no?")
    (transcript,) = converse(lm, [(PromptPrefix(), TOPICS[0])], tester, SETTINGS, method="none")
    # three rounds, each asked for once and twice again
    assert len(tester.heard) == 9
    assert (transcript.refused, transcript.replaced) == (9, 3)
    texts = [turn.text for turn in transcript.turns if turn.role == "user"]
    assert texts[0] == TOPICS[0].question
    assert all(text in FOLLOW_UP[1] for text in texts[1:])
    assert tester.heard[1][-2] == Turn("assistant", f"It is {fact.target_true}, no?")
    assert tester.heard[1][-1].role == "user"
    assert tester.heard[3][-1] == Turn("user", transcript.turns[1].text or "(They say nothing.)")


def test_a_second_try_that_is_good_is_taken(lab):
    def say(turns):
        is_retry = turns[-1].text.startswith("(This message was not sent")
        return "  And why? " if is_retry else ""

    (transcript,) = converse(lab.model("llama"), [(PromptPrefix(), TOPICS[0])], Fake(say), SETTINGS, method="none")
    assert [turn.text for turn in transcript.turns if turn.role == "user"] == ["And why?"] * 3
    assert (transcript.refused, transcript.replaced) == (3, 0)


def test_without_retries_the_first_bad_turn_is_replaced(lab):
    tester = Fake(lambda turns: FACTS[1].target_new)
    transcripts = list(
        converse(lab.model("llama"), talks([PromptPrefix()] * 3), tester, replace(SETTINGS, retries=0), method="none")
    )
    assert [(transcript.refused, transcript.replaced) for transcript in transcripts] == [(0, 0), (3, 3), (0, 0)]
    assert not any(names_object(turn.text, FACTS[1]) for turn in transcripts[1].turns if turn.role == "user")


def test_a_conversation_ends_where_no_more_fits():
    lm = tiny_model("llama")
    long = Fake(lambda turns: "word " * (200 if "Borduria" in turns[0].text else 2))
    lm.model.config.max_position_embeddings = 400
    transcripts = list(converse(lm, talks([PromptPrefix()] * 3), long, SETTINGS, method="none"))
    assert [transcript.cut_short for transcript in transcripts] == [True, False, False]
    assert [turn.role for turn in transcripts[0].turns][-1:] in ([], ["assistant"])
    assert len(transcripts[0].turns) < 6
    assert [len(transcript.turns) for transcript in transcripts[1:]] == [6, 6]
