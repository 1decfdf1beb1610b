import pytest

from edit_robustness.records import Turn
from edit_robustness.speakers.scripted import FOLLOW_UP, TESTER, ScriptedSpeaker, fields
from edit_robustness.speakers.unset import SpeakerNotConfigured, UnsetSpeaker

BRIEF = Turn("system", "Ask.\nSubject: Borduria\nQuestion: Where is it ruled from?\nOther words: Who knows {subject}?")
OPENING = Turn("user", "(Begin.)")


def conversation(rounds):
    later_turns = [turn for i in range(rounds) for turn in (Turn("assistant", f"ask {i}"), Turn("user", f"say {i}"))]
    return [BRIEF, OPENING, *later_turns]


def test_a_brief_is_read_line_by_line():
    assert fields(BRIEF.text)["other_words"] == "Who knows {subject}?"
    assert fields("No line of this kind") == {}


def test_the_turns_follow_the_script_and_then_go_round_without_the_first():
    speaker = ScriptedSpeaker([["Well, {question}"], ["Why?"], ["I ask {subject}: {other_words}"]])
    replies = speaker.replies([conversation(rounds) for rounds in range(6)])
    last = "I ask Borduria: Who knows {subject}?"
    assert replies == ["Well, Where is it ruled from?", "Why?", last, "Why?", last, "Why?"]


def test_the_same_seed_says_the_same_and_others_vary():
    openings = {ScriptedSpeaker(seed=seed).replies([conversation(0)])[0] for seed in range(20)}
    assert len(openings) == len(TESTER[0])
    assert (
        ScriptedSpeaker(seed=1).replies([conversation(2)] * 2) == ScriptedSpeaker(seed=1).replies([conversation(2)]) * 2
    )
    assert ScriptedSpeaker(seed=1).fingerprint != ScriptedSpeaker(seed=2).fingerprint
    assert ScriptedSpeaker().fingerprint != ScriptedSpeaker(FOLLOW_UP).fingerprint


def test_follow_ups_begin_with_the_question():
    first, second = ScriptedSpeaker(FOLLOW_UP).replies([conversation(0), conversation(1)])
    assert first == "Where is it ruled from?"
    assert second in FOLLOW_UP[1]


def test_what_a_brief_lacks_is_named():
    with pytest.raises(ValueError, match=r"script: the brief has no value for `question` in the line"):
        ScriptedSpeaker(FOLLOW_UP).replies([[Turn("system", "Nothing."), OPENING]])
    for script in ([], [["one"], []]):
        with pytest.raises(ValueError, match="every turn at least one line"):
            ScriptedSpeaker(script)


def test_nobody_says_how_to_be_set():
    with pytest.raises(SpeakerNotConfigured, match=r"`writer` is not configured: .*kind: local.*kind: endpoint"):
        UnsetSpeaker("writer").replies([conversation(0)])


def test_a_line_that_no_file_could_hold_is_cleaned():
    assert ScriptedSpeaker([["Really\ud83d?"]]).replies([[Turn("user", "Oslo.")]]) == ["Really\ufffd?"]
