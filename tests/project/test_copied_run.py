"""`kedro copy-run`: a finished run is copied to an object store, and scored again and continued from there."""

import logging

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from kedro.framework.cli.cli import KedroCLI
from object_store import BUCKET, SECRET
from whole_run import copy_of_the_project

from conftest import Project
from edit_robustness.editing.methods import METHODS
from edit_robustness.runs.folders import is_id

TABLES = ("answers", "scores", "headline")


def copy_run(project, *words):
    return CliRunner().invoke(KedroCLI(project.folder), ["copy-run", "--env=test", *words])


def run_ids(project):
    return [path.name for path in (project.data / "08_reporting").iterdir() if is_id(path.name)]


@pytest.fixture
def elsewhere(tmp_path):
    return Project(copy_of_the_project(tmp_path / "elsewhere"))


def test_a_run_is_scored_again_and_continued_from_its_copy(
    run_before, elsewhere, finished_once, object_store, monkeypatch, caplog
):
    caplog.set_level(logging.DEBUG, logger="edit_robustness")
    (run,) = run_ids(run_before)
    there = copy_run(run_before, f"--to={BUCKET}/studies/first")
    assert there.exit_code == 0, there.output
    assert there.stdout.splitlines()[-1].startswith(f"run {run}: ")
    assert there.stdout.splitlines()[-1].endswith(f"copied to {BUCKET}/studies/first")
    table = pd.read_parquet(f"{BUCKET}/studies/first/08_reporting/{run}/headline.parquet")
    pd.testing.assert_frame_equal(table, finished_once.table("headline"))

    monkeypatch.chdir(elsewhere.folder)
    back = copy_run(elsewhere, f"--from={BUCKET}/studies/first")
    assert back.exit_code == 0, back.output
    assert elsewhere.latest.resolve().name == run
    assert run in (elsewhere.data / "08_reporting" / "index.html").read_text()
    assert not any(SECRET in text for text in (there.output, back.output, caplog.text))

    def never(*_, **__):
        raise AssertionError("made again")

    monkeypatch.setattr("edit_robustness.workers.answers.ask", never)
    for method in METHODS.values():
        monkeypatch.setattr(method, "edit_each", never)
    elsewhere.run(to_nodes=["tiny.rome.edit"])
    assert run_ids(elsewhere) == [run]
    elsewhere.run(pipeline_names=["rescore"], to_nodes=["analyze.collect_answers", "analyze.summarise"])
    assert len(run_ids(elsewhere)) == 2
    for name in TABLES:
        pd.testing.assert_frame_equal(
            elsewhere.table(name), finished_once.table(name), check_exact=False, rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give one address: --to=ADDRESS to copy a run there, or --from=ADDRESS to copy one from there"),
        (("--to=memory://a", "--from=memory://b"), "give one address"),
        (("20260102-030405-aaaaaaaa", "--to=memory://a"), "no run `20260102-030405-aaaaaaaa` in "),
        (("--to=memory://a",), "there are no runs yet"),
        (("--from=memory://none",), "memory://none holds no copy of a run: there is no copy.json"),
        (("--to=s4://bucket/a",), "s4://bucket/a: no protocol `s4://`"),
        (("--to=memory://a", "--credentials=mine"), "--credentials: no block `mine` in conf/test/credentials.yml"),
        (("--from=s3://bucket/a", "--credentials=wrong"), "s3://bucket/a: "),
    ],
)
def test_what_cannot_be_copied_is_said_in_one_line(words, message, project):
    if "--credentials=wrong" in words:
        options = {"wrong": {"key": "somebody", "secret": SECRET, "endpoint": "https://x"}}
        (project.folder / "conf" / "test" / "credentials.yml").write_text(yaml.safe_dump(options))
    result = copy_run(project, *words)
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first.startswith("Error: ")
    assert message in first
    assert second.startswith("Traceback: logs/")
    assert not any(SECRET in text for text in (result.output, *(p.read_text() for p in project.folder.glob("logs/*"))))
