"""The notebooks run from beginning to end on the results of a small run, and are kept without their outputs."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from edit_robustness.labels import METRICS

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def read_output(notebook: nbformat.NotebookNode) -> str:
    """What the cells wrote to their standard output."""
    return "".join(out.text for cell in code_cells(notebook) for out in cell.outputs if out.get("name") == "stdout")


@pytest.fixture
def project(whole_run, tmp_path) -> Path:
    """A copy of the project after `kedro run --env=test`, with the notebooks."""
    copy = shutil.copytree(whole_run.folder, tmp_path / "project", symlinks=True)
    shutil.copytree(ROOT / "notebooks", copy / "notebooks")
    return copy


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_kept_without_outputs(path: Path):
    cells = code_cells(nbformat.read(path, as_version=4))
    assert not [cell.id for cell in cells if cell.outputs or cell.execution_count]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_selects_by_metrics_that_exist(path: Path):
    code = "\n".join(cell.source for cell in code_cells(nbformat.read(path, as_version=4)))
    assert set(re.findall(r'\["metric"\] [!=]= "(\w+)"', code)) <= set(METRICS)


def test_an_edit_can_be_looked_at(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KEDRO_ENV", "test")
    folder = project / "notebooks"
    notebook = nbformat.read(folder / "look_at_an_edit.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    output = read_output(notebook)
    assert "LowRank" in output
    assert "the same as before, once the edit is off: True" in output
    tables = [out.data.get("text/html", "") for cell in code_cells(notebook) for out in cell.outputs if "data" in out]
    assert any("doubt_old_object" in table for table in tables)
    assert any("<td>1.mlp_out</td>" in table and "<td>(32, 48)</td>" in table for table in tables)
