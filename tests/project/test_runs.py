"""A run has an id and a folder: a resumed run keeps both, changed settings start a new run, and none is overwritten."""

import json
import shlex
import shutil

import pandas as pd
import pytest
from click.testing import CliRunner
from kedro.framework.cli.cli import KedroCLI
from whole_run import COMMAND

from conftest import Project
from edit_robustness.runs.folders import is_id

HEADLINE = {"from_nodes": ["tiny.score"], "to_nodes": ["analyze.summarise"]}
"""A part of what the level of the intervals changes."""

RESCORE = {"pipeline_names": ["rescore"]}
FEW = {"grid": {"tiny": {"context": False, "ft": False, "ike": False}}, "sample": {"size": 2}}


def runs_of(project):
    return sorted(path.name for path in (project.data / "08_reporting").iterdir() if is_id(path.name))


def record_of(project, run_id="latest"):
    return json.loads((project.data / "08_reporting" / run_id / "run.json").read_text())


def files_of(project, run_id):
    folder = project.data / "08_reporting" / run_id
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_record_has_what_is_needed_to_repeat_the_run(run_before):
    (run_id,) = runs_of(run_before)
    record = record_of(run_before)
    assert (record["id"], record["status"], record["pipeline"], record["environment"]) == (
        *(run_id, "finished", "edit_eval", "test"),
    )
    assert record["repeat"] == "kedro run --env=test --pipeline=edit_eval"
    assert shlex.split(record["command"]) == ["kedro", *COMMAND]
    assert record["facts"]["source"] == "data/01_raw/facts.csv"
    assert len(record["facts"]["sha256"]) == 64
    assert record["seeds"]["probes.seed"] == 0
    assert "statement" in record["kinds"]
    assert record["models"]["tiny"]["fingerprint"]
    assert record["methods"]["tiny"]["rome"]["layer"] == 1
    assert record["n_facts"] == {"tiny": 5}
    assert record["source_runs"] == []
    data_sets = dict(record["data_sets"])
    assert data_sets["tiny.rome_edits"] == "07_model_output/tiny/rome/edits"
    assert not any(place.startswith(("01_raw", "08_reporting", "..")) for place in data_sets.values())
    assert all((run_before.data / place).exists() for name, place in data_sets.items() if name != "web")
    assert {line["method"] for line in record["headline"]} == {"none", "context", "ft", "rome", "ike"}
    assert record["seconds"] > 0
    assert record["cpu_seconds"] > 0
    page = (run_before.latest / "report.html").read_text()
    assert f"<dt>Run</dt><dd>{run_id}</dd>" in page
    assert f"<dd>{record['repeat']}</dd>" in page
    index = (run_before.data / "08_reporting" / "index.html").read_text()
    assert f'href="{run_id}/report.html"' in index


def test_a_run_with_unchanged_settings_keeps_its_id_and_one_with_others_starts_a_new_one(run_before, no_model):
    (first,) = runs_of(run_before)
    run_before.run(from_nodes=["analyze.report"])
    assert runs_of(run_before) == [first]
    record = record_of(run_before)
    assert [session["options"] for session in record["sessions"]] == [{}, {"--from-nodes": ["analyze.report"]}]
    assert "--from-nodes" not in record["repeat"]

    before = files_of(run_before, first)
    parameters = {"analyze": {"confidence": 0.8}}
    run_before.run(**HEADLINE, parameters=parameters)
    old, new = runs_of(run_before)
    assert old == first
    assert (run_before.data / "08_reporting" / "latest").resolve().name == new
    assert record_of(run_before)["source_runs"] == [first]
    assert record_of(run_before)["parameters"] == parameters
    assert files_of(run_before, first) == before
    low = [
        pd.read_parquet(run_before.data / "08_reporting" / run_id / "headline.parquet")["low"] for run_id in (old, new)
    ]
    assert (low[0].dropna() <= low[1].dropna()).all()
    index = (run_before.data / "08_reporting" / "index.html").read_text()
    assert index.index(new) < index.index(first)

    run_before.run(from_nodes=["analyze.report"])
    assert runs_of(run_before) == [first, new]
    assert (run_before.data / "08_reporting" / "latest").resolve().name == first


def test_an_unfinished_run_is_resumed_under_its_id_and_is_not_the_latest(project):
    project.run(to_nodes=["tiny.complete_facts"], parameters=FEW)
    (run_id,) = runs_of(project)
    assert not project.latest.exists(), "it wrote no table or page"
    assert "--to-nodes=tiny.complete_facts" in record_of(project, run_id)["repeat"].split()
    (project.data / "08_reporting" / "mine.csv").write_text("mine")
    project.run(to_nodes=["analyze.summarise"], parameters=FEW)
    assert runs_of(project) == [run_id]
    assert record_of(project)["command"] is None, "it was started in Python"
    assert project.latest.resolve().name == run_id
    assert (project.data / "08_reporting" / "mine.csv").read_text() == "mine"


def test_the_catalog_reads_the_latest_run_without_a_run(run_before, no_model):
    (first,) = runs_of(run_before)
    run_before.run(**RESCORE, to_nodes=["analyze.summarise"], parameters={"analyze": {"confidence": 0.5}})
    catalog = run_before.context().catalog
    assert "08_reporting/latest/" in str(catalog.get("headline")._filepath)
    widths = [table["high"] - table["low"] for table in (catalog.load("headline"), first_headline(run_before, first))]
    assert widths[0].sum() < widths[1].sum()
    # no pipeline but the main job writes the sample of probes
    assert f"08_reporting/{first}/" in str(catalog.get("tiny.probes_sample")._filepath)
    assert len(catalog.load("tiny.probes_sample"))


def first_headline(project, run_id):
    return pd.read_parquet(project.data / "08_reporting" / run_id / "headline.parquet")


def test_the_recorded_command_repeats_the_run_with_its_quotes(project, monkeypatch):
    def run(*words):
        monkeypatch.setattr("sys.argv", ["kedro", *words])
        result = CliRunner().invoke(KedroCLI(project.folder), words)
        assert result.exit_code == 0, result.output

    facts = project.folder / "data" / "my facts; it's $(one).csv"
    facts.write_bytes((project.folder / "data" / "01_raw" / "facts.csv").read_bytes())
    relative = facts.relative_to(project.folder)
    params_option = f"--params=facts_path={relative},sample.size=2,x_api_key=sk-12345"
    words = ["run", "--env", "test", params_option, "--to-nodes=tiny.ask_objects"]
    run(*words)
    (run_id,) = runs_of(project)
    text = (project.data / "08_reporting" / run_id / "run.json").read_text()
    assert "12345" not in text
    record = json.loads(text)
    assert shlex.split(record["command"]) == ["kedro", *[word.replace("sk-12345", "***") for word in words]]
    run(*shlex.split(record["repeat"])[1:])
    assert runs_of(project) == [run_id]
    assert len(record_of(project, run_id)["sessions"]) == 2
    assert record_of(project, run_id)["repeat"] == record["repeat"]


def test_a_run_that_an_error_stops_says_so_and_keeps_the_latest(run_before, monkeypatch, no_model):
    def fail(*words):
        raise ValueError("no disk")

    (first,) = runs_of(run_before)
    monkeypatch.setattr("edit_robustness.pipelines.analyze.nodes.with_failed", fail)
    with pytest.raises(ValueError, match="no disk"):
        run_before.run(**HEADLINE, parameters={"analyze": {"confidence": 0.8}})
    second = next(run_id for run_id in runs_of(run_before) if run_id != first)
    assert record_of(run_before, second)["status"] == "stopped"
    assert "scores.parquet" in files_of(run_before, second), "it wrote something"
    assert run_before.latest.resolve().name == first
    assert "stopped by an error" in (run_before.data / "08_reporting" / "index.html").read_text()


def test_environments_with_a_folder_of_their_own_keep_their_pages_apart(project):
    data = {env: project.context(env).config_loader["globals"]["data"] for env in ("test", "gpu", "paper2", "local")}
    assert len(set(data.values())) == len(data)


def test_a_copy_of_a_data_folder_in_which_latest_became_a_folder(finished_project, tmp_path, monkeypatch):

    folder = tmp_path / "copied"
    shutil.copytree(finished_project.folder, folder)
    monkeypatch.chdir(folder)
    project_copy = Project(folder)
    assert not project_copy.latest.is_symlink()
    project_copy.run(from_nodes=["analyze.report"])
    assert project_copy.latest.is_symlink()
    assert (project_copy.data / "08_reporting" / "latest.1.set_aside" / "report.html").exists()
