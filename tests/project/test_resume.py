"""A killed run goes on, and no table holds an edit of another run."""

import pandas as pd

from conftest import KILLED_AFTER
from edit_robustness.editing.files import read_header
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.methods.rome import Rome

TABLES = ["answers", "scores", "headline", "edited_facts"]
COLLECT = ["analyze.collect_answers", "analyze.collect_scores", "analyze.collect_facts"]
"""The nodes of the tables that hold what was made of each edit."""


def assert_same_tables(first, second):
    for name in TABLES:
        # a batch of other width adds the same numbers in another order
        pd.testing.assert_frame_equal(first.table(name), second.table(name), check_exact=False, rtol=1e-3, atol=1e-5)


def test_a_run_killed_twice_goes_on_after_the_last_item(project, finished_once, slow_runs):
    file_times = {}
    for node, output in (("edit", "tiny/rome/edits"), ("evaluate", "tiny/context/answers")):
        slow_runs.kill(project.folder, node, "edit_eval", output=project.data / "07_model_output" / output)
        assert item_times(project).items() >= file_times.items()
        file_times = item_times(project)
        items = [path for path in file_times if path.parent == project.data / "07_model_output" / output]
        assert KILLED_AFTER <= len(items) < len(project_facts(finished_once))

    project.run(to_nodes=[*COLLECT, "analyze.summarise"])

    assert item_times(project).items() >= file_times.items()
    assert_same_tables(project, finished_once)


def item_times(project):
    paths = (path for path in project.data.rglob("*") if path.suffix in (".safetensors", ".jsonl"))
    return {path: path.stat().st_mtime_ns for path in paths}


def test_a_second_run_edits_and_asks_nothing(run_before, finished_once, monkeypatch):
    def never(*_, **__):
        raise AssertionError("made again")

    monkeypatch.setattr("edit_robustness.workers.answers.ask", never)
    monkeypatch.setattr("edit_robustness.pipelines.edit.nodes.write_texts", never)
    for method in METHODS.values():
        monkeypatch.setattr(method, "edit_each", never)
        if not method.is_in_context:  # the check of lengths looks at the text before prompts
            monkeypatch.setattr(method, "prepare", never)
    before = {path: path.stat().st_mtime_ns for path in edits(run_before, "*")}
    run_before.run(to_nodes=[*COLLECT, "analyze.summarise"])
    assert {path: path.stat().st_mtime_ns for path in edits(run_before, "*")} == before
    assert_same_tables(run_before, finished_once)


def test_fewer_facts_then_another_hyperparameter(run_before, monkeypatch):
    """Five facts were edited; then three; then ROME's rate is changed."""
    fact_ids = []
    original = Rome.edit_each

    def count_edits(self, lm, facts, **options):
        fact_ids.extend(fact.id for fact in facts)
        return original(self, lm, facts, **options)

    monkeypatch.setattr(Rome, "edit_each", count_edits)
    before = {path: read_header(path)["fingerprint"] for path in edits(run_before, "rome")}
    # not IKE's: its demonstrations are the facts outside the sample, so they are others now
    ft_times = {path: path.stat().st_mtime_ns for path in edits(run_before, "ft")}

    fewer = {"sample": {"size": 3}}
    run_before.run(parameters=fewer, to_nodes=COLLECT)
    sample_ids = project_facts(run_before)
    assert len(sample_ids) == 3
    assert_only(run_before, sample_ids)
    already = {path.stem for path in before}
    assert set(fact_ids) == sample_ids - already

    fact_ids.clear()
    run_before.run(parameters={**fewer, "methods": {"rome": {"tiny": {"v_lr": 0.25}}}}, to_nodes=COLLECT)
    assert set(fact_ids) == sample_ids
    assert_only(run_before, sample_ids)
    after = {path: read_header(path)["fingerprint"] for path in edits(run_before, "rome") if path.stem in sample_ids}
    assert not set(after.values()) & set(before.values())
    assert {path: path.stat().st_mtime_ns for path in ft_times} == ft_times


def edits(project, method):
    return sorted((project.data / "07_model_output" / "tiny").glob(f"{method}/edits/*.safetensors"))


def project_facts(project):
    return set(project.table("edited_facts")["id"])


def assert_only(project, facts):
    for name in ("answers", "scores"):
        table = project.table(name)
        for method, rows in table.groupby("method"):
            assert set(rows["fact_id"]) == facts, (name, method)
