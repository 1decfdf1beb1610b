"""Nodes of conversation: what is kept, what is made anew, and what a judge adds."""

import copy
import json
from dataclasses import replace

import pytest
from fabricated_edits import FACTS, POOL, RELATIONS
from landings import fill

from edit_robustness.asking.converse import ConversationSettings
from edit_robustness.datasets import LanguageModelDataset, TextsDataset, TranscriptsDataset
from edit_robustness.datasets.folders import StoredItem
from edit_robustness.editing.edits import PromptPrefix
from edit_robustness.metrics.conversation import LABELS
from edit_robustness.models.language_model import LanguageModel, RemoteWeights
from edit_robustness.pipelines.conversation.nodes import (
    ConversationReportParameters,
    judge,
    list_failures_with,
    rule_with,
    sum_up,
    talk_with,
    write_page,
)
from edit_robustness.records import Transcript, Turn
from edit_robustness.speakers.endpoint import EndpointSpeaker
from edit_robustness.speakers.scripted import ScriptedSpeaker
from edit_robustness.speakers.unset import UnsetSpeaker
from edit_robustness.tables import collect, facts_to_table
from edit_robustness.workers.pool import ThisProcess

SETTINGS = ConversationSettings(rounds=2, retries=0, max_new_tokens=4, batch_rows=2)
EDITS = {fact.id: StoredItem.of(f"edit {fact.id}", PromptPrefix(f"{fact.subject}. ")) for fact in FACTS}
TABLE = facts_to_table(FACTS)


class Judge:
    """Says what it is told to, and counts."""

    name, fingerprint = "wise", "wise 1"

    def __init__(self, reply):
        self.reply, self.asked = reply, 0

    def replies(self, conversations):
        self.asked += len(conversations)
        return [self.reply(turns[-1].text) for turns in conversations]


def talk(lm, folder, settings=SETTINGS, tester=None, edits=EDITS):
    return talk_with("ike")(lm, edits, TABLE, RELATIONS, folder.fingerprints(), tester or ScriptedSpeaker(), settings)


class Endpoint(EndpointSpeaker):
    """Answers without a network, and looks whether another thread may use the model meanwhile."""

    name, fingerprint = "far", "far 1"

    def __init__(self):
        self.turns_taken = set()

    def replies(self, conversations):
        self.turns_taken.add(ThisProcess._turn.locked())
        return ["And what else?" for _ in conversations]


def test_a_tester_behind_an_endpoint_talks_with_the_model_in_this_process_also_if_workers_hold_it(tmp_path):
    lm = LanguageModelDataset(name="tiny", random="llama").load()
    told = RemoteWeights(lm.fingerprint, lm.environment, lm.finite, lm.size)
    outline = LanguageModel(copy.deepcopy(lm.model).to("meta"), lm.tokenizer, lm.name, told)
    outline.entry = lm.entry
    folders = []
    for number, (model, tester) in enumerate([(lm, Endpoint()), (outline, Endpoint())]):
        folders.append(TranscriptsDataset(str(tmp_path / str(number))))
        fill(folders[-1], talk(model, folders[-1], tester=tester))
        assert tester.turns_taken == {not model.has_weights}
    expected, made = ({key: item.read() for key, item in folder.load().items()} for folder in folders)
    assert made == expected
    assert made[FACTS[0].id].replies


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.jsonl")}


def test_a_killed_node_goes_on_and_a_second_run_talks_to_nobody(lab, tmp_path, monkeypatch):
    lm, folder = lab.model("llama"), TranscriptsDataset(str(tmp_path))
    fill(folder, talk(lm, folder), stop_after=1)
    before = times(tmp_path)
    assert len(before) == 1
    fill(folder, talk(lm, folder))
    after = times(tmp_path)
    assert len(after) == 3
    assert before.items() <= after.items()
    talks = [item.read() for item in folder.load().values()]
    assert [transcript.fact_id for transcript in talks] == [fact.id for fact in FACTS]
    assert all(isinstance(turn, Turn) for transcript in talks for turn in transcript.turns)
    assert talks[0].turns[0].text.endswith("From where is Borduria ruled?")

    def never(*_, **__):
        raise AssertionError("talked again")

    monkeypatch.setattr("edit_robustness.pipelines.conversation.nodes.converse", never)
    fill(folder, talk(lm, folder, replace(SETTINGS, batch_rows=1)))
    assert times(tmp_path) == after


@pytest.mark.parametrize(
    "options",
    [
        {"settings": replace(SETTINGS, rounds=1)},
        {"settings": replace(SETTINGS, max_new_tokens=3)},
        {"settings": replace(SETTINGS, seed=1)},
        {"tester": ScriptedSpeaker(seed=9)},
        {"edits": {**EDITS, FACTS[0].id: StoredItem.of("another edit", PromptPrefix())}},
    ],
)
def test_whatever_changes_a_transcript_changes_its_fingerprint(lab, options):
    class Folder:
        def fingerprints(self):
            return {}

    lm = lab.model("llama")
    manifest = next(talk(lm, Folder()))
    assert next(talk(lm, Folder())) == manifest
    assert next(talk(lm, Folder(), **options))[FACTS[0].id] != manifest[FACTS[0].id]
    assert next(talk(lab.model("gpt2"), Folder()))[FACTS[0].id] != manifest[FACTS[0].id]


def transcripts(*texts):
    """One conversation for each fact, in which the model says these things."""
    turns = [turn for text in texts for turn in (Turn("user", "Who?"), Turn("assistant", text))]
    return {fact.id: StoredItem.of(fact.id, Transcript(fact.id, "ike", "script", tuple(turns))) for fact in FACTS}


def test_a_judge_is_asked_once_about_each_conversation(tmp_path):
    wise, folder = Judge(lambda text: "yes" if "Borduria" in text else "no"), TextsDataset(str(tmp_path))
    fill(folder, judge(transcripts("Well."), TABLE, wise, folder.fingerprints()))
    assert [item.read() for item in folder.load().values()] == [["yes"], ["no"], ["no"]]
    assert {item.header["judge"] for item in folder.load().values()} == {"wise"}
    fill(folder, judge(transcripts("Well."), TABLE, wise, folder.fingerprints()))
    assert wise.asked == 3
    fill(folder, judge(transcripts("Hm."), TABLE, wise, folder.fingerprints()))
    assert wise.asked == 6
    fill(folder, judge(transcripts(), TABLE, wise, folder.fingerprints()))
    assert wise.asked == 6


def test_no_judge_no_opinion(tmp_path):
    folder = TextsDataset(str(tmp_path))
    fill(folder, judge(transcripts("Well."), TABLE, UnsetSpeaker("judge"), {}))
    assert folder.load() == {}


def test_from_transcripts_to_the_page():
    def opinion(text):
        return "?" if "Borduria" in text else json.dumps(dict.fromkeys(LABELS, False) | {"reverts": True})

    talks = {fact.id: item for fact, item in zip(FACTS, transcripts("Oslo.").values(), strict=True)}
    replies = {key: StoredItem.of("r", [opinion(key.replace("borduria", "Borduria"))], judge="wise") for key in talks}
    facts = facts_to_table([*FACTS, *POOL])
    verdicts, comparison, turns = rule_with(["ike", "none"], "tiny")(facts, TABLE, talks, {}, replies, {})
    assert verdicts["stances"].tolist() == ["new", "open", "third"]
    # another model, without a judge
    more_verdicts, no_rows, other_turns = rule_with(["none"], "other")(facts, TABLE, transcripts("Szohod."), {})
    verdicts, comparison, turns = (
        collect(verdicts, more_verdicts),
        collect(comparison, no_rows),
        collect(turns, other_turns),
    )
    shares, agreement = sum_up(verdicts, comparison, ConversationReportParameters(bootstrap=20))
    row = shares[(shares["model"] == "tiny") & (shares["label"] == "holds")].iloc[0]
    assert (row["value"], row["n"]) == (pytest.approx(1 / 3), 3)
    assert 0 < row["low"] < 1 / 3 < row["high"] < 1
    assert agreement["n_missing"].tolist() == [1] * len(LABELS)
    assert agreement["n"].tolist() == [2] * len(LABELS)
    failed_items = list_failures_with(["ike"], "tiny")(
        {FACTS[0].id: StoredItem.failed_item("e", "no <edit>", fact_id=FACTS[0].id)},
        {FACTS[1].id: without_a_turn(talks)},
        {},
    )
    assert failed_items["stage"].tolist() == ["edit", "no turn"]
    page = write_page(verdicts, turns, shares, agreement, failed_items, ConversationReportParameters(shown=2))
    assert page.count('class="case"') == 2 + 2
    assert "1 failed</small>" in page
    assert "1 without a turn of the model</small>" in page
    assert "no &lt;edit&gt;" in page
    assert turns["role"].tolist() == ["user", "assistant"] * 6


def without_a_turn(talks):
    first = next(iter(talks.values())).read()
    return StoredItem.of("t", replace(first, turns=(), cut_short=True))


def test_conversations_without_a_turn_of_the_model_are_counted(caplog):
    talks = transcripts("Szohod.")
    key, first = next(iter(talks.items()))
    silent = replace(first.read(), turns=(), cut_short=True)
    verdicts, _, _ = rule_with(["none"], "tiny")(TABLE, TABLE, {**talks, key: StoredItem.of("t", silent)}, {})
    assert len(verdicts) == len(talks) - 1
    assert f"tiny: 1 of {len(talks)} conversations ({silent.method} 1) have no turn of the model" in caplog.text


def test_collecting_nothing_keeps_the_columns():
    _, no_rows, _ = rule_with(["none"], "tiny")(TABLE, TABLE, transcripts("Hm."), {})
    assert collect(no_rows, no_rows).empty
    shares, agreement = sum_up(
        rule_with(["none"], "tiny")(TABLE, TABLE, transcripts("Hm."), {})[0], no_rows, ConversationReportParameters()
    )
    assert len(shares) == len(LABELS)
    assert agreement.empty


def test_conversations_under_stale_edits_are_marked(lab, tmp_path):
    folder = TranscriptsDataset(str(tmp_path))
    stale = {key: replace(item, header={"stale": True}) for key, item in EDITS.items()}
    for piece in talk(lab.model("llama"), folder, edits={**EDITS, FACTS[0].id: stale[FACTS[0].id]}):
        folder.save(piece)
    assert folder.fingerprints().keys() == {fact.id for fact in FACTS[1:]}
