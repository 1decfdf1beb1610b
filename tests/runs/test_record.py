"""The record of a run: what it contains, and what a resumed run keeps."""

import hashlib
import json
import subprocess

import pytest

from edit_robustness.runs.record import RunRecord
from edit_robustness.runs.surroundings import fact_source, git_state, machine_record, packages

RUN = "20260102-030405-aaaaaaaa"
ABOUT = {
    "id": RUN,
    "pipeline": "edit_eval",
    "environment": "test",
    "parameters": {"sample": {"size": 5}},
    "models": {"tiny": {}},
    "methods": {"tiny": {"rome": {"layer": 1}}},
    "source_runs": [],
}


def read_record(folder):
    return json.loads((folder / "run.json").read_text())


def test_a_record_has_its_command_times_and_what_was_learned(tmp_path):
    record = RunRecord(tmp_path, ABOUT, "kedro run --env=test", {})
    record.write()
    first = read_record(tmp_path)
    assert (first["status"], first["finished"]) == ("running", None)
    record.learn("models", {"tiny": {"fingerprint": "abc", "source": "https://me:secret@host/model"}})
    record.learn("n_facts", {"tiny": 5})
    record.learn("headline", [])
    record.wrote()
    record.end()
    second = read_record(tmp_path)
    assert second["status"] == "finished"
    assert second["command"] == "kedro run --env=test"
    assert second["repeat"] == "kedro run --env=test --pipeline=edit_eval --params=sample.size=5"
    assert second["models"] == {"tiny": {"fingerprint": "abc", "source": "https://***@host/model"}}
    assert second["n_facts"] == {"tiny": 5}
    assert second["started"] <= second["finished"]
    assert second["seconds"] >= 0
    assert second["cpu_seconds"] >= 0


def test_a_resumed_run_keeps_its_start_and_what_was_learned(tmp_path):
    first = RunRecord(tmp_path, {**ABOUT, "source_runs": ["a"]}, "kedro run", {"--to-nodes": ["tiny.rome.edit"]})
    first.learn("n_facts", {"tiny": 5})
    first.learn("headline", [{"model": "tiny"}])
    first.end("stopped")
    alone = read_record(tmp_path)
    assert "--to-nodes=tiny.rome.edit" in alone["repeat"]
    second = RunRecord(tmp_path, {**ABOUT, "source_runs": ["b"]}, "kedro run --env=test", {})
    second.end()
    record = read_record(tmp_path)
    assert record["started"] == alone["started"]
    assert [session["status"] for session in record["sessions"]] == ["stopped", "finished"]
    assert record["n_facts"] == {"tiny": 5}
    assert record["headline"] == [{"model": "tiny"}]
    assert record["source_runs"] == ["a", "b"]
    # the commands named other nodes, so that only one that leaves none out makes all that the run has
    assert "--to-nodes" not in record["repeat"]


def test_the_file_of_the_facts_is_hashed(tmp_path):
    file = tmp_path / "facts.csv"
    file.write_text("a")
    source = fact_source({"type": "x", "path": str(file), "format": "table"}, tmp_path)
    assert source == {"source": "facts.csv", "format": "table", "sha256": hashlib.sha256(b"a").hexdigest()}
    folder = fact_source({"path": "."}, tmp_path)["sha256"]
    file.rename(tmp_path / "other.csv")
    assert fact_source({"path": "."}, tmp_path)["sha256"] != folder
    remote = fact_source({"path": "https://me:secret@host/facts.json", "limit": 10}, tmp_path)
    assert remote == {"source": "https://***@host/facts.json", "limit": 10, "sha256": None}
    assert fact_source({"path": "none.csv"}, tmp_path)["sha256"] is None


def test_the_source_of_facts_of_several_data_sets_names_each(tmp_path):
    (tmp_path / "a.csv").write_text("a")
    (tmp_path / "b.csv").write_text("b")
    entry = {"sources": {"first": {"path": "a.csv", "limit": 10}, "second": {"path": str(tmp_path / "b.csv")}}}
    record = fact_source(entry, tmp_path)
    assert record["source"] == "first: a.csv (at most 10); second: b.csv"
    (tmp_path / "b.csv").write_text("c")
    assert fact_source(entry, tmp_path)["sha256"] not in (None, record["sha256"])
    entry_without_file = {"sources": {**entry["sources"], "lost": {"path": "none.csv"}}}
    assert fact_source(entry_without_file, tmp_path)["sha256"] is None


@pytest.mark.skipif(subprocess.run(["git", "--version"], check=False).returncode != 0, reason="there is no git")
def test_the_commit_of_a_repository_and_whether_files_differ(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "one.txt").write_text("1")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    state = git_state(tmp_path)
    assert len(state["commit"]) == 40
    assert (state["dirty"], state["changed_files"]) == (False, 0)
    (tmp_path / "one.txt").write_text("2")
    assert git_state(tmp_path) == {**state, "dirty": True, "changed_files": 1}


def test_a_project_without_git_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None


def test_versions_and_the_machine():
    assert {"python", "torch", "transformers", "kedro"} <= packages().keys()
    record = machine_record()
    assert record["processor"] in record["name"]
    assert record["cores"] >= 1
    assert record["threads"] >= 1
