"""CONTRIBUTING.md does what it says: its examples, added as it tells, run and stand in the report."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from contributing_recipes import count_files, read_promise, recipes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FACTS = 12
PARAMETERS = (
    "facts=riddles,sample.size=2",
    *(f"grid.tiny.{method}=false" for method in ("none", "context", "ft", "rome", "ike")),
)


@pytest.fixture(scope="module")
def example_report(tmp_path_factory) -> Path:
    """A copy of the project with every example of the page, run once on two facts."""
    project = tmp_path_factory.mktemp("extended") / "project"
    for name in ("src", "conf", "data/01_raw"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", project)
    for steps in recipes(PAGE).values():
        for step in steps:
            step.apply(project)
    write_riddles(project / "data/01_raw")
    command = [sys.executable, "-m", "kedro", "run", "--env=test", f"--params={','.join(PARAMETERS)}"]
    environment = {**os.environ, "PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=280)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return project / "data/test/08_reporting/latest"


def write_riddles(folder: Path) -> None:
    facts = pd.read_csv(folder / "facts.csv", dtype=str, keep_default_na=False).head(FACTS)
    columns = {"subject": "who", "relation": "asks", "target_true": "answer", "target_new": "instead"}
    riddles = facts[list(columns)].rename(columns=columns).to_dict("records")
    for riddle in riddles:
        riddle["stars"] = len(riddle["answer"]) % 5 + 0.5
    (folder / "riddles.json").write_text(json.dumps(riddles), encoding="utf-8")


def test_each_recipe_touches_as_many_files_as_the_page_says():
    assert read_promise(PAGE) == {topic: count_files(steps) for topic, steps in recipes(PAGE).items()}


def test_the_report_shows_every_example(example_report):
    page = (example_report / "report.html").read_text(encoding="utf-8")
    # labels, which differ from the names
    for text in (">Echo<", ">Quiz<", ">Words<", "Length of the subject (letters)", ">Stars<", "A tiny random Phi."):
        assert text in page
    scores = pd.read_parquet(example_report / "scores.parquet")
    assert set(scores["method"]) == {"none", "echo"}
    assert scores.loc[scores["metric"] == "words", "value"].notna().any()
    assert "Quiz" in (example_report / "robustness.json").read_text(encoding="utf-8")


def test_a_feature_by_a_function_and_one_by_a_column_reach_all_tables(example_report):
    summary = pd.read_parquet(example_report / "feature_summary.parquet").set_index("feature")
    outcomes = pd.read_parquet(example_report / "outcomes.parquet")
    features = pd.read_parquet(example_report / "features.parquet").set_index("fact_id")
    assert summary.loc["stars", "source"] == "column of the table of facts"
    assert summary.loc[["letters", "stars"], "share_missing"].tolist() == [0, 0]
    assert len(features) == FACTS
    for name in ("letters", "stars"):
        assert outcomes[name].tolist() == features.loc[outcomes["fact_id"], name].tolist()
    assert features["letters"].tolist() == features["subject"].str.len().tolist()
