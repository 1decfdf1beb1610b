"""Runs whose items are made by workers."""

import numpy as np
import pandas as pd
import pytest
import torch
from test_sequential_run import NODES, PIPELINE, TABLES, run_of, smaller, table
from whole_run import copy_of_the_project

from edit_robustness.datasets import AnswersDataset, EditsDataset

pytest.importorskip("ray")


def read_items(project, dataset, name):
    items = dataset(str(project.data / "07_model_output" / "tiny" / "rome" / name)).load()
    return {key: (item.fingerprint, item.read()) for key, item in items.items()}


def test_workers_make_the_edits_and_answers_of_one_process(project, finished_once):
    project.run(to_nodes=["tiny.rome.evaluate"], parameters={"workers": {"count": 2, "threads": 1}})
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
