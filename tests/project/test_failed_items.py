"""An edit that fails is a gap: the other cells' report is whole, the exit status is 1, a rerun makes what failed."""

import pytest
from whole_run import copy_of_the_project

from conftest import Project
from edit_robustness.editing.methods.ft import FineTuning
from edit_robustness.errors import RunIncomplete

FEW = {"grid": {"tiny": {"ike": False}}, "sample": {"size": 3}}


def with_rate(rate):
    return {**FEW, "methods": {"ft": {"tiny": {"lr": rate}}}}


@pytest.fixture(scope="module")
def failed_project(tmp_path_factory):
    """A project whose fine-tuning gives no finite number."""
    with pytest.MonkeyPatch.context() as patch:
        project = Project(copy_of_the_project(tmp_path_factory.mktemp("failed") / "project"))
        patch.chdir(project.folder)
        with pytest.raises(RunIncomplete) as error:
            project.run(parameters=with_rate(1e38))
        project.message = str(error.value)
    return project


def test_the_other_cells_are_whole_and_the_failed_one_is_a_gap(failed_project):
    failures = failed_project.table("failed_items")
    assert set(failures["method"]) == {"ft"}
    assert set(failures["stage"]) == {"edit"}
    assert set(failures["reason"]) == {"the edit's numbers are not finite"}
    assert len(failures) == 3
    headline = failed_project.table("headline")
    assert headline.groupby("method")["n_failed"].max().to_dict() == {"context": 0, "ft": 3, "none": 0, "rome": 0}
    assert headline.loc[headline["method"] == "ft", "value"].isna().all()
    assert set(failed_project.table("scores")["method"]) == {"none", "context", "rome"}


def test_the_page_shows_the_gap(failed_project):
    page = (failed_project.latest / "report.html").read_text()
    assert "3 of 3 facts failed" in page
    assert 'id="failed"' in page
    assert "the edit&#39;s numbers are not finite" in page


def test_the_last_words_say_what_failed_and_where_it_stands(failed_project):
    assert failed_project.message.startswith("3 items failed (tiny.ft_edits 3); the first: tiny.ft_edits")
    assert "failed_items.parquet" in failed_project.message
    assert "Run the same command again" in failed_project.message


def test_a_rerun_makes_only_what_failed(failed_project, tmp_path, monkeypatch):
    again = failed_project.copy(tmp_path / "again")
    monkeypatch.chdir(again.folder)
    before = files(again)
    again.run(
        parameters=with_rate(1e-2), to_nodes=["tiny.score", "analyze.collect_scores", "analyze.collect_failed_items"]
    )
    assert again.table("failed_items").empty
    assert set(again.table("scores")["method"]) == {"none", "context", "ft", "rome"}
    changed_files = {name for name, when in files(again).items() if before.get(name) != when}
    assert {name.split("/")[1] for name in changed_files} == {"ft"}


def test_a_run_can_stop_at_the_first_failure(failed_project, tmp_path, monkeypatch):
    again = failed_project.copy(tmp_path / "again")
    monkeypatch.chdir(again.folder)
    calls = []
    original = FineTuning.increment
    monkeypatch.setattr(FineTuning, "increment", lambda *a, **o: calls.append(1) or original(*a, **o))
    with pytest.raises(Exception, match="not finite"):
        again.run(parameters={**with_rate(1e38), "stop_at_failure": True}, to_nodes=["tiny.ft.edit"])
    assert len(calls) == 1


def files(project):
    output = project.data / "07_model_output"
    paths = (path for path in output.glob("tiny/*/*/*") if path.name != "manifest.json")
    return {str(path.relative_to(output)): path.stat().st_mtime_ns for path in paths}
