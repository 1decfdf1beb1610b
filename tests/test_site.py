"""The documentation's site: what its hooks add to the pages."""

import importlib.util
import json
from pathlib import Path

import pytest

HOOKS = Path(__file__).parents[1] / "docs" / "site_hooks.py"


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("site_hooks", HOOKS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_run(folder, name, pipeline, *, has_report=True):
    (folder / name).mkdir()
    (folder / name / "run.json").write_text(json.dumps({"pipeline": pipeline}))
    if has_report:
        (folder / name / "report.html").write_text("<html></html>")
    return folder / name / "report.html"


def test_the_example_is_the_last_report_of_the_study(hooks, tmp_path):
    assert hooks.find_example(tmp_path / "absent") is None
    write_run(tmp_path, "20260101-000000-a", "study")
    last = write_run(tmp_path, "20260102-000000-a", "study")
    write_run(tmp_path, "20260103-000000-a", "edit_eval")
    write_run(tmp_path, "20260104-000000-a", "study", has_report=False)
    (tmp_path / "latest").symlink_to(tmp_path / "20260103-000000-a")
    assert hooks.find_example(tmp_path) == last
