"""Scores again from stored answers: in seconds, with no model; and the verdicts of a judge, which are kept as well."""

import json
import shutil
import time
from functools import partial

import pandas as pd
import pytest
from test_runs import files_of, record_of, runs_of

from conftest import Project, refuse_models
from edit_robustness.datasets import SpeakerDataset
from edit_robustness.metrics.measures import METRICS, Metric
from edit_robustness.metrics.scores import score_answers
from edit_robustness.storage import file_checksum

TABLES = ("scores", "headline", "overview", "gaps", "correlations")


@pytest.fixture(scope="module")
def rescored_project(whole_run, tmp_path_factory):
    """A project that was run whole, then rescored without its scores, and with files of that run that are no tables."""
    project = Project(whole_run.folder).copy(tmp_path_factory.mktemp("rescored") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        refuse_models(patch)
        (project.data / "07_model_output/tiny/scores.parquet").unlink()
        for path in project.latest.glob("[!.]*"):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "run.json":
                path.write_bytes(b"of the first run")
        project.first = project.latest.resolve().name
        project.before = files_of(project, project.first)
        start = time.perf_counter()
        project.run(pipeline_names=["rescore"])
        project.seconds = time.perf_counter() - start
    return project


def test_rescoring_gives_the_same_tables_and_loads_no_model(rescored_project, finished_once):
    assert rescored_project.seconds < 60
    for name in TABLES:
        pd.testing.assert_frame_equal(rescored_project.table(name), finished_once.table(name))
    assert (rescored_project.latest / "report.html").exists()


def test_rescore_names_the_run_whose_answers_it_scored(rescored_project, monkeypatch, no_model):
    monkeypatch.chdir(rescored_project.folder)
    first, record = rescored_project.first, record_of(rescored_project)
    assert record["id"] != first
    assert (record["pipeline"], record["source_runs"]) == ("rescore", [first])
    assert files_of(rescored_project, first) == rescored_project.before
    page = (rescored_project.latest / "report.html").read_text()
    assert f"<dt>Results of earlier runs</dt><dd>{first}</dd>" in page
    rescored_project.run(pipeline_names=["rescore"], to_nodes=["tiny.score"])
    assert runs_of(rescored_project) == sorted([first, record["id"]])


def test_a_metric_of_ones_own_is_in_every_table_after_rescoring(run_before, no_model, monkeypatch):
    brief = Metric("brief", "free", ("edit",), lambda answers: (answers["tokens"] < 5).astype(float))
    words = Metric("words", "free", ("edit",), lambda answers: answers["text"].str.split().str.len(), unit="words")
    score_more = partial(score_answers, metrics=(*METRICS, brief, words))
    monkeypatch.setattr("edit_robustness.pipelines.evaluate.nodes.score_answers", score_more)
    answers = run_before.table("answers").query("method == 'rome' and family == 'edit'")
    run_before.run(pipeline_names=["rescore"], to_nodes=["analyze.summarise"])
    headline = run_before.table("headline")
    assert set(headline.loc[headline["metric"] == "words", "kind"]) == set(headline.query("family == 'edit'")["kind"])
    overview = run_before.table("overview").set_index(["method", "metric"])["value"]
    assert overview["rome", "brief"] == pytest.approx((answers["tokens"] < 5).mean())
    assert overview["rome", "words"] == pytest.approx(answers["text"].str.split().str.len().mean())


def test_answers_of_another_form_are_refused(run_before, no_model):
    path = run_before.data / "07_model_output/tiny/answers.parquet"
    answers = pd.read_parquet(path)
    write_as_a_run(run_before, path, answers.assign(schema_version=99))
    with pytest.raises(ValueError, match="schema_version 99, and this release reads 3: run edit_eval again"):
        run_before.run(pipeline_names=["rescore"])
    write_as_a_run(run_before, path, answers.drop(columns="kl"))
    with pytest.raises(ValueError, match="answers lacks kl"):
        run_before.run(pipeline_names=["rescore"])


def write_as_a_run(project, path, answers):
    """Write the answers with the record of the run before, but for the checksum."""
    answers.to_parquet(path)
    record = project.data / ".provenance" / "tiny_answers.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "checksum": file_checksum(path)}))


JUDGE = """
judge:
  type: edit_robustness.datasets.SpeakerDataset
  kind: scripted
  name: fake
  script: [["A"], ["a sentence"]]
"""


class Judge:
    """Reads half of the answers as the first object, and says nothing that can be read of the others."""

    name, fingerprint = "fake", "0"

    def __init__(self):
        self.asked = 0

    def replies(self, conversations):
        self.asked += len(conversations)
        return [("A", "I cannot say")[number % 2] for number in range(len(conversations))]


def test_a_judge_is_asked_once_and_is_one_more_protocol(run_before, monkeypatch, no_model):
    (run_before.folder / "conf/test/catalog_judge.yml").write_text(JUDGE)
    judge = Judge()
    monkeypatch.setattr(SpeakerDataset, "load", lambda dataset: judge)
    options = {"parameters": {"judge_answers": True}}
    run_before.run(**options, to_nodes=["tiny.read_judgements"], from_nodes=["tiny.judge"])
    answers = run_before.table("answers")
    assert judge.asked == (answers["family"] == "edit").sum()

    n_requests = judge.asked
    run_before.run(**options, pipeline_names=["rescore"], to_nodes=["tiny.score"])
    run_before.run(**options, from_nodes=["tiny.judge"], to_nodes=["tiny.judge"])
    assert judge.asked == n_requests
    scores = pd.read_parquet(run_before.data / "07_model_output/tiny/scores.parquet")
    scores = scores.query("protocol == 'judge' and metric == 'success'")
    assert len(scores) == n_requests
    assert 0.4 < scores["value"].isna().mean() < 0.6


def test_a_judge_that_there_is_not_is_found_before_the_run(project):
    with pytest.raises(ValueError, match="judge_answers: true, but nobody judges"):
        project.context(judge_answers=True)
    with pytest.raises(ValueError, match="judge_answers: true or false, not 'rarely'"):
        (project.folder / "conf/test/catalog_judge.yml").write_text(JUDGE)
        project.context(judge_answers="rarely")
