"""A killed run goes on, and no table holds an edit of another run."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from edit_robustness.editing.files import read_header
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.methods.rome import Rome

TABLES = ["answers", "scores", "headline", "edited_facts"]
SLOW_RUN = Path(__file__).with_name("slow_run.py")
KILLED_AFTER = 2


def assert_same_tables(one, other):
    for name in TABLES:
        # a batch of other width adds the same numbers in another order
        pd.testing.assert_frame_equal(one.table(name), other.table(name), check_exact=False, rtol=1e-3, atol=1e-5)


def kill_when(run, folder, patience=120.0):
    started = time.monotonic()
    while sum(1 for path in folder.glob("*") if path.suffix in (".safetensors", ".jsonl")) < KILLED_AFTER:
        assert run.poll() is None, f"the run ended by itself:\n{run.stderr.read().decode()}"
        assert time.monotonic() - started < patience
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()


@pytest.mark.parametrize(("node", "output"), [("edit", "tiny/rome/edits"), ("evaluate", "tiny/context/answers")])
def test_a_killed_run_goes_on_after_the_last_item(project, finished_once, node, output):
    command = [sys.executable, SLOW_RUN, project.folder, node, "edit_eval"]
    run = subprocess.Popen(command, cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    kill_when(run, project.data / "07_model_output" / output)
    there = {
        path: path.stat().st_mtime_ns for path in project.data.rglob("*") if path.suffix in (".safetensors", ".jsonl")
    }
    landed = [path for path in there if path.parent == project.data / "07_model_output" / output]
    assert KILLED_AFTER <= len(landed) < len(project_facts(finished_once))

    project.run()

    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert_same_tables(project, finished_once)


def test_a_second_run_edits_and_asks_nothing(run_before, finished_once, monkeypatch):
    def never(*_, **__):
        raise AssertionError("made again")

    monkeypatch.setattr("edit_robustness.datasets.answers.ask", never)
    monkeypatch.setattr("edit_robustness.pipelines.edit.nodes.written_texts", never)
    for method in METHODS.values():
        monkeypatch.setattr(method, "edit_each", never)
        if not method.in_words:  # the check of lengths looks at what words would be said
            monkeypatch.setattr(method, "prepare", never)
    before = {path: path.stat().st_mtime_ns for path in edits(run_before, "*")}
    run_before.run()
    assert {path: path.stat().st_mtime_ns for path in edits(run_before, "*")} == before
    assert_same_tables(run_before, finished_once)


def test_fewer_facts_then_another_hyperparameter(run_before, monkeypatch):
    """Five facts were edited; then three; then ROME's rate is changed."""
    made = []
    original = Rome.edit_each

    def counted(self, lm, facts, **options):
        made.extend(fact.id for fact in facts)
        return original(self, lm, facts, **options)

    monkeypatch.setattr(Rome, "edit_each", counted)
    before = {path: read_header(path)["fingerprint"] for path in edits(run_before, "rome")}
    # not IKE's: its demonstrations are the facts outside the sample, so they are others now
    untouched = {path: path.stat().st_mtime_ns for path in edits(run_before, "ft")}

    fewer = {"sample": {"size": 3}}
    run_before.run(parameters=fewer)
    chosen = project_facts(run_before)
    assert len(chosen) == 3
    assert_only(run_before, chosen)
    already = {path.stem for path in before}
    assert set(made) == chosen - already

    made.clear()
    run_before.run(parameters={**fewer, "methods": {"rome": {"tiny": {"v_lr": 0.25}}}})
    assert set(made) == chosen
    assert_only(run_before, chosen)
    after = {path: read_header(path)["fingerprint"] for path in edits(run_before, "rome") if path.stem in chosen}
    assert not set(after.values()) & set(before.values())
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched


def edits(project, method):
    return sorted((project.data / "07_model_output" / "tiny").glob(f"{method}/edits/*.safetensors"))


def project_facts(project):
    return set(project.table("edited_facts")["id"])


def assert_only(project, facts):
    for name in ("answers", "scores"):
        table = project.table(name)
        for method, rows in table.groupby("method"):
            assert set(rows["fact_id"]) == facts, (name, method)
