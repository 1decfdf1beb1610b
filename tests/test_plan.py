"""The plan of a run: its lines before any work starts."""

import json

import pytest

from edit_robustness import plan
from edit_robustness.plan import plan_lines
from edit_robustness.workers import WorkerParameters

NODES = ["validate_facts", "tiny.none.edit", "tiny.rome.edit", "tiny.none.evaluate", "tiny.rome.evaluate", "tiny.score"]
PARAMETERS = {
    "sample": {"size": 10},
    "probes": {
        "kinds": ["statement", "paraphrase", "neighbourhood"],
        "paraphrases_per_fact": 3,
        "neighbours_per_fact": 2,
    },
}
WHAT = "plan: tiny: 10 facts, at most 6 prompts per fact and method; No edit, ROME"


@pytest.fixture(autouse=True)
def cores(monkeypatch):
    monkeypatch.setattr(plan.os, "cpu_count", lambda: 8)


def write_rates(folder, seconds):
    (folder / "tiny").mkdir()
    record = {
        "seconds_per_edit": {"tiny": {"none": 0.0, "rome": seconds}},
        "probes_per_second": {"tiny": {"none": 6.0, "rome": 3.0}},
        "machine": "AMD EPYC, 1 thread",
    }
    (folder / "tiny" / "run.json").write_text(json.dumps(record))


def lines(folder, **workers):
    return plan_lines(NODES, PARAMETERS, WorkerParameters(**workers), folder)


def test_without_an_earlier_run_there_is_no_estimate(tmp_path):
    assert lines(tmp_path) == [WHAT, "plan: all in this process"]
    assert lines(tmp_path, count=2) == [WHAT, "plan: 2 workers"]


def test_the_time_is_that_of_the_rates_of_the_last_run(tmp_path):
    # edits: 10 * 2 s; answers: 60 / 6 s and 60 / 3 s
    write_rates(tmp_path, 2.0)
    what = f"{WHAT}; about 50 s by the rates of its last run (AMD EPYC, 1 thread)"
    assert lines(tmp_path) == [what, "plan: all in this process"]
    assert lines(tmp_path, count=2) == [what, "plan: 2 workers; together about 25 s"]
    cluster = lines(tmp_path, count=2, gpus=0.5, address="auto")
    assert cluster[-1] == "plan: 2 workers of the cluster at auto, each with 0.5 GPUs; together about 25 s"


def test_workers_are_named_where_they_would_pay(tmp_path):
    write_rates(tmp_path, 30.0)
    here, way = lines(tmp_path)[-1].split("; ")
    assert here == "plan: all in this process"
    assert way == "with --params=workers.count=N, N processes share the work, each with a model of its own"


def test_a_method_without_a_rate_leaves_the_time_out(tmp_path):
    write_rates(tmp_path, 2.0)
    nodes = [*NODES, "tiny.memit.edit"]
    assert plan_lines(nodes, PARAMETERS, WorkerParameters(), tmp_path)[0].endswith("No edit, ROME, MEMIT")


@pytest.mark.parametrize("rates", [{"tiny": {"none": 0.0, "rome": None}}, {"tiny": None}, [], None])
def test_a_method_whose_edits_all_failed_has_no_rate(rates, tmp_path):
    write_rates(tmp_path, 2.0)
    path = tmp_path / "tiny" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seconds_per_edit": rates}))
    assert lines(tmp_path) == [WHAT, "plan: all in this process"]


def test_a_run_without_edits_has_no_plan(tmp_path):
    assert plan_lines(["tiny.score", "analyze.report"], PARAMETERS, WorkerParameters(), tmp_path) == []


SEQUENCE = {
    "sequence": {"checkpoints": [1, 3], "orders": 2, "retention_facts": 4, "paraphrases": 2, "neighbours": 1},
    "abilities": {
        "tasks": "own",
        "documents": 5,
        "seed": 0,
        "max_new_tokens": 8,
        "presets": {"own": {"prose": {"task": "prose"}, "knowledge": {"task": "knowledge"}}},
    },
}
SEQUENCE_NODES = [
    f"tiny.{cell}"
    for cell in (
        *("rome.edit_in_sequence", "rome.ask_checkpoints", "rome.measure_abilities"),
        *("none.ask_checkpoints", "none.measure_abilities", "describe_sequences"),
    )
]
# per edited fact a statement, two paraphrases, a neighbour and another relation; 2 orders * (1*5 + 4 + 3*5 + 4)
WHAT_SEQUENCE = (
    "plan: tiny: 3 facts in sequence, 2 orders, checkpoints 0, 1, 3; at most 56 answers per method, and at each "
    "checkpoint 2 benchmarks; No edit, ROME"
)


def write_sequence_rates(folder, *, benchmarks=("prose", "knowledge")):
    (folder / "tiny").mkdir()
    rome = {"1": {name: 3.0 for name in benchmarks}, "3": {name: 5.0 for name in benchmarks}}
    record = {
        "seconds_per_edit": {"tiny": {"rome": 2.0}},
        "probes_per_second": {"tiny": {"none": 1.9, "rome": 2.8}},
        "sequences": {
            "tiny": {
                "none": {"seconds_per_benchmark": {"0": {name: 2.0 for name in benchmarks}}},
                "rome": {"seconds_per_benchmark": rome},
            }
        },
        "machine": "AMD EPYC, 1 thread",
    }
    (folder / "tiny" / "sequence_run.json").write_text(json.dumps(record))


def test_a_sequence_is_planned_with_its_checkpoints_and_benchmarks(tmp_path):
    workers = WorkerParameters()
    assert plan_lines(SEQUENCE_NODES, SEQUENCE, workers, tmp_path) == [WHAT_SEQUENCE, "plan: all in this process"]
    # edits: 3 * 2 orders * 2 s; answers: 56 / 2.8 s, and of the unedited model (3*5 + 4) / 1.9 s; benchmarks: four
    # checkpoints of 2 * 4 s, and 2 * 2 s
    write_sequence_rates(tmp_path)
    first, _ = plan_lines(SEQUENCE_NODES, SEQUENCE, workers, tmp_path)
    assert first == f"{WHAT_SEQUENCE}; about 1 min by the rates of its last run (AMD EPYC, 1 thread)"
    *_, seconds = plan_lines(SEQUENCE_NODES, SEQUENCE, WorkerParameters(count=4), tmp_path)
    assert seconds == "plan: 4 workers; together about 20 s"  # (12 + 20 + 10 + 32 + 4) / 4


def test_a_benchmark_that_was_not_measured_before_leaves_the_time_out(tmp_path):
    write_sequence_rates(tmp_path, benchmarks=("prose",))
    assert plan_lines(SEQUENCE_NODES, SEQUENCE, WorkerParameters(), tmp_path)[0] == WHAT_SEQUENCE


def test_one_order_is_named_in_words(tmp_path):
    parameters = {**SEQUENCE, "sequence": {"checkpoints": [2]}}
    line = plan_lines(SEQUENCE_NODES, parameters, WorkerParameters(), tmp_path)[0]
    assert "2 facts in sequence, one order, checkpoints 0, 2;" in line
