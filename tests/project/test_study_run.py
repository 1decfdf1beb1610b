"""The pipelines `export_study` and `study`: what is kept of a run, and the same report from it without a model."""

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from conftest import Project

KEPT = {"study_path": "kept"}
TEXTS = ("prompt", "paraphrases", "text", "neighbours")


@pytest.fixture(scope="module")
def exported_project(whole_run, tmp_path_factory):
    project = Project(whole_run.folder).copy(tmp_path_factory.mktemp("study") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        project.run(pipeline_names=["export_study"], parameters=KEPT)
    return project


@pytest.fixture
def study_project(exported_project, tmp_path, monkeypatch):
    again = exported_project.copy(tmp_path / "again")
    monkeypatch.chdir(again.folder)
    return again


def test_a_study_gives_the_tables_of_its_run_without_a_model(study_project, no_model):
    before = {name: study_project.table(name) for name in ("headline", "fact_outcomes", "method_comparisons")}
    study_project.run(pipeline_names=["study"], parameters=KEPT)
    for name, table in before.items():
        assert_frame_equal(study_project.table(name), table, rtol=1e-6)
    page = (study_project.latest / "report.html").read_text(encoding="utf-8")
    assert "ROME" in page
    assert study_project.table("examples").empty


def test_no_text_is_kept(study_project):
    kept_tables = {path.stem: pd.read_parquet(path) for path in (study_project.folder / "kept").glob("*.parquet")}
    assert set(kept_tables) == {
        *("scores", "edited_facts", "recall", "features", "feature_summary", "failed_items", "rejects")
    }
    for table in kept_tables.values():
        assert not set(table.columns) & set(TEXTS)


def test_a_missing_table_is_named_with_the_way_out(study_project):
    (study_project.folder / "kept" / "recall.parquet").unlink()
    with pytest.raises(ValueError, match=r"lack recall: run .*export_study"):
        study_project.run(pipeline_names=["study"], parameters=KEPT)
