from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from fabricated_edits import FACTS, POOL, RELATIONS, TEXTS, method
from landings import fill

from edit_robustness.datasets import ArtefactsDataset, EditsDataset
from edit_robustness.datasets.corpus import CorpusSource
from edit_robustness.datasets.failures import failed_table
from edit_robustness.datasets.folders import Manifest, StoredItem
from edit_robustness.datasets.run_record import run_record
from edit_robustness.editing import second_moments
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edits import LowRank, PromptPrefix
from edit_robustness.editing.method import TrainedMethod, Unsolvable
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.requirements import TextNeed
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model
from edit_robustness.pipelines.edit.nodes import edit_with, prepare_with, take_moments, write_corpus_with
from edit_robustness.report.runs import list_methods
from edit_robustness.tables import facts_to_table
from edit_robustness.workers import ThisProcess, UnusableWorkers
from edit_robustness.workers.crew import NobodyLeft, Stopped

CORPUS = {"corpus": StoredItem.of("texts", list(TEXTS))}


class Folder:
    """The items of a node's output that a folder dataset stores."""

    def __init__(self):
        self.items, self.manifest = {}, None

    def take(self, landing, *, at_most=None):
        for number, piece in enumerate(landing):
            if isinstance(piece, Manifest):
                self.manifest = piece
                continue
            for key, item in piece.items():
                self.items.pop(key, None) if item is None else self.items.update({key: item})
            if at_most is not None and number == at_most:
                return self
        return self

    def stored(self):
        return {key: item.fingerprint for key, item in self.items.items()}


@pytest.fixture
def passes(monkeypatch):
    """The sites of each pass over the corpus."""
    calls, original = [], second_moments.second_moments

    def count_orderings(lm, texts, sites, **options):
        calls.append([str(site) for site in sites])
        return original(lm, texts, sites, **options)

    monkeypatch.setattr(second_moments, "second_moments", count_orderings)
    monkeypatch.setattr("edit_robustness.pipelines.edit.nodes.second_moments", count_orderings)
    return calls


def test_methods_share_one_pass_and_each_site_is_kept(lab, passes):
    lm, folder = lab.model("llama"), Folder()
    two, twin, lower = method("rome"), method("rome", v_lr=0.1), method("rome", layer=3)
    folder.take(take_moments(lm, {}, CORPUS, two, twin, lower))
    assert passes == [["1.mlp_out", "3.mlp_out"]]
    assert folder.items.keys() == folder.manifest.keys() == {"1.mlp_out.400", "3.mlp_out.400"}

    folder.take(
        take_moments(lm, folder.stored(), CORPUS, two, method("rome", layer=2), method("rome", mom2_tokens=300))
    )
    assert passes[1:] == [["1.mlp_out"], ["2.mlp_out"]]
    assert folder.manifest.keys() == {"1.mlp_out.400", "2.mlp_out.400", "1.mlp_out.300"}


def test_what_is_prepared_is_the_same_with_moments_taken_before(lab, passes):
    lm, rome = lab.model("llama"), method("rome")
    moments = Folder().take(take_moments(lm, {}, CORPUS, rome, method("rome", layer=3))).items
    items = [
        Folder().take(prepare_with("rome")(lm, {}, rome, corpus=CORPUS, moments=moment_items)).items["rome"]
        for moment_items in (moments, None)
    ]
    assert passes[1:] == [["1.mlp_out"]], "only what was not handed over is taken anew"
    shared_item, alone = (item.read() for item in items)
    assert items[0].fingerprint == items[1].fingerprint
    assert shared_item.texts == alone.texts
    torch.testing.assert_close(shared_item.tensors["1.mlp_out"], alone.tensors["1.mlp_out"])
    assert rome.key_sites == (Site(1, "mlp_out"),)


@dataclass(frozen=True)
class Counting(TrainedMethod):
    """Counts to `steps`; each state is the count so far."""

    name: ClassVar[str] = "counting"
    learns_from: ClassVar[tuple[str, ...]] = ("facts",)
    steps: int = 4

    def train(self, lm, corpus, *, start=None):
        first_step = 0 if start is None else int(start.texts[0])
        assert {fact.subject for fact in corpus.facts}.isdisjoint(fact.subject for fact in FACTS)
        for count in range(first_step + 1, self.steps + 1):
            yield Artefact(texts=(str(count), f"from {first_step}"))

    def increment(self, lm, facts, *, artefact, history):
        return PromptPrefix(artefact.texts[0])


def test_a_training_goes_on_where_it_stopped(lab, monkeypatch):
    monkeypatch.setattr("edit_robustness.pipelines.edit.nodes.METHODS", {**METHODS, "counting": Counting})
    sources = {
        "facts": facts_to_table([*FACTS, *POOL]),
        "sampled_facts": facts_to_table(FACTS),
        "raw_relations": RELATIONS,
    }
    lm, node = lab.model("llama"), prepare_with("counting")

    def run(folder, learner, **options):
        return folder.take(node(lm, folder.stored(), learner, training_states=folder.items, **sources), **options)

    partial = run(Folder(), Counting(), at_most=2)
    assert {key: item.read().texts[0] for key, item in partial.items.items()} == {"counting.unfinished": "2"}
    assert partial.manifest.keys() == {"counting"}
    full_folder = run(partial, Counting())
    assert {key: item.read().texts for key, item in full_folder.items.items()} == {"counting": ("4", "from 2")}
    assert full_folder.stored() == full_folder.manifest
    assert run(full_folder, Counting()).items["counting"].read().texts == ("4", "from 2")

    longer = run(run(Folder(), Counting(), at_most=1), Counting(steps=5))
    assert longer.items["counting"].read().texts == ("5", "from 0"), "another training begins anew"


def test_what_learns_from_facts_has_a_file_for_each_purpose(lab, monkeypatch):
    monkeypatch.setattr("edit_robustness.pipelines.edit.nodes.METHODS", {**METHODS, "counting": Counting})
    sources = {
        "facts": facts_to_table([*FACTS, *POOL]),
        "sampled_facts": facts_to_table(FACTS),
        "raw_relations": RELATIONS,
    }
    items = Folder().take(prepare_with("counting", "sequence")(lab.model("llama"), {}, Counting(), **sources))
    assert list(items.items) == list(items.manifest) == ["counting.sequence"]
    rome = Folder().take(prepare_with("rome", "sequence")(lab.model("llama"), {}, method("rome"), corpus=CORPUS))
    assert list(rome.items) == ["rome"], "what does not is shared"


@pytest.mark.parametrize("error", [NobodyLeft(), Stopped("the run ends"), UnusableWorkers("workers: no room")])
def test_the_end_of_the_workers_is_no_failure_of_the_method(lab, monkeypatch, error):
    class Lost(ThisProcess):
        def attempts(self, lm, task):
            raise error

    monkeypatch.setattr("edit_robustness.workers.pool._Holder.workers", Lost())
    folder = Folder()
    with pytest.raises(type(error)):
        folder.take(prepare_with("rome")(lab.model("llama"), {}, method("rome"), corpus=CORPUS))
    assert not folder.items


class Unpreparable(Counting):
    """Finds nothing to solve."""

    def train(self, lm, corpus, *, start=None):
        raise Unsolvable("no way")
        yield


def test_what_cannot_be_prepared_lands_with_the_reason_and_is_not_edited_with(lab, monkeypatch):
    nan_model = tiny_model("llama")
    nan_model.weight(Site(0, "mlp_out"))[0, 0] = float("nan")
    for lm, learner, reason in [
        (lab.model("llama"), Unpreparable(), "no way"),
        (nan_model, method("alphaedit"), "the unedited model's numbers are not finite"),
    ]:
        monkeypatch.setattr("edit_robustness.pipelines.edit.nodes.METHODS", {**METHODS, "counting": Unpreparable})
        artefacts = Folder().take(prepare_with(learner.name)(lm, {}, learner, corpus=CORPUS, moments={})).items
        assert artefacts[learner.name].failure == reason
        losses = Folder().take(edit_with(learner.name)(lm, facts_to_table(FACTS), {}, learner, artefacts)).items
        assert {key: (item.failure, item.header["stage"]) for key, item in losses.items()} == {
            fact.id: (reason, "prepare") for fact in FACTS
        }


class Choosy(Counting):
    """Cannot edit the second fact, and gives numbers that are not finite for the third."""

    def increment(self, lm, facts, *, artefact, history):
        if facts[0].id == FACTS[1].id:
            raise RuntimeError("no such subject")
        size = float("nan") if facts[0].id == FACTS[2].id else 1.0
        return LowRank({Site(0, "mlp_out"): (torch.full((2, 1), size), torch.ones(1, 3))})


def test_a_fact_that_cannot_be_edited_is_lost_alone_and_made_by_a_rerun(lab, tmp_path, monkeypatch):
    monkeypatch.setattr("edit_robustness.pipelines.edit.nodes.METHODS", {**METHODS, "counting": Choosy})
    lm, facts, folder = lab.model("llama"), facts_to_table(FACTS), EditsDataset(str(tmp_path / "edits"))
    artefacts = {"counting": StoredItem.of("", Artefact())}
    fill(folder, edit_with("counting")(lm, facts, folder.fingerprints(), Choosy(), artefacts))
    items = folder.load()
    assert [item.failure for item in items.values()] == ["", "no such subject", "the edit's numbers are not finite"]
    table = failed_table("tiny", [("counting", "edit", items)])
    assert table[["method", "stage", "fact_id"]].to_numpy().tolist() == [
        ["counting", "edit", fact.id] for fact in FACTS[1:]
    ]
    calls = []
    monkeypatch.setattr(
        Choosy, "increment", lambda self, lm, facts, **_: calls.append(facts[0].id) or PromptPrefix("well")
    )
    fill(folder, edit_with("counting")(lm, facts, folder.fingerprints(), Choosy(), artefacts))
    assert calls == [fact.id for fact in FACTS[1:]]
    assert not any(item.failure for item in folder.load().values())


def test_a_model_without_numbers_writes_no_corpus_and_has_no_moments():
    nan_model = tiny_model("llama")
    nan_model.weight(Site(0, "mlp_out"))[0, 0] = float("nan")
    corpus = Folder().take(write_corpus_with(TextNeed())(nan_model, CorpusSource((), 4, 8, 0), {}))
    assert corpus.items["corpus"].read() == []
    assert Folder().take(take_moments(nan_model, {}, CORPUS, method("rome"))).items == {}


def test_the_corpus_grows_to_what_the_methods_read_and_stays_where_it_suffices(lab, caplog):
    lm, small = lab.model("llama"), CorpusSource((), 4, 20, 0)
    corpus = Folder().take(write_corpus_with(TextNeed())(lm, small, {}))
    small_corpus = Folder().take(write_corpus_with(TextNeed(80, 4, "x"))(lm, small, {}))
    assert small_corpus.manifest == corpus.manifest
    assert small_corpus.items["corpus"].read() == corpus.items["corpus"].read()
    with caplog.at_level("INFO"):
        large_corpus = Folder().take(write_corpus_with(TextNeed(400, 1, "methods.rome.x.mom2_tokens"))(lm, small, {}))
    assert (
        "20 texts of 20 tokens instead of 4 (corpus_source.number): methods.rome.x.mom2_tokens reads 400" in caplog.text
    )
    assert large_corpus.manifest != corpus.manifest
    assert second_moments.count_tokens(lm, large_corpus.items["corpus"].read(), 400) == 400
    second_moments.second_moments(lm, large_corpus.items["corpus"].read(), [Site(1, "mlp_out")], tokens=400)


def test_texts_that_end_early_are_made_up_for(lab, monkeypatch):
    seeds = []

    def write(lm, *, texts, tokens, seed, progress):
        seeds.append(seed)
        return ["ab"] * texts

    monkeypatch.setattr("edit_robustness.editing.second_moments.sample_texts", write)
    corpus = Folder().take(write_corpus_with(TextNeed())(lab.model("llama"), CorpusSource((), 2, 6, 5), {}))
    assert corpus.items["corpus"].read() == ["ab"] * 7
    assert seeds == [5, 6, 7]


def test_what_was_measured_when_preparing_is_in_the_header_of_every_edit_and_in_the_runs_record(lab, tmp_path):
    lm, alphaedit = lab.model("llama"), method("alphaedit")
    artefacts = ArtefactsDataset(str(tmp_path / "artefact"))
    fill(artefacts, prepare_with("alphaedit")(lm, {}, alphaedit, corpus=CORPUS))
    figures = artefacts.load()["alphaedit"].read().figures
    assert figures["held_out_tokens"] > 0
    edits = EditsDataset(str(tmp_path / "edits"))
    fill(edits, edit_with("alphaedit")(lm, facts_to_table(FACTS[:2]), {}, alphaedit, artefacts.load()))
    assert [item.header["figures"] for item in edits.load().values()] == [figures] * 2
    record = run_record(lm, {"alphaedit": alphaedit.settings()}, {"alphaedit": edits.load(), "none": {}}, [])
    assert record["figures"] == {lm.name: {"alphaedit": figures}}
    low = min(figures["held_out_energy"].values())
    (row,) = list_methods([record])
    assert f"({figures['held_out_tokens']:,} tokens) {low:.1%} to" in row["note"]
    no_figures = {"figures": {lm.name: {"alphaedit": {"held_out_energy": {}, "held_out_tokens": 0}}}}
    assert "was not measured" in list_methods([{**record, **no_figures}])[0]["note"]


def test_what_is_made_from_stale_files_is_marked(lab):
    """With `keep_stale`; its fingerprint is that of what the same files give when they are recomputed."""
    lm, rome, facts = lab.model("llama"), method("rome"), facts_to_table(FACTS)
    moments = Folder().take(take_moments(lm, {}, CORPUS, rome)).items
    for stale in (True, False):
        header = {"stale": True} if stale else {}
        old = {key: replace(item, header=header) for key, item in moments.items()}
        artefacts = Folder().take(prepare_with("rome")(lm, {}, rome, old, corpus=CORPUS)).items
        assert artefacts["rome"].header.get("from_stale", False) is stale
        items = {"rome": replace(artefacts["rome"], header=header)}
        edits = Folder().take(edit_with("rome")(lm, facts, {}, rome, items)).items
        assert [edit.header.get("from_stale", False) for edit in edits.values()] == [stale] * len(FACTS)


@pytest.mark.parametrize(("name", "anew"), [("serac", True), ("rome", False)])
def test_edits_that_need_other_networks_than_there_are_now_are_made_anew(lab, name, anew):
    """The same training may give other bits, and an edit that names its networks cannot be applied with others."""
    lm, facts = lab.model("llama"), facts_to_table(FACTS)
    first, second = (StoredItem.of("same", Artefact({"weight": torch.full((1,), value)})) for value in (1.0, 2.0))
    before, after = (next(edit_with(name)(lm, facts, {}, method(name), {name: item})) for item in (first, second))
    assert (before != after) is anew
    losses = {name: StoredItem.failed_item("same", "no memory")}
    assert next(edit_with(name)(lm, facts, {}, method(name), losses)).keys() == before.keys()
