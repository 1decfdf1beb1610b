"""Workers as Ray actors: the same items as in this process, whatever happens to a worker."""

import copy
import logging
import os
import signal
import socket
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from threading import Thread

import pandas as pd
import pytest
from fabricated_benchmarks import parameters
from fabricated_edits import FACTS, POOL, RELATIONS, TINY_SETTINGS
from kedro.io import DatasetError
from landings import fill
from local_server import local_server

ray = pytest.importorskip("ray")

from edit_robustness.abilities.local_files import LocalFiles  # noqa: E402 - after the check for Ray
from edit_robustness.asking.ask import Decoding  # noqa: E402
from edit_robustness.asking.converse import ConversationSettings  # noqa: E402
from edit_robustness.datasets import (  # noqa: E402
    AnswersDataset,
    ArtefactsDataset,
    DocumentsDataset,
    EditsDataset,
    LanguageModelDataset,
    SpeakerDataset,
    TextsDataset,
    TranscriptsDataset,
)
from edit_robustness.datasets.corpus import CorpusSource  # noqa: E402
from edit_robustness.datasets.sequences import edit_key  # noqa: E402
from edit_robustness.editing.artefacts import Artefact  # noqa: E402
from edit_robustness.editing.edit_sequence import SequenceParameters  # noqa: E402
from edit_robustness.editing.methods.mend import Mend  # noqa: E402
from edit_robustness.editing.methods.rome import Rome  # noqa: E402
from edit_robustness.editing.requirements import TextNeed  # noqa: E402
from edit_robustness.models.language_model import LanguageModel, RemoteWeights  # noqa: E402
from edit_robustness.models.memory import loaded_bytes  # noqa: E402
from edit_robustness.pipelines.abilities.nodes import measure_with  # noqa: E402
from edit_robustness.pipelines.conversation.nodes import talk_with  # noqa: E402
from edit_robustness.pipelines.edit.nodes import edit_with, prepare_with, take_moments, write_corpus_with  # noqa: E402
from edit_robustness.pipelines.prior_knowledge.nodes import rank_objects  # noqa: E402
from edit_robustness.pipelines.sequence import nodes as sequence  # noqa: E402
from edit_robustness.tables import facts_to_table  # noqa: E402
from edit_robustness.workers import Task, UnusableWorkers, Work, WorkerDied, ray_cluster, ray_workers  # noqa: E402
from edit_robustness.workers.crew import Crew, NobodyLeft, Stopped  # noqa: E402
from edit_robustness.workers.parts import Part, Running, requeue  # noqa: E402
from edit_robustness.workers.pool import ThisProcess  # noqa: E402
from edit_robustness.workers.ray_cluster import find_lack  # noqa: E402
from edit_robustness.workers.ray_process import WorkerProcess  # noqa: E402
from edit_robustness.workers.ray_workers import RayWorkers  # noqa: E402
from edit_robustness.workers.settings import WorkerParameters  # noqa: E402

KEYS = [f"f{number}" for number in range(24)]


def letters(lm, inputs, ending):
    """Items that take a model; an input of `die` kills its process, `die once` only until the file is there."""
    for text in inputs:
        if text.startswith("die once"):
            path = text.split()[-1]
            if not os.path.exists(path):
                open(path, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
        elif text == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif text == "warn":
            logging.getLogger("edit_robustness.letters").warning("a letter of 100% doubt")
        elif text == "fail":
            raise ValueError("no such letter")
        elif text == "process":
            text = str(os.getpid())
        yield f"{text}{ending} {lm.name}"


def group(lm, inputs):
    """Items that depend on which are made together."""
    yield from letters(lm, inputs, f" of {len(inputs)}")


def count(lm, inputs, text):
    """A stream of numbers from one input, the last that is known; it fails at 2 as `letters` does."""
    (start,) = inputs
    for number in range(start + 1, 4):
        if number == 2:
            list(letters(lm, [text], ""))
        yield number


def go_on(start, value):
    """After a number comes the next."""
    return start + 1 if isinstance(value, WorkerDied) else value


@pytest.fixture(scope="module")
def lm():
    return LanguageModelDataset(name="tiny", random="llama").load()


@pytest.fixture(scope="module")
def workers():
    # the functions of this module have no name in another process
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with pytest.MonkeyPatch.context() as patch:
        # without `workers.address` no cluster is used, whatever the environment says
        patch.setenv("RAY_ADDRESS", "127.0.0.1:9")
        workers = RayWorkers(WorkerParameters(count=2, threads=1, retries=1))
        workers._start()
        yield workers
        workers.close()


def outcomes(attempts):
    return {attempt.key: attempt.value if attempt.error is None else str(attempt.error) for attempt in attempts}


def make(workers, lm, inputs, **options):
    work = Work(letters, inputs, ("!",))
    return outcomes(workers.attempts(lm, Task(work, list(inputs), "letters", **options)))


def test_workers_make_what_this_process_makes(workers, lm):
    inputs = {key: key.upper() for key in KEYS}
    assert make(workers, lm, inputs) == make(ThisProcess(), lm, inputs)


def test_an_item_that_fails_is_lost_alone_and_warnings_come_to_the_log(workers, lm, caplog):
    inputs = {key: key for key in KEYS} | {"f3": "fail", "f5": "warn"}
    result = make(workers, lm, inputs)
    assert result.pop("f3") == "no such letter"
    assert result == {key: f"{inputs[key]}! tiny" for key in KEYS if key != "f3"}
    assert [record.getMessage() for record in caplog.records] == [
        "letters: f3 failed: no such letter",
        "a letter of 100% doubt",
    ]


def after_death(part, made_keys=(), *, retries=0, advance=None, has_begun=True):
    """What is made again, with the deaths over it, and what is given up."""
    queue, inputs = deque(), {"a": 0, "b": 0, "c": 0}
    task, state = Task(Work(letters, inputs), list(inputs), "letters", advance=advance), Running(part, None, has_begun)
    state.made_keys.update(made_keys)
    lost = outcomes(requeue(task, inputs, state, queue, RuntimeError("killed"), retries))
    return [(part.keys, part.deaths) for part in queue], lost


def test_only_an_item_that_was_alone_is_given_up():
    assert after_death(Part(["a", "b", "c"]), ["a"]) == ([(["b"], 1), (["c"], 0)], {})
    assert after_death(Part(["a"], 1)) == ([], {"a": "the worker died 2 times over it"})
    assert after_death(Part(["a"], 1), retries=2) == ([(["a"], 2)], {})
    assert after_death(Part(["a"]), ["a"]) == ([], {})


def test_no_item_is_under_suspicion_before_the_model_is_loaded():
    assert after_death(Part(["a"], 1), has_begun=False) == ([(["a"], 1)], {})
    assert after_death(Part(["a", "b"], whole=True), has_begun=False) == ([(["a", "b"], 0)], {})


def test_a_batch_is_made_whole_again_and_at_last_one_by_one():
    batch = Part(["a", "b", "c"], whole=True)
    assert after_death(batch, ["a"], retries=1) == ([(["a", "b", "c"], 1)], {})
    assert after_death(batch, ["a"]) == ([(["b"], 1), (["c"], 1)], {})


def test_a_stream_counts_the_deaths_over_one_value_and_may_go_on_after_it():
    assert after_death(Part(["a"], 1), ["a"], retries=1, advance=go_on) == ([(["a"], 1)], {})
    lost = {"a": "the worker died 2 times over it"}
    assert after_death(Part(["a"], 1), retries=1, advance=go_on) == ([(["a"], 0)], lost)
    assert after_death(Part(["a"], 1), retries=1, advance=lambda start, value: None) == ([], lost)


def test_a_worker_that_dies_without_work_costs_no_item_a_retry(workers, lm, caplog):
    processes = set(make(workers, lm, {key: "process" for key in KEYS}, in_batches=False).values())
    for process in processes:
        os.kill(int(process.split("!")[0]), signal.SIGKILL)
    inputs = {key: key for key in KEYS}
    assert make(workers, lm, inputs) == make(ThisProcess(), lm, inputs)
    assert "in hand" not in caplog.text
    assert "a worker died before it had loaded the model" in caplog.text


def test_failures_in_a_row_are_counted_over_all_parts(workers, lm):
    inputs = {key: "fail" for key in KEYS}
    batches = [KEYS[start : start + 2] for start in range(0, len(KEYS), 2)]
    results = make(workers, lm, inputs, batches=batches, patience=3)
    failures = [result for result in results.values() if result == "no such letter"]
    assert set(results) == set(KEYS)
    assert len(failures) == 3
    assert {*results.values()} == {"no such letter", "not tried after 3 failures in a row: no such letter"}
    # what is cancelled keeps no worker
    assert make(workers, lm, {"a": "a"}) == {"a": "a! tiny"}


def test_batches_stay_whole_and_only_what_is_wanted_comes(workers, lm, tmp_path):
    batches = [KEYS[:5], KEYS[5:12], KEYS[12:]]
    inputs = {key: key for key in KEYS} | {"f8": f"die once {tmp_path / 'died'}"}
    task = Task(Work(group, inputs), ["f1", "f6", "f23"], "letters", batches=batches)
    assert outcomes(workers.attempts(lm, task)) == {"f1": "f1 of 5 tiny", "f6": "f6 of 7 tiny", "f23": "f23 of 12 tiny"}


def stream(workers, lm, text):
    task = Task(Work(count, {"a": 0}, (text,)), ["a"], "numbers", advance=go_on)
    return [attempt.value if attempt.error is None else str(attempt.error) for attempt in workers.attempts(lm, task)]


def test_a_stream_yields_what_it_makes_before_an_error(workers, lm):
    assert stream(ThisProcess(), lm, "b") == [1, 2, 3]
    assert stream(ThisProcess(), lm, "fail") == [1, "no such letter"]
    assert stream(workers, lm, "b") == [1, 2, 3]


def test_a_model_that_a_worker_cannot_load_ends_the_run_in_one_line(workers, lm, monkeypatch):
    monkeypatch.setattr(lm, "entry", {"name": "tiny", "folder": "no/such/folder"})
    with pytest.raises(
        UnusableWorkers, match=r"^workers: tiny: a worker cannot load .*there is no folder no/such/folder$"
    ):
        make(workers, lm, {"a": "a"})
    monkeypatch.setattr(lm, "entry", {"name": "tiny", "random": "llama", "seed": 1})
    with pytest.raises(UnusableWorkers, match=r"^workers: tiny: a worker loads another model than this process"):
        make(workers, lm, {"a": "a"})


def test_a_worker_tells_of_a_model_whose_weights_are_not_in_this_process(workers, lm, monkeypatch):
    monkeypatch.setattr(LanguageModelDataset, "hold", workers.hold)
    dataset = LanguageModelDataset(name="tiny", random="llama")
    outline = dataset.load()
    assert dataset.load() is outline
    assert (outline.fingerprint, outline.environment, outline.finite, outline.size, outline.entry) == (
        *(lm.fingerprint, lm.environment, lm.finite, lm.size, lm.entry),
    )
    assert (outline.shape, outline.max_length, outline.stop_ids, outline.encode("Paris")) == (
        *(lm.shape, lm.max_length, lm.stop_ids, lm.encode("Paris")),
    )
    assert not outline.has_weights
    assert {parameter.device.type for parameter in outline.model.parameters()} == {"meta"}
    assert make(workers, outline, {"a": "a"}) == {"a": "a! tiny"}
    whole = LanguageModelDataset.with_weights(outline)
    assert (whole.has_weights, whole.fingerprint) == (True, lm.fingerprint)
    assert LanguageModelDataset.with_weights(whole) is whole
    with pytest.raises(DatasetError, match=r"\nworkers: other: a worker cannot load .* no folder no/such$"):
        LanguageModelDataset(name="other", folder="no/such").load()
    LanguageModelDataset.forget_outlines()


def test_two_models_share_the_workers_at_once(workers, lm, monkeypatch):
    monkeypatch.setattr(LanguageModelDataset, "hold", workers.hold)
    outlines = [LanguageModelDataset(name=name, random="llama").load() for name in ("one", "two")]
    inputs = {key: key for key in KEYS}
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda outline: make(workers, outline, inputs), outlines))
    assert [set(result.values()) for result in results] == [
        {f"{key}! {name}" for key in KEYS} for name in ("one", "two")
    ]
    LanguageModelDataset.forget_outlines()


DRIVER = os.getpid()
SETTINGS = SequenceParameters(checkpoints=[1, 3], orders=2, retention_facts=1, paraphrases=1, neighbours=1)
SAMPLED = pd.concat(
    [facts_to_table(FACTS).assign(fact_role="edited"), facts_to_table(POOL[:1]).assign(fact_role="retained")],
    ignore_index=True,
)
ORDERS = pd.DataFrame(
    [
        (order, place, fact.id)
        for order, own in enumerate([FACTS, FACTS[1:] + FACTS[:1]])
        for place, fact in enumerate(own, 1)
    ],
    columns=["order", "position", "fact_id"],
)


@dataclass(frozen=True)
class Poisonous(Rome):
    """Kills every worker at one fact after another, and says in the first process what becomes of that."""

    def increment(self, lm, facts, *, artefact, history):
        if facts[0].id != FACTS[1].id or not history.changes:
            return super().increment(lm, facts, artefact=artefact, history=history)
        if os.getpid() == DRIVER:
            raise RuntimeError("the worker died 2 times over it")
        os.kill(os.getpid(), signal.SIGKILL)
        return None


@pytest.fixture(scope="module")
def both(workers, lm, tmp_path_factory):
    """What this process makes and what workers make, each of every node that hands items out."""
    results = []
    for kind in (ThisProcess(), workers):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("edit_robustness.workers.pool._Holder.workers", kind)
            results.append(run_nodes(lm, tmp_path_factory.mktemp("nodes")))
    return results


def run_nodes(lm, root):
    """The folders of a whole run, and the table of ranks."""
    folders = {}

    def make(name, kind, node, *arguments, **options):
        folder = kind(str(root / name))
        folders[name] = fill(folder, node(lm, *arguments, **options)).load()
        return folders[name]

    decoding, rome = Decoding(max_new_tokens=4, batch_rows=2), Rome(**TINY_SETTINGS["rome"])
    source, facts = CorpusSource((), 24, 24, 0), facts_to_table([*FACTS, *POOL])
    corpus = make("corpus", TextsDataset, write_corpus_with(TextNeed()), source, {})
    other_layer = Rome(**TINY_SETTINGS["rome"] | {"layer": 3})
    moments = make("moments", ArtefactsDataset, take_moments, {}, corpus, rome, other_layer)
    artefacts = make("artefact", ArtefactsDataset, prepare_with("rome"), {}, rome, moments=moments, corpus=corpus)
    trained = Mend(**TINY_SETTINGS["mend"])
    sources = {"facts": facts, "sampled_facts": facts_to_table(FACTS), "raw_relations": RELATIONS}
    make("trained", ArtefactsDataset, prepare_with("mend"), {}, trained, **sources)
    edits = make("edits", EditsDataset, edit_with("rome"), facts_to_table(FACTS), {}, rome, artefacts)
    poisonous = Poisonous(**TINY_SETTINGS["rome"])
    node = sequence.edit_with("rome")
    increments = make("sequence", EditsDataset, node, SAMPLED, ORDERS, {}, poisonous, SETTINGS, artefacts)
    probes = sequence.make_probes(SAMPLED, facts, RELATIONS, SETTINGS)
    arguments = (probes, SAMPLED, ORDERS, {}, decoding, SETTINGS, increments)
    make("answers", AnswersDataset, sequence.ask_with("rome"), *arguments)
    abilities = parameters("embedded.knowledge", documents=2)
    make("documents", DocumentsDataset, measure_with("rome"), abilities, LocalFiles(), {}, SETTINGS, increments)
    tester = SpeakerDataset(kind="local", model={"name": "tester", "random": "gpt2"}, max_new_tokens=4).load()
    talking = ConversationSettings(rounds=2, retries=0, max_new_tokens=4, batch_rows=2)
    make(
        "transcripts",
        TranscriptsDataset,
        talk_with("rome"),
        edits,
        facts_to_table(FACTS),
        RELATIONS,
        {},
        tester,
        talking,
    )
    return folders, rank_objects(lm, facts, decoding)


def content(value):
    """What an item holds, to the last bit."""
    if isinstance(value, Artefact):
        return {key: tensor.tolist() for key, tensor in value.tensors.items()}, value.texts
    dense = getattr(value, "dense", None)
    return {str(site): change.tolist() for site, change in dense().items()} if dense else repr(value)


def test_workers_fill_every_folder_as_this_process_does(both):
    (expected, expected_ranks), (folders, ranks) = both
    for name, items in expected.items():
        assert list(folders[name]) == list(items)
        for key, item in items.items():
            other = folders[name][key]
            assert (other.fingerprint, other.failure) == (item.fingerprint, item.failure), f"{name}: {key}"
            assert content(other.read()) == content(item.read()), f"{name}: {key}"
            assert {*other.header} == {*item.header}, f"{name}: {key}"
    pd.testing.assert_frame_equal(ranks, expected_ranks, check_exact=True)


def test_an_increment_over_which_workers_die_is_a_gap_and_the_sequence_goes_on(both):
    for folders, _ in both:
        failures = {key: item.failure for key, item in folders["sequence"].items() if item.failure}
        assert failures == {edit_key(0, 2): "the worker died 2 times over it"}


def test_workers_that_cannot_start_are_tried_once(lm, monkeypatch):
    calls = []

    def refuse(settings, look):
        calls.append(settings)
        raise UnusableWorkers("workers: no room")

    monkeypatch.setattr(ray_workers, "connect", refuse)
    workers = RayWorkers(WorkerParameters(count=2))
    for _ in range(2):
        with pytest.raises(UnusableWorkers, match="no room"):
            make(workers, lm, {"a": "a"})
    assert len(calls) == 1


def test_a_thread_that_waits_for_an_answer_ends_with_the_run(workers):
    other = RayWorkers(WorkerParameters(count=1))
    other.stop()
    with pytest.raises(Stopped):
        # a promise that nobody keeps: the machine has no room for it
        other._wait_for(ray.remote(num_cpus=1000)(lambda text: text).remote("a"))


def test_workers_that_do_not_start_end_the_run_with_the_number_that_did(workers, monkeypatch):
    monkeypatch.setattr(ray_workers, "_START_SECONDS", 0.5)
    other = RayWorkers(WorkerParameters(count=1))
    other._crew.join([ray.remote(WorkerProcess).options(num_cpus=1000).remote(1, "")])
    with pytest.raises(
        UnusableWorkers, match=r"^workers: 0 of 1 started, .* wait for its end, or lower workers\.count$"
    ):
        other._confirm(other._crew.workers)


def test_more_than_there_is_is_refused():
    resources = [{"CPU": 4.0}]
    assert not find_lack(resources, WorkerParameters(count=2), threads=2)
    assert "3 workers with threads=2 need 6 CPUs, and there are 4" in find_lack(resources, WorkerParameters(count=3), 2)
    assert "gpus=0.5 need 1 GPUs, and there are 0" in find_lack(resources, WorkerParameters(count=2, gpus=0.5), 1)


def test_a_worker_has_whole_gpus_or_a_part_of_one():
    assert [WorkerParameters(gpus=gpus).gpus for gpus in (0, 0.5, 1, 2.0)] == [0, 0.5, 1, 2]
    with pytest.raises(ValueError, match=r"a part of one GPU, .* or a whole number of GPUs"):
        WorkerParameters(gpus=1.5)


def test_a_worker_must_have_room_on_one_machine():
    machines = [{"CPU": 3.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}]
    assert "have room for 1 workers (1 + 0), not 2" in find_lack(machines, WorkerParameters(count=2), 2)
    assert "(1 + 1), not 3" in find_lack(machines, WorkerParameters(count=3, gpus=0.6), 1)
    assert not find_lack(machines, WorkerParameters(count=4, gpus=1 / 3), 1)


def test_models_that_do_not_fit_are_refused_before_a_worker_starts(lab, monkeypatch):
    lm = lab.model("llama")
    size = loaded_bytes(lm.model)
    monkeypatch.setattr("edit_robustness.models.memory.free_bytes", lambda device: 3 * size - 1)
    monkeypatch.setattr(RayWorkers, "_start", lambda workers: pytest.fail("workers were started"))
    task = Task(Work(group, {"a": "a"}), ["a"], "letters")
    with pytest.raises(
        UnusableWorkers, match=r"^workers: 3 workers with a tiny-llama each need .* lower workers\.count"
    ):
        list(RayWorkers(WorkerParameters(count=3)).attempts(lm, task))


def test_the_model_of_the_worker_that_told_of_it_is_not_counted_again(lab, monkeypatch):
    lm = lab.model("llama")
    size = lm.size
    told = RemoteWeights(lm.fingerprint, lm.environment, lm.finite, size)
    outline = LanguageModel(copy.deepcopy(lm.model).to("meta"), lm.tokenizer, lm.name, told)
    monkeypatch.setattr("edit_robustness.models.memory.free_bytes", lambda device: 2 * size)
    RayWorkers(WorkerParameters(count=3))._make_room(outline)
    monkeypatch.setattr("edit_robustness.models.memory.free_bytes", lambda device: 2 * size - 1)
    with pytest.raises(UnusableWorkers, match=r"^workers: 2 more workers with a tiny-llama each need "):
        RayWorkers(WorkerParameters(count=3))._make_room(outline)


def test_workers_elsewhere_look_at_their_memory_themselves(lab, monkeypatch, caplog):
    monkeypatch.setattr("edit_robustness.models.memory.free_bytes", lambda device: 0)
    workers = RayWorkers(WorkerParameters(count=3, address="auto"))
    with caplog.at_level("INFO"):
        workers._make_room(lab.model("llama"))
        workers._make_room(lab.model("llama"))
    assert [record.getMessage() for record in caplog.records] == [
        "tiny-llama: 3 workers, and a model of 0.000157 GB in each"
    ]


def test_an_address_where_nothing_answers_is_refused_at_once():
    with pytest.raises(UnusableWorkers, match=r"nothing answers at 127.0.0.1:9 .*ray start --head"):
        RayWorkers(WorkerParameters(count=1, address="127.0.0.1:9"))
    with pytest.raises(UnusableWorkers, match=r"^workers.address: nothing answers at \[here "):
        RayWorkers(WorkerParameters(count=1, address="[here"))


def test_the_address_of_a_web_server_is_refused_since_ray_would_wait_for_it():
    with local_server() as server:
        address = server.url.removeprefix("http://")
        with pytest.raises(UnusableWorkers, match=rf"at {address} is a web server, .* which is 6379 unless"):
            RayWorkers(WorkerParameters(count=1, address=address))


@contextmanager
def server_that_says(words):
    """A server at which every connection gets some bytes, or no answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections = []

        def answer():
            with suppress(OSError):
                while True:
                    connections.append(server.accept()[0])
                    connections[-1].sendall(words)

        Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("words", [b"SSH-2.0-OpenSSH_9.2\r\n", b""], ids=["another protocol", "no answer"])
def test_the_address_of_another_server_is_refused_within_seconds(words, monkeypatch):
    monkeypatch.setattr(ray_cluster, "_PROBE_SECONDS", 0.5)
    with server_that_says(words) as address:
        begin = time.monotonic()
        with pytest.raises(UnusableWorkers, match=rf"at {address} is a server that is no part of Ray; give the port"):
            RayWorkers(WorkerParameters(count=1, address=address))
        assert time.monotonic() - begin < 5


def test_the_head_of_a_cluster_is_no_other_server(workers):
    ray_cluster.check_address(ray.get_runtime_context().gcs_address)


def test_machines_that_join_a_cluster_are_waited_for(monkeypatch, caplog):
    machines = [[{"Alive": True, "Resources": {"CPU": 1.0}}]]
    monkeypatch.setattr(ray, "nodes", lambda: machines[-1])
    monkeypatch.setattr(time, "sleep", lambda seconds: machines.append(machines[-1] * 2))
    settings = WorkerParameters(count=3, address="auto")
    with caplog.at_level("INFO"):
        assert not ray_cluster._wait_for_machines(settings, 1, lambda: None)
    assert [len(nodes) for nodes in machines] == [1, 2, 4]
    assert [line.split(":")[0] for line in caplog.messages] == ["waiting up to 60 s for more machines"]
    monkeypatch.setattr(ray_cluster, "_JOIN_SECONDS", 0)
    assert "5 workers with threads=1 need 5 CPUs, and there are 4" in ray_cluster._wait_for_machines(
        WorkerParameters(count=5, address="auto"), 1, lambda: None
    )
    machines[:] = [machines[0]]
    assert "need 2 CPUs" in ray_cluster._wait_for_machines(WorkerParameters(count=2), 1, lambda: None)
    assert len(machines) == 1
    crew = Crew()
    crew.stop()
    monkeypatch.setattr(ray_cluster, "_JOIN_SECONDS", 60)
    with pytest.raises(Stopped):
        ray_cluster._wait_for_machines(settings, 1, crew.look_for_end)


@pytest.mark.parametrize(
    ("address", "has_token", "mode", "expected"),
    [
        ("head:6379", True, None, "token"),
        ("head:6379", False, None, None),
        ("head:6379", True, "disabled", "disabled"),
        ("", True, None, None),
    ],
)
def test_a_token_is_shown_to_a_cluster(address, has_token, mode, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    # so that what is set is undone, too
    monkeypatch.setenv("RAY_AUTH_MODE", mode or "")
    if mode is None:
        monkeypatch.delenv("RAY_AUTH_MODE")
    if has_token:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("secret")
    ray_cluster.show_token(address)
    assert os.environ.get("RAY_AUTH_MODE") == expected


def test_an_address_of_ray_client_is_refused_since_it_cannot_stream_items():
    with pytest.raises(UnusableWorkers, match=r"ray://head:10001 is for Ray Client, .* `ray job submit`"):
        RayWorkers(WorkerParameters(count=1, address="ray://head:10001"))


def test_without_ray_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("edit_robustness.workers.ray_workers.find_spec", lambda name: None)
    with pytest.raises(UnusableWorkers, match="pip install ray"):
        RayWorkers(WorkerParameters(count=2))


def test_without_room_for_another_worker_the_others_go_on_and_the_loss_of_the_last_ends_the_run(
    workers, lm, monkeypatch, caplog
):
    """The last test: no worker is left after it."""
    crowded = ray.remote(WorkerProcess).options(num_cpus=1000).remote
    monkeypatch.setattr(workers, "_make_actor", partial(crowded, 1, os.getcwd()))
    monkeypatch.setattr(ray_workers, "_START_SECONDS", 0.5)
    inputs = {"first": "die", **{key: key for key in KEYS}}
    with caplog.at_level("WARNING"):
        # in any order: when Ray tells of the death of the first worker, the other may have made all the rest
        result = make(workers, lm, inputs, in_batches=False)
        assert result.pop("first") == "the worker died 2 times over it"
        assert result == {key: f"{key}! tiny" for key in KEYS}
        with pytest.raises(NobodyLeft, match=r"^workers: the last worker died, .* the same command goes on"):
            make(workers, lm, {"a": "a"})
        # dead workers are replaced in the background, so the second line may still be to come
        end = time.monotonic() + 20
        while len(lines := list_losses(caplog)) < 2 and time.monotonic() < end:
            time.sleep(0.05)
    assert [line.split(": ")[-1] for line in lines] == ["1 go on", "0 go on"]


def list_losses(caplog):
    return [line for line in caplog.messages if "no worker could be started in place of one that died" in line]
