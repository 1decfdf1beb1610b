"""The whole graph on tiny random models, in one process."""

import pandas as pd
from fabricated_edits import TINY_SETTINGS
from kedro.framework.project import pipelines

from edit_robustness.datasets import LanguageModelDataset

METHODS = ["none", "context", "ft", "rome", "ike"]
TABLES = [
    "scores",
    "answers",
    "recall",
    "features",
    "headline",
    "correlations",
    "regression",
    "prediction",
    "edited_facts",
]
COLLECT = [f"analyze.collect_{name}" for name in ("scores", "answers", "features", "runs", "failed_items")]
"""The last nodes before the analysis."""

OTHER = """
other.language_model:
  type: edit_robustness.datasets.LanguageModelDataset
  name: other
  random: gpt2
  device: cpu
"""


def test_the_report_and_all_tables_are_there(finished_project):
    folder = finished_project.latest
    for name in TABLES:
        table = finished_project.table(name)
        assert len(table), name
        if name != "edited_facts":
            assert pd.read_csv(folder / f"{name}.csv").columns.tolist() == table.columns.tolist()
    page = (folder / "report.html").read_text()
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert "tiny" in page


def test_every_method_was_asked_every_kind(finished_project):
    answers = finished_project.table("answers")
    assert set(answers["method"]) == set(METHODS)
    assert set(answers["kind"]) == set(finished_project.context().params["probes"].kinds)
    probes_by_method = answers.groupby("method")["probe_id"].agg(lambda ids: tuple(sorted(ids)))
    assert probes_by_method.nunique() == 1
    assert set(answers["fact_id"]) == set(finished_project.table("edited_facts")["id"])
    assert len(finished_project.table("edited_facts")) == 5


def test_recall_is_measured_on_all_facts(finished_project):
    assert len(finished_project.table("recall")) == len(
        pd.read_csv(finished_project.folder / "data" / "01_raw" / "facts.csv")
    )


def test_two_models_are_loaded_once_each(project, monkeypatch):
    (project.folder / "conf" / "test" / "catalog_other.yml").write_text(OTHER)
    settings = project.context().params["methods"]["rome"]["tiny"].settings()
    names = []
    original = LanguageModelDataset._from_source

    def count_load(dataset):
        names.append(dataset._name)
        return original(dataset)

    monkeypatch.setattr(LanguageModelDataset, "_from_source", count_load)
    monkeypatch.setattr(LanguageModelDataset.slot, "model", None)
    cells = {"none": True, "rome": True, "ft": False, "ike": False, "context": False}
    project.run(
        parameters={
            "grid": {"tiny": cells, "other": cells},
            "methods": {"none": {"other": {}}, "rome": {"other": settings}},
            "sample": {"size": 2},
        },
        to_nodes=COLLECT,
    )
    assert sorted(names) == ["other", "tiny"]
    assert LanguageModelDataset.slot.model.name == names[-1]
    assert set(project.table("answers")["model"]) == {"tiny", "other"}


def test_every_other_method_goes_through_the_graph_and_its_artefacts_are_used_again(project):
    methods = [name for name in TINY_SETTINGS if name not in METHODS and name != "external"]
    grid = {"tiny": {**dict.fromkeys(METHODS, False), **dict.fromkeys(methods, True), "none": True}}
    parameters = {"grid": grid, "sample": {"size": 2}}
    project.run(parameters=parameters, to_nodes=COLLECT)
    answers = project.table("answers")
    assert set(answers["method"]) == {"none", *methods}
    assert answers.groupby("method")["probe_id"].nunique().nunique() == 1
    artefacts = project.data / "06_models" / "tiny_artefacts"
    assert {path.stem for path in artefacts.glob("*/*.safetensors")} >= {"mend", "serac", "memit", "pmet", "alphaedit"}
    assert not list(artefacts.glob("*/*unfinished*"))

    edit_times = {path: path.stat().st_mtime_ns for path in project.data.rglob("*.safetensors")}
    project.run(parameters=parameters, namespaces=["tiny.serac"])
    assert {path: path.stat().st_mtime_ns for path in project.data.rglob("*.safetensors")} == edit_times


def test_one_cell_from_nothing_then_the_cell_alone(project):
    project.run(to_nodes=["tiny.rome.evaluate"])
    output = project.data / "07_model_output" / "tiny"
    assert sorted(path.name for path in output.iterdir()) == ["rome"]
    answers = sorted((output / "rome" / "answers").glob("*.jsonl"))
    assert len(answers) == 5

    answers[0].unlink()
    project.run(namespaces=["tiny.rome"])
    assert answers[0].exists()


def test_a_cell_switched_off_on_the_command_line(project):
    project.context(grid={"tiny": {"ft": False}})
    names = {node.name for node in pipelines["__default__"].nodes}
    assert "tiny.ft.edit" not in names
    assert {"tiny.rome.edit", "tiny.rome.evaluate", "tiny.none.edit"} <= names
    assert {node.name.split(".")[-1] for node in pipelines["__default__"].only_nodes_with_tags("gpu").nodes} == {
        "check_model",
        "ask_objects",
        "recall",
        "recall_in_context",
        "rank_objects",
        "write_corpus",
        "take_moments",
        "prepare",
        "edit",
        "evaluate",
    }
