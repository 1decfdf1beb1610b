"""Answers: what could not be edited is not asked, and an edit that cannot be asked loses its own answers alone."""

from fabricated_edits import FACTS, RELATIONS
from landings import fill

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.datasets import AnswersDataset
from edit_robustness.datasets.folders import StoredItem
from edit_robustness.editing.edits import PromptPrefix
from edit_robustness.pipelines.evaluate import nodes
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Answer
from edit_robustness.speakers.scripted import ScriptedSpeaker
from edit_robustness.tables import probes_to_table
from edit_robustness.workers import answers

DECODING = Decoding(max_new_tokens=2)
PROBES = probes_to_table(
    build_probes(FACTS, read_relations(RELATIONS), [], kinds=["statement", "paraphrase"], neighbours=0, seed=0)
)


def unreadable():
    raise OSError("the disk is gone")


def test_an_edit_that_cannot_be_asked_loses_its_own_answers(lab, tmp_path):
    lm, folder = lab.model("llama"), AnswersDataset(str(tmp_path))
    failed_id, broken_id, sound_id = (fact.id for fact in FACTS)
    edits = {
        failed_id: StoredItem.failed_item("1", "no edit"),
        broken_id: StoredItem("2", unreadable),
        sound_id: StoredItem.of("3", PromptPrefix("So. ")),
    }
    fill(folder, nodes.evaluate(lm, edits, PROBES, {}, DECODING))
    items = folder.load()
    assert {key: item.failure for key, item in items.items()} == {broken_id: "the disk is gone", sound_id: ""}
    table = nodes.gather_with(["rome"])(lm, DECODING, items)
    assert set(table["fact_id"]) == {sound_id}
    assert len(table) == (PROBES["fact_id"] == sound_id).sum()
    assert list(folder.fingerprints()) == [sound_id], "a rerun asks the other again"
    no_answers = nodes.gather_with(["rome"])(lm, DECODING, {})
    assert no_answers.dtypes.to_dict() == table.dtypes.to_dict()


class Down(ScriptedSpeaker):
    """A judge that answers nothing."""

    def replies(self, conversations):
        raise ConnectionError("no route")


def test_a_judge_that_is_down_leaves_verdicts_missing(lab):
    lm = lab.model("llama")
    edits = {fact.id: StoredItem.of("1", PromptPrefix()) for fact in FACTS}
    pieces = list(nodes.evaluate(lm, edits, PROBES, {}, DECODING))[1:]
    items: dict[str, StoredItem[list[Answer]]] = {key: item for piece in pieces for key, item in piece.items()}
    table = nodes.gather_with(["rome"])(lm, DECODING, items)
    judge = Down([["A"]])
    replies = {key: item for piece in list(nodes.judge_each(table, judge, {}))[1:] for key, item in piece.items()}
    assert {item.failure for item in replies.values()} == {"no route"}
    assert {(item.header["method"], item.header["fact_id"]) for item in replies.values()} == {
        ("rome", fact.id) for fact in FACTS
    }
    verdicts = nodes.read_judgements(table, replies)
    assert len(verdicts) == len(table)
    scores = nodes.score(table, verdicts)
    assert scores.loc[scores["protocol"] == "judge", "value"].isna().all()
    assert (scores["protocol"] == "judge").any()


def test_what_is_missing_is_asked_in_the_batch_of_the_whole_run(lab, monkeypatch):
    """Sums of floats depend on the batch, so another batch would give other last digits."""
    batches = []

    def spy(lm, pairs, decoding):
        batches.append([probes[0].fact_id for _, probes in pairs])
        return ask(lm, pairs, decoding)

    monkeypatch.setattr(answers, "ask", spy)
    lm, decoding = lab.model("llama"), Decoding(max_new_tokens=2, batch_rows=2 * len(PROBES) // 3)
    edits = {fact.id: StoredItem.of("1", PromptPrefix(f"So, {fact.target_new}. ")) for fact in FACTS}
    manifest, *pieces = nodes.evaluate(lm, edits, PROBES, {}, decoding)
    all_items = {key: item.read() for piece in pieces for key, item in piece.items()}
    first_id, second_id, third_id = all_items
    assert batches == [[first_id, second_id], [third_id]]
    batches.clear()
    inventory = {key: name for key, name in manifest.items() if key != second_id}
    (again,) = list(nodes.evaluate(lm, edits, PROBES, inventory, decoding))[1:]
    assert batches == [[first_id, second_id]]
    assert {key: item.read() for key, item in again.items()} == {second_id: all_items[second_id]}


def test_answers_under_a_stale_edit_are_marked(lab, tmp_path):
    folder = AnswersDataset(str(tmp_path))
    stale, *sound = (fact.id for fact in FACTS)
    edits = {
        stale: StoredItem.of("1", PromptPrefix(), stale=True),
        **{key: StoredItem.of("1", PromptPrefix()) for key in sound},
    }
    for piece in nodes.evaluate(lab.model("llama"), edits, PROBES, {}, DECODING):
        folder.save(piece)
    assert folder.fingerprints().keys() == set(sound)
