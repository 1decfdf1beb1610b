"""Runs whose items are made by workers."""

import logging
import re

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from test_sequential_run import NODES, PIPELINE, TABLES, run_of, smaller, table
from whole_run import copy_of_the_project

from edit_robustness.datasets import AnswersDataset, EditsDataset
from edit_robustness.runner import SideBySideRunner

pytest.importorskip("ray")


def read_items(project, dataset, name):
    items = dataset(str(project.data / "07_model_output" / "tiny" / "rome" / name)).load()
    return {key: (item.fingerprint, item.read()) for key, item in items.items()}


SECOND = """
second.language_model:
  type: edit_robustness.datasets.LanguageModelDataset
  name: second
  random: gpt2
"""


def test_workers_make_the_edits_and_answers_of_one_process_with_two_models_side_by_side(
    project, finished_once, no_model, caplog
):
    with (project.folder / "conf" / "test" / "catalog.yml").open("a") as file:
        file.write(SECOND)
    settings = yaml.safe_load((project.folder / "conf" / "test" / "parameters.yml").read_text())["methods"]
    methods = {"none": {"second": {}}, "rome": {"second": settings["rome"]["tiny"]}}
    grid = {"second": {"none": True, "rome": True}}
    with caplog.at_level(logging.INFO):
        project.run(
            to_nodes=["tiny.rome.evaluate", "second.rome.evaluate"],
            parameters={"workers": {"count": 2, "threads": 1}, "grid": grid, "methods": methods},
            runner=SideBySideRunner(),
        )
    lines = [record.getMessage() for record in caplog.records]
    starts = [line.split()[1] for line in lines if re.match(r"\[\d+/\d+\] (tiny|second)", line)]
    first_of_second = min(place for place, name in enumerate(starts) if name.startswith("second"))
    assert any(name.startswith("tiny") for name in starts[first_of_second:]), "neither waits for the other's end"
    edits, expected_edits = (read_items(run_project, EditsDataset, "edits") for run_project in (project, finished_once))
    assert list(edits) == list(expected_edits)
    for key, (name, edit) in edits.items():
        expected_name, expected_edit = expected_edits[key]
        assert name == expected_name
        for site, change in edit.dense().items():
            np.testing.assert_allclose(change, expected_edit.dense()[site], rtol=1e-3, atol=1e-5)
    answers, expected_answers = (
        read_items(run_project, AnswersDataset, "answers") for run_project in (project, finished_once)
    )
    assert {key: [answer.text for answer in fact_answers] for key, (_, fact_answers) in answers.items()} == {
        key: [answer.text for answer in fact_answers] for key, (_, fact_answers) in expected_answers.items()
    }


@pytest.fixture
def one_thread():
    """One thread in this process, as in the workers: their number changes last digits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_two_workers_give_the_tables_of_sequences_of_one_process(tmp_path, monkeypatch, one_thread):
    projects = []
    for count in (0, 2):
        projects.append(smaller(copy_of_the_project(tmp_path / f"workers{count}")))
        monkeypatch.chdir(projects[-1].folder)
        workers = {"workers": {"count": count, "threads": 1}}
        projects[-1].run(**PIPELINE, to_nodes=NODES, parameters=workers)
    for name in set(TABLES) - {"benchmarks"}:
        expected, made = (table(project, name) for project in projects)
        pd.testing.assert_frame_equal(made, expected, check_exact=True, obj=name)
    expected_run, made_run = map(run_of, projects)
    assert made_run["sequences"].keys() == expected_run["sequences"].keys()
    costs = made_run["sequences"]["tiny"]["rome"]["seconds_per_benchmark"]
    assert costs.keys() == {"1", "3"}
    assert min(seconds for benchmarks in costs.values() for seconds in benchmarks.values()) > 0
