"""`kedro run --pipeline=conversation` on the edits of a run, with one tester and then another."""

import pandas as pd
import pytest
from kedro.framework.project import pipelines

from conftest import Starting
from edit_robustness.datasets import LanguageModelDataset, SpeakerDataset, TranscriptsDataset
from edit_robustness.metrics.conversation import LABELS
from edit_robustness.provenance import OtherRun

GRID = {"tiny": {"none": True, "rome": True, "ft": False, "ike": False, "context": False}}
SPEAKERS = """
tester:
  type: edit_robustness.datasets.SpeakerDataset
  kind: local
  model: tiny
  max_new_tokens: 4
judge:
  type: edit_robustness.datasets.SpeakerDataset
  kind: scripted
  name: wise
  script: [['{"holds": true, "reverts": false, "denies_both": false, "contradicts": false, "invents": false}']]
"""
ENDPOINT = """
judge:
  type: edit_robustness.datasets.SpeakerDataset
  kind: endpoint
  url: https://wise.example/v1
  model: wise-1
  cache: data/speakers
  credentials: mine
"""


def transcripts(project, method):
    return TranscriptsDataset(str(project.data / "07_model_output/tiny" / method / "transcripts")).load()


def test_on_the_edits_of_the_main_job_and_again_with_other_speakers(run_before, capsys, monkeypatch):
    edit_times = {path: path.stat().st_mtime_ns for path in run_before.data.rglob("*.safetensors")}
    run_before.run(pipeline_names=["conversation"], parameters={"grid": GRID})
    page = run_before.latest / "conversations.html"
    assert capsys.readouterr().out.strip().splitlines()[-1] == f"Report: {page.resolve()}"
    assert page.read_text().count('class="case"') == 10
    verdicts = run_before.table("conversation_verdicts")
    assert sorted(verdicts["method"].unique()) == ["none", "rome"]
    assert (verdicts["rounds"] == 2).all()
    assert set(verdicts["tester"]) == {"script"}
    folder = run_before.latest
    assert set(pd.read_csv(folder / "conversation_rates.csv")["label"]) == set(LABELS)
    assert len(pd.read_csv(folder / "conversation_turns.csv", keep_default_na=False)) == 10 * 4
    assert run_before.table("conversation_agreement").empty

    start = Starting(run_before, grid=GRID)
    for node in pipelines["conversation"].nodes:
        start("conversation", from_nodes=[node.name])

    (run_before.folder / "conf" / "test" / "catalog_speakers.yml").write_text(SPEAKERS)
    start = Starting(run_before, grid=GRID)
    with pytest.raises(OtherRun, match=r'`tiny.none_transcripts`.*tester\.kind \(then "scripted", now "local"\)'):
        start("conversation", from_nodes=["tiny.rule"])
    loads = []
    original = LanguageModelDataset._from_source
    monkeypatch.setattr(LanguageModelDataset, "_from_source", lambda self: loads.append(self._name) or original(self))
    run_before.run(pipeline_names=["conversation"], parameters={"grid": GRID})
    assert len(loads) <= 1, "the tester is the edited model, and is loaded once"
    assert {path: path.stat().st_mtime_ns for path in run_before.data.rglob("*.safetensors")} == edit_times
    assert {item.read().tester for item in transcripts(run_before, "rome").values()} == {"tiny"}
    agreement = run_before.table("conversation_agreement")
    assert set(agreement["judge"]) == {"wise"}
    assert (agreement["n"] == 10).all()
    assert "Agreement with a judge" in page.read_text()


def test_it_starts_from_the_main_jobs_sources_and_an_endpoint_gets_its_key(project):
    conf = project.folder / "conf" / "test"
    (conf / "catalog_speakers.yml").write_text(ENDPOINT)
    (conf / "credentials.yml").write_text("mine: {key: sk-secret}")
    judge = project.context().catalog.get("judge")
    assert judge.load()._secret == {"Authorization": "Bearer sk-secret"}
    assert "sk-secret" not in repr(judge)
    free = {name for name in pipelines["conversation"].inputs() if not name.startswith("params:")}
    sources = {"raw_facts", "raw_training_facts", "raw_relations", "corpus_source"}
    assert free == sources | {"tiny.language_model", "tester", "judge"}


def test_a_tester_by_a_model_that_is_not_there(project, no_model):
    (project.folder / "conf" / "test" / "catalog_speakers.yml").write_text(SPEAKERS.replace("tiny", "tony"))
    with pytest.raises(
        ValueError,
        match="speaker `tester` uses model `tony`, which is not in the catalog; available models: smollm2, tiny",
    ):
        project.run(pipeline_names=["conversation"])


def test_the_preset_of_paper_1(project):
    context = project.context("paper1_conversation")
    assert (context.params["sample"].size, context.params["conversation"].rounds) == (50, 5)
    names = {node.name for node in pipelines["conversation"].nodes}
    assert {"smollm2.memit.talk", "smollm2.none.talk"} <= names
    assert not any(name.startswith(("smollm2.rome", "smollm2.ike", "smollm2.ft")) for name in names)
    catalog = context.catalog
    for name in ("smollm2.memit_transcripts", "smollm2_verdicts", "conversation_rates", "tester"):
        assert catalog.get(name) is not None, name
    assert isinstance(catalog.get("writer"), SpeakerDataset)
    assert "data/paper1_conversation/" in str(catalog.get("conversations")._filepath)
