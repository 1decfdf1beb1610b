"""Nodes of sequence and abilities: what lands, what is kept, and what a checkpoint is."""

import gc
import json
import weakref
from copy import deepcopy
from dataclasses import replace
from functools import reduce
from unittest import mock

import pandas as pd
import pytest
import torch
from fabricated_edits import FACTS, POOL, RELATIONS, method
from landings import fill

from edit_robustness.abilities.benchmarks import get_benchmarks
from edit_robustness.abilities.local_files import LocalFiles
from edit_robustness.abilities.settings import AbilityParameters
from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.datasets import AnswersDataset, DocumentsDataset, EditsDataset
from edit_robustness.datasets.folders import StoredItem
from edit_robustness.datasets.sequences import checkpoints, edit_key, edits_of, order_of, place, replays
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edit_sequence import SequenceParameters
from edit_robustness.editing.edits import LowRank, PromptPrefix
from edit_robustness.editing.methods.rome import Rome
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.tokens import RenderedPrompt, prompt_ids
from edit_robustness.pipelines.abilities import nodes as abilities
from edit_robustness.pipelines.sequence import gather, nodes
from edit_robustness.prompts.demonstrations import sentence
from edit_robustness.records import Document
from edit_robustness.tables import facts_to_table, probes_from_table
from edit_robustness.workers import WorkerDied

SETTINGS = SequenceParameters(checkpoints=[1, 3], orders=2, retention_facts=1, paraphrases=1, neighbours=1)
SAMPLED = pd.concat(
    [facts_to_table(FACTS).assign(fact_role="edited"), facts_to_table(POOL[:1]).assign(fact_role="retained")],
    ignore_index=True,
)
ORDERS = pd.DataFrame(
    [(order, place, fact.id) for order, own in enumerate([FACTS, FACTS[::-1]]) for place, fact in enumerate(own, 1)],
    columns=["order", "position", "fact_id"],
)
PROBES = nodes.make_probes(SAMPLED, facts_to_table([*FACTS, *POOL]), RELATIONS, SETTINGS)
DECODING = Decoding(max_new_tokens=4, batch_rows=16)


def edited(lab, folder, name="rome", *, settings=SETTINGS, orders=ORDERS, stop_after=None, artefacts=None, **changes):
    lm = lab.model("llama")
    inputs = artefacts or {name: StoredItem.of("artefact", lab.artefact(name, "llama"))}
    landing = nodes.edit_with(name)(lm, SAMPLED, orders, folder.items(), method(name, **changes), settings, inputs)
    return fill(folder, landing, stop_after=stop_after)


def asked(lab, folder, edits, name="rome", settings=SETTINGS):
    lm, inventory = lab.model("llama"), folder.fingerprints()
    return fill(folder, nodes.ask_with(name)(lm, PROBES, SAMPLED, ORDERS, inventory, DECODING, settings, edits))


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.*") if path.name != "manifest.json"}


def test_increments_repeat_what_was_measured_when_preparing(lab, tmp_path):
    artefacts = {"rome": StoredItem.of("artefact", lab.artefact("rome", "llama"), figures={"held_out_tokens": 3})}
    dataset = edited(lab, EditsDataset(str(tmp_path)), artefacts=artefacts, orders=ORDERS[ORDERS["order"] == 0])
    assert all(item.header["figures"] == {"held_out_tokens": 3} for item in dataset.load().values())


@pytest.fixture(scope="module")
def sequence(lab, tmp_path_factory):
    """ROME's increments of both orders, as they lie in their folder."""
    return edited(lab, EditsDataset(str(tmp_path_factory.mktemp("sequence")))).load()


def test_probes_of_edited_and_retention_facts():
    probes = probes_from_table(PROBES)
    kinds = {fact: sorted(probe.kind for probe in probes if probe.fact_id == fact) for fact in PROBES["fact_id"]}
    assert kinds.pop(POOL[0].id) == ["statement"]
    assert len(kinds) == len(FACTS)
    assert {"statement", "paraphrase"} <= set(kinds[FACTS[0].id])
    neighbours = {probe.subject for probe in probes if probe.kind in ("neighbourhood", "unrelated")}
    assert neighbours
    assert not neighbours & {fact.subject for fact in FACTS}
    small_settings = SequenceParameters(checkpoints=[1], paraphrases=0, neighbours=0, relation_specificity=0)
    assert set(nodes.make_probes(SAMPLED, facts_to_table(POOL), RELATIONS, small_settings)["kind"]) == {"statement"}


def test_each_order_is_a_sequence_of_increments(lab, sequence):
    assert list(sequence) == [edit_key(order, number) for order in (0, 1) for number in (1, 2, 3)]
    assert [item.read().origin.facts for item in sequence.values()] == [
        (fact.id,) for facts in (FACTS, FACTS[::-1]) for fact in facts
    ]
    assert all(item.header["seconds"] > 0 and item.header["prefix_tokens"] == 0 for item in sequence.values())
    lm, history = lab.model("llama"), EditHistory()
    for fact in FACTS:
        with history.applied(lm):
            history = history + method("rome").edit(lm, [fact], artefact=lab.artefact("rome", "llama"), history=history)
    points = [point for point in checkpoints(sequence, SETTINGS) if point.key == "0.3"]
    ((_, state),) = replays(sequence, points)
    assert all(torch.equal(state.changes[site], change) for site, change in history.changes.items())


def test_a_killed_sequence_goes_on_and_other_checkpoints_make_no_edit_again(lab, sequence, tmp_path):
    folder = EditsDataset(str(tmp_path))
    edited(lab, folder, stop_after=2)
    before = times(tmp_path)
    assert len(before) == 2
    items = edited(lab, folder).load()
    assert before.items() <= times(tmp_path).items()
    assert {key: item.fingerprint for key, item in items.items()} == {
        key: item.fingerprint for key, item in sequence.items()
    }
    first_times = times(tmp_path)
    edited(lab, folder, settings=SequenceParameters(checkpoints=[2, 3], orders=2))
    assert times(tmp_path) == first_times

    (tmp_path / f"{edit_key(0, 2)}.safetensors").unlink()
    remade = edited(lab, folder).load()[edit_key(0, 2)].read()
    edit = sequence[edit_key(0, 2)].read()
    assert all(torch.equal(remade.dense()[site], change) for site, change in edit.dense().items())
    assert {name for name, when in times(tmp_path).items() if first_times[name] != when} == {
        f"{edit_key(0, 2)}.safetensors"
    }


def test_whatever_an_edit_follows_from_is_in_its_fingerprint(lab, sequence):
    def manifest(**options):
        lm = lab.model("llama")
        settings = options.pop("settings", SETTINGS)
        orders = options.pop("orders", ORDERS)
        artefacts = {"memit": StoredItem.of("", options.pop("artefact", Artefact()))}
        memit = method("memit", **options)
        return next(nodes.edit_with("memit")(lm, SAMPLED, orders, {}, memit, settings, artefacts))

    asis = manifest()
    assert manifest() == asis
    assert manifest(v_lr=0.1)[edit_key(0, 1)] != asis[edit_key(0, 1)]
    batch_size = manifest(settings=SequenceParameters(checkpoints=[3], orders=2, batch_size=3))
    assert list(batch_size) == [edit_key(0, 3), edit_key(1, 3)]
    assert batch_size[edit_key(0, 3)] != asis[edit_key(0, 3)]
    other_end = ORDERS.assign(order=0, fact_id=[FACTS[i].id for i in (0, 2, 1, 0, 2, 1)]).head(3)
    names = manifest(orders=other_end)
    assert [names[key] == asis[key] for key in names] == [True, False, False]


def test_other_settings_of_a_memory_make_its_edits_again(lab, tmp_path):
    folder = EditsDataset(str(tmp_path))
    first = {key: item.fingerprint for key, item in edited(lab, folder, "retrieve").load().items()}
    before = times(tmp_path)
    assert {key: item.fingerprint for key, item in edited(lab, folder, "retrieve").load().items()} == first
    assert times(tmp_path) == before
    for changes in ({"threshold": 0.5}, {"shown": 1}, {"key": "statement"}):
        names = {key: item.fingerprint for key, item in edited(lab, folder, "retrieve", **changes).load().items()}
        assert names.keys() == first.keys()
        assert not set(names.values()) & set(first.values())


def test_tokens_before_prompts_are_those_before_the_statements_so_far(lab, tmp_path):
    lm = lab.model("llama")
    for name in ("context", "retrieve"):
        items = edited(lab, EditsDataset(str(tmp_path / name)), name).load()
        lengths = [len(prompt_ids(lm, RenderedPrompt(f"{sentence(fact)}\n"))) for fact in FACTS]
        sums = [sum(lengths[:number]) for number in (1, 2, 3)]
        # the tiny tokenizer has a token per byte, so that lengths add up
        means = sums if name == "context" else [round(total / n) for n, total in enumerate(sums, 1)]
        assert [items[edit_key(0, number)].header["prefix_tokens"] for number in (1, 2, 3)] == means


def test_an_artefact_that_could_not_be_made_fails_every_edit(lab, tmp_path, caplog):
    artefacts = {"rome": StoredItem.failed_item("", "no numbers")}
    items = edited(lab, EditsDataset(str(tmp_path)), artefacts=artefacts).load()
    assert {item.header["failed"] for item in items.values()} == {"no numbers"}
    assert all(item.read() == PromptPrefix() for item in items.values())
    assert caplog.text.count("3 edits by rome failed, the first: no numbers") == 2


def test_a_failed_edit_is_tried_again_and_all_after_it_follow_from_whether_it_failed(lab, tmp_path, monkeypatch):
    folder, orders, fails = EditsDataset(str(tmp_path)), ORDERS[ORDERS["order"] == 0], [True]
    settings, original = SequenceParameters(checkpoints=[1, 3]), Rome.increment

    def increment(self, lm, facts, **options):
        if facts[0].id == FACTS[1].id and fails:
            raise RuntimeError("not today")
        return original(self, lm, facts, **options)

    monkeypatch.setattr(Rome, "increment", increment)
    first = edited(lab, folder, settings=settings, orders=orders).load()
    assert [item.failure for item in first.values()] == ["", "not today", ""]
    (first_checkpoint, last), before = checkpoints(first, settings), times(tmp_path)
    again = edited(lab, folder, settings=settings, orders=orders).load()
    new_files = [name for name, when in times(tmp_path).items() if before[name] != when]
    assert new_files == [f"{edit_key(0, 2)}.safetensors"], "tried again, and what came after stays"
    assert checkpoints(again, settings) == [first_checkpoint, last]

    fails.clear()
    # killed after the edit that succeeds now
    edited(lab, folder, settings=settings, orders=orders, stop_after=1)
    full = edited(lab, folder, settings=settings, orders=orders).load()
    clean = edited(lab, EditsDataset(str(tmp_path / "clean")), settings=settings, orders=orders).load()
    assert [item.fingerprint for item in full.values()] == [item.fingerprint for item in clean.values()]
    full_change, clean_change = (items[edit_key(0, 3)].read().dense() for items in (full, clean))
    assert all(torch.equal(full_change[site], clean_change[site]) for site in full_change)
    first_point, last_point = checkpoints(full, settings)
    assert first_point == first_checkpoint
    assert last_point != last, "answers after another outcome are not taken"


def test_a_sequence_goes_on_from_any_of_its_increments(lab, monkeypatch):
    lm, original = lab.model("llama"), Rome.increment

    def increment(self, lm, facts, **options):
        if facts[0].id == FACTS[1].id:
            raise RuntimeError("not this one")
        return original(self, lm, facts, **options)

    def make(order):
        return list(nodes._edit_orders(lm, [order], method("rome"), lab.artefact("rome", "llama")))

    monkeypatch.setattr(Rome, "increment", increment)
    order = nodes._Order("rome", [[fact] for fact in FACTS], {})
    increments = make(order)
    assert [str(part.error or "") for part in increments] == ["", "not this one", ""]
    for number in (1, 2, 3):
        rest = make(reduce(nodes._advance, increments[:number], order))
        names, expected_names = (
            [(part.number, part.item.fingerprint) for part in parts] for parts in (rest, increments[number:])
        )
        assert names == expected_names
    # what a worker dies over has failed like what raises an error
    after_death = make(nodes._advance(nodes._advance(order, increments[0]), WorkerDied("killed")))
    (last,) = after_death
    assert last.item.fingerprint == increments[2].item.fingerprint
    changes = increments[2].item.read().dense()
    assert all(torch.equal(last.item.read().dense()[site], change) for site, change in changes.items())


def test_an_increment_is_not_held_in_memory_once_its_file_is_written(lab, tmp_path):
    def make(order):
        return list(nodes._edit_orders(lab.model("llama"), [order], method("rome"), lab.artefact("rome", "llama")))

    order = nodes._Order("rome", [[fact] for fact in FACTS[:2]], {})
    first, second = make(order)
    next_order = nodes._advance(order, first)
    changes = first.item.read().dense()
    edit, folder = weakref.ref(first.item.read()), EditsDataset(str(tmp_path))
    folder.save({edit_key(0, 1): nodes._to_item("name", first, FACTS[:1], StoredItem.of("", Artefact()), place(0, 1))})
    gc.collect()
    assert edit() is None
    stored_changes = next_order.items[1].read().dense()
    assert all(torch.equal(stored_changes[site], change) for site, change in changes.items())
    (last,) = make(next_order)
    assert last.item.fingerprint == second.item.fingerprint


def test_a_checkpoint_asks_about_all_edits_so_far_and_what_stays(lab, sequence, tmp_path):
    folder = AnswersDataset(str(tmp_path))
    answers = asked(lab, folder, sequence).load()
    assert list(answers) == ["0.1", "0.3", "1.1", "1.3"]
    facts = {key: list(dict.fromkeys(a.probe.fact_id for a in item.read())) for key, item in answers.items()}
    assert facts["0.1"] == [FACTS[0].id, POOL[0].id]
    assert facts["1.1"] == [FACTS[2].id, POOL[0].id]
    assert facts["1.3"] == [*(fact.id for fact in FACTS[::-1]), POOL[0].id]

    lm, checkpoint_answers = lab.model("llama"), answers["0.3"].read()
    ((_, history),) = replays(sequence, [point for point in checkpoints(sequence, SETTINGS) if point.key == "0.3"])
    probes = [answer.probe for answer in checkpoint_answers]
    with history.applied(lm):
        (live,) = ask(lm, [(PromptPrefix(), probes)], DECODING)
    for checkpoint_answer, live_answer in zip(checkpoint_answers, live, strict=True):
        assert checkpoint_answer.text == live_answer.text
        assert checkpoint_answer.logprob_new == pytest.approx(live_answer.logprob_new, abs=1e-4)
    divergences = [answer.kl for answer in checkpoint_answers if answer.probe.family == "specificity"]
    assert min(divergences) > 0, "compared with the unedited model"


def test_a_finished_folder_replays_nothing_and_a_new_checkpoint_only_itself(lab, sequence, tmp_path, monkeypatch):
    folder = AnswersDataset(str(tmp_path))
    asked(lab, folder, sequence)
    before, reads = times(tmp_path), []

    def counting(item, key):
        return StoredItem(item.fingerprint, lambda: reads.append(key) or item.read(), item.header)

    items = {key: counting(item, key) for key, item in sequence.items()}
    asked(lab, folder, items)
    assert reads == []
    settings = SequenceParameters(checkpoints=[1, 2, 3], orders=2, retention_facts=1, paraphrases=1, neighbours=1)
    asked(lab, folder, items, settings=settings)
    assert reads == [edit_key(order, number) for order in (0, 1) for number in (1, 2)]
    assert before.items() <= times(tmp_path).items()


def test_the_unedited_model_is_asked_once_about_everything(lab, tmp_path):
    answers = asked(lab, AnswersDataset(str(tmp_path)), None, name="none").load()
    assert list(answers) == ["0.0"]
    assert len(answers["0.0"].read()) == len(PROBES)


def test_drift_is_the_norm_of_the_summed_change(lab, sequence):
    lm = lab.model("llama")
    drift = nodes.drift_with("rome")(lm, sequence, SETTINGS)
    assert drift.dtypes.astype(str).to_dict() == nodes.DRIFT_COLUMNS
    assert drift[["order", "edits"]].to_numpy().tolist() == [[0, 1], [0, 3], [1, 1], [1, 3]]
    increments = [sequence[edit_key(0, number)].read() for number in (1, 2, 3)]
    (site,) = increments[0].dense()
    total = sum(edit.dense()[site] for edit in increments)
    row = drift.iloc[1]
    assert (row["layer"], row["part"]) == (site.layer, site.part)
    assert row["norm"] == pytest.approx(float(total.norm()), rel=1e-5)
    assert row["relative"] == pytest.approx(float(total.norm() / lm.weight(site).norm()), rel=1e-5)
    words = {
        key: StoredItem.of(key, PromptPrefix("words"), **place(order_of(item), edits_of(item)), prefix_tokens=1)
        for key, item in sequence.items()
    }
    assert nodes.drift_with("context")(lm, words, SETTINGS).empty
    assert gather.gather_drift().dtypes.astype(str).to_dict() == nodes.DRIFT_COLUMNS
    assert len(gather.gather_drift(drift.head(0), drift)) == 4


class Bench:
    """Stands for a benchmark: what it is called and what it follows from."""

    def __init__(self, name, fingerprint="1"):
        self.name, self.fingerprint = name, fingerprint
        self.work = type("Work", (), {"instances": ()})


@pytest.fixture
def calls(monkeypatch):
    """Benchmarks give one document, that holds what the weight was; and which were measured."""
    calls = []

    def measure(lm, benchmark, edit):
        calls.append((benchmark.name, edit.text_before("A question?")))
        total = float(sum(parameter.double().sum() for parameter in lm.model.parameters()))
        return [Document(benchmark.name, "t", "none", "acc", 0, "d", "p", 0, 1.0, {"acc": 1.0}, 0, (total, -1.0))]

    monkeypatch.setattr(abilities, "measure", measure)
    return calls


def measuring(lm, folder, edits, benchmarks, name="rome", **options):
    with mock.patch("edit_robustness.abilities.benchmarks.build_benchmarks", return_value=benchmarks):
        files = LocalFiles()
        landing = abilities.measure_with(name)(lm, None, files, folder.fingerprints(), SETTINGS, edits)
        return fill(folder, landing, **options)


def test_benchmarks_are_measured_under_the_edits_so_far_and_land_one_by_one(lab, sequence, calls, tmp_path):
    lm, folder, benchmarks = lab.model("llama"), DocumentsDataset(str(tmp_path)), [Bench("a.b"), Bench("c")]
    measuring(lm, folder, sequence, benchmarks, stop_after=3)
    before = times(tmp_path)
    assert sorted(before) == ["0.1.a.b.jsonl", "0.1.c.jsonl", "0.3.a.b.jsonl"]
    measuring(lm, folder, sequence, benchmarks)
    assert before.items() <= times(tmp_path).items()
    assert [name for name, _ in calls] == ["a.b", "c"] * 4
    weights = {key: item.read()[0].logprobs[0] for key, item in folder.load().items()}
    assert weights["0.1.c"] == weights["0.1.a.b"]
    assert len(set(weights.values())) == 4
    plain = float(sum(parameter.double().sum() for parameter in lm.model.parameters()))
    assert plain not in weights.values(), "the model is as it was"

    calls.clear()
    measuring(lm, folder, sequence, benchmarks)
    assert calls == []
    measuring(lm, folder, sequence, [Bench("a.b"), Bench("c", "2")])
    assert [name for name, _ in calls] == ["c"] * 4


def test_benchmarks_are_built_once_for_the_files_of_a_run(lab):
    lm, files = lab.model("llama"), LocalFiles()
    with mock.patch("edit_robustness.abilities.benchmarks.build_benchmarks", return_value=[]) as build:
        get_benchmarks(lm, None, files)
        get_benchmarks(lm, None, deepcopy(files))
        assert build.call_count == 1, "a worker gets a copy for each method"
        get_benchmarks(lm, None, LocalFiles())
        assert build.call_count == 2, "the files of another run may be others"


def test_a_worker_whose_benchmark_is_another_measures_nothing(lab, calls):
    cells = [(checkpoints(None, SETTINGS)[0], "a", "2")]
    with (
        mock.patch("edit_robustness.abilities.benchmarks.build_benchmarks", return_value=[Bench("a", "1")]),
        pytest.raises(ValueError, match="a: a worker reads other files of this benchmark"),
    ):
        list(abilities._measure(lab.model("llama"), cells, None, LocalFiles(), None, None))
    assert calls == []


def test_words_stand_before_every_request(lab, calls, tmp_path):
    edits = {
        edit_key(order, number): StoredItem.of(
            f"{order}.{number}", PromptPrefix(f"{number} "), **place(order, number), prefix_tokens=number
        )
        for order in (0, 1)
        for number in (1, 2, 3)
    }
    measuring(lab.model("llama"), DocumentsDataset(str(tmp_path)), edits, [Bench("a")], "context")
    assert [text for _, text in calls] == ["1 ", "1 2 3 "] * 2


def test_the_unedited_model_is_measured_once(lab, calls, tmp_path):
    folder = measuring(lab.model("llama"), DocumentsDataset(str(tmp_path)), None, [Bench("a")], "none")
    assert list(folder.load()) == ["0.0.a"]


def test_tables_of_all_methods(lab, sequence, calls, tmp_path):
    lm, answer_folders = lab.model("llama"), {}
    for name, edits in (("none", None), ("rome", sequence)):
        answer_folders[name] = asked(lab, AnswersDataset(str(tmp_path / name)), edits, name=name).load()
    answers = gather.gather_answers_with(["none", "rome"])(lm, DECODING, ORDERS, *answer_folders.values())
    places = answers.groupby(["method", "order", "edits", "fact_id"])["position"].first()
    assert places["rome", 1, 3, FACTS[0].id] == 3
    assert places["none", 0, 0, FACTS[2].id] == 3
    retention_rows = answers[answers["fact_role"] == "retained"]
    assert set(retention_rows["fact_id"]) == {POOL[0].id}
    assert (retention_rows["position"] == 0).all()
    assert len(retention_rows) == 5

    scores = gather.score_sequences(answers)
    key = ["method", "order", "edits", "probe_id", "protocol", "metric"]
    assert not scores.duplicated(key).any()
    assert set(map(tuple, scores[key[:3]].drop_duplicates().to_numpy())) == {
        ("none", 0, 0), ("rome", 0, 1), ("rome", 0, 3), ("rome", 1, 1), ("rome", 1, 3)
    }  # fmt: skip
    free = scores[(scores["protocol"] == "free") & (scores["method"] == "rome") & (scores["family"] == "specificity")]
    local, cut_rates = (free.loc[free["metric"] == metric, "value"] for metric in ("specificity_all", "cut"))
    assert set(local.dropna()) <= {0.0, 1.0}
    # four tokens of a random model name nothing: what it would have gone on to say is not known
    assert (local.isna().to_numpy() == (cut_rates == 1).to_numpy()).all()

    folders = {}
    for name, edits in (("none", None), ("rome", sequence)):
        folders[name] = measuring(lm, DocumentsDataset(str(tmp_path / f"d{name}")), edits, [Bench("a.b")], name).load()
    documents = gather.gather_documents_with(["none", "rome"])(lm, *folders.values())
    assert documents[["method", "order", "edits"]].to_numpy().tolist() == [
        ["none", 0, 0], ["rome", 0, 1], ["rome", 0, 3], ["rome", 1, 1], ["rome", 1, 3]
    ]  # fmt: skip
    assert documents["benchmark"].unique().tolist() == ["a.b"]


def test_a_run_says_what_failed_and_what_it_cost(lab, sequence, calls, tmp_path):
    lm = lab.model("llama")
    about = {**place(1, 2), "seconds": 1.0, "bytes": 9, "prefix_tokens": 0, "fact_id": "b"}
    failed_edits = {**sequence, edit_key(1, 2): StoredItem.failed_item("f", "x", **about)}
    stored_items = {
        key: StoredItem(item.fingerprint, item.read, {"bytes": 5, **item.header}) for key, item in failed_edits.items()
    }
    folders = {
        name: measuring(lm, DocumentsDataset(str(tmp_path / name)), edits, [Bench("a")], name).load()
        for name, edits in (("none", None), ("rome", sequence))
    }
    settings = AbilityParameters("p", 5, 0, 8, {"p": {"b": {"task": "b"}}})
    record, failed_items = gather.describe_with(["none", "rome"])(
        lm,
        SETTINGS,
        settings,
        SAMPLED,
        rome_sequence=stored_items,
        rome_settings=method("rome"),
        none_sequence_answers={"0.0": StoredItem.of("f", [], seconds=2.0, probes=3)},
        rome_sequence_answers={"0.1": StoredItem.of("f", [], seconds=1.0, probes=3, **place(0, 1))},
        **{f"{name}_documents": folder for name, folder in folders.items()},
    )
    assert record["probes_per_second"] == {lm.name: {"none": 1.5, "rome": 3.0}}
    assert json.loads(json.dumps(record)) == record | {
        "sequence": {**record["sequence"], "checkpoints": [1, 3]},
        "abilities": {**record["abilities"], "tasks": ["p"]},
    }
    assert failed_items[["method", "stage", "key", "fact_id", "reason"]].to_numpy().tolist() == [
        ["rome", "edit", edit_key(1, 2), "b", "x"]
    ]
    method_records = record["sequences"][lm.name]
    assert method_records["rome"]["failed"] == [{"order": 1, "position": 2, "reason": "x"}]
    assert method_records["rome"]["prefix_tokens"] == {"1": 0, "3": 0}
    assert set(method_records["rome"]["seconds_per_benchmark"]) == {"1", "3"}
    assert set(method_records["none"]["seconds_per_benchmark"]) == {"0"}
    assert record["n_retained"] == 1
    assert record["abilities"] == {"tasks": ("p",), "documents": 5, "seed": 0, "max_new_tokens": 8}
    assert record["methods"][lm.name]["rome"]["layer"] == method("rome").layer


def test_a_collapsed_model_scores_no_success(lab, tmp_path):
    lm = tiny_model("llama")
    site = method("rome").site
    height, width = lm.weight(site).shape
    history = EditHistory() + LowRank({site: (torch.full((height, 1), 1e38), torch.ones(1, width))})
    probes = probes_from_table(PROBES)
    answers = {}
    for name, edit in (("none", PromptPrefix()), ("rome", history)):
        (answers[name],) = ask(lm, [(edit, probes)], DECODING)
    items = {
        "none": {"0.0": StoredItem.of("", answers["none"], **place(0, 0))},
        "rome": {"0.3": StoredItem.of("", answers["rome"], **place(0, 3))},
    }
    table = gather.gather_answers_with(list(items))(lm, DECODING, ORDERS, *items.values())
    scores = gather.score_sequences(table)
    rome_scores = scores[
        (scores["method"] == "rome") & scores["metric"].isin(["success", "specificity", "kl", "preference"])
    ]
    assert len(rome_scores)
    assert not (rome_scores["value"].fillna(0) > 0).any()


def test_every_file_says_its_place_in_its_header_and_no_key_is_taken_apart(lab, sequence, calls, tmp_path):
    lm = lab.model("llama")
    assert [(order_of(item), edits_of(item)) for item in sequence.values()] == [
        (order, number) for order in (0, 1) for number in (1, 2, 3)
    ]
    answers = asked(lab, AnswersDataset(str(tmp_path / "answers")), sequence).load()
    documents = measuring(lm, DocumentsDataset(str(tmp_path / "documents")), sequence, [Bench("a.b")]).load()
    points = [(0, 1), (0, 3), (1, 1), (1, 3)]
    assert [(order_of(item), edits_of(item)) for item in answers.values()] == points
    assert [(*place_of(item), item.header["benchmark"]) for item in documents.values()] == [
        (*point, "a.b") for point in points
    ]
    renamed_items = {str(number): item for number, item in enumerate(answers.values())}
    table = gather.gather_answers_with(["rome"])(lm, DECODING, ORDERS, renamed_items)
    assert table.equals(gather.gather_answers_with(["rome"])(lm, DECODING, ORDERS, answers))
    increments = {str(number): item for number, item in enumerate(sequence.values())}
    (point,) = [point for point in checkpoints(sequence, SETTINGS) if point.key == "1.3"]
    ((_, history),), ((_, same_state),) = (list(replays(edits, [point])) for edits in (sequence, increments))
    assert all(torch.equal(same_state.changes[site], change) for site, change in history.changes.items())


def place_of(item):
    return order_of(item), edits_of(item)


def test_a_checkpoint_or_a_benchmark_that_fails_says_its_place_too(lab, sequence, monkeypatch, tmp_path):
    def broken(*_, **__):
        raise RuntimeError("not today")

    lm = lab.model("llama")
    monkeypatch.setattr(abilities, "measure", broken)
    monkeypatch.setattr(nodes, "ask", broken)
    answers = asked(lab, AnswersDataset(str(tmp_path / "answers")), sequence).load()
    documents = measuring(lm, DocumentsDataset(str(tmp_path / "documents")), sequence, [Bench("c")]).load()
    for items in (answers, documents):
        assert {item.failure for item in items.values()} == {"not today"}
        assert [place_of(item) for item in items.values()] == [(0, 1), (0, 3), (1, 1), (1, 3)]
    assert {item.header["benchmark"] for item in documents.values()} == {"c"}


def test_a_file_of_single_edits_that_lies_in_the_folder_of_a_sequence_is_passed_over(lab, tmp_path):
    folder, first_order = EditsDataset(str(tmp_path)), ORDERS[ORDERS["order"] == 0]
    folder.save({name: StoredItem.of("print", PromptPrefix("Words.")) for name in ("p101-a-fact", "0.1.2", "1")})
    assert list(edited(lab, folder, orders=first_order).load()) == [edit_key(0, number) for number in (1, 2, 3)]


def test_what_is_made_from_stale_files_is_marked(lab, sequence, calls, tmp_path):
    """With `keep_stale`; its fingerprint is that of what the same files give when they are recomputed."""
    lm, first_order = lab.model("llama"), ORDERS[ORDERS["order"] == 0]
    artefacts = {"rome": StoredItem.of("artefact", lab.artefact("rome", "llama"), stale=True)}
    folder = EditsDataset(str(tmp_path / "edits"), keep_stale=True)
    assert all(
        "stale" in item.header for item in edited(lab, folder, orders=first_order, artefacts=artefacts).load().values()
    )
    stale = {key: replace(item, header={**item.header, "stale": True}) for key, item in sequence.items()}
    answers = AnswersDataset(str(tmp_path / "answers"))
    documents = DocumentsDataset(str(tmp_path / "documents"))
    for edits, number in [(stale, 0), (sequence, 4)]:
        landed_answers = nodes.ask_with("rome")(lm, PROBES, SAMPLED, ORDERS, {}, DECODING, SETTINGS, edits)
        for piece in landed_answers:
            answers.save(piece)
        measuring_all(lm, documents, edits)
        assert len(answers.fingerprints()) == len(documents.fingerprints()) == number


def measuring_all(lm, folder, edits):
    with mock.patch("edit_robustness.abilities.benchmarks.build_benchmarks", return_value=[Bench("c")]):
        for piece in abilities.measure_with("rome")(lm, None, LocalFiles(), {}, SETTINGS, edits):
            folder.save(piece)
