"""A run whose edits and answers are made by workers."""

import numpy as np
import pytest

from edit_robustness.datasets import AnswersDataset, EditsDataset

pytest.importorskip("ray")


def read_items(project, dataset, name):
    items = dataset(str(project.data / "07_model_output" / "tiny" / "rome" / name)).load()
    return {key: (item.fingerprint, item.read()) for key, item in items.items()}


def test_workers_make_the_edits_and_answers_of_one_process(project, finished_once):
    project.run(to_nodes=["tiny.rome.evaluate"], parameters={"workers": {"count": 2, "threads": 1}})
    edits, expected_edits = (read_items(each, EditsDataset, "edits") for each in (project, finished_once))
    assert list(edits) == list(expected_edits)
    for key, (name, edit) in edits.items():
        expected_name, expected_edit = expected_edits[key]
        assert name == expected_name
        for site, change in edit.dense().items():
            np.testing.assert_allclose(change, expected_edit.dense()[site], rtol=1e-3, atol=1e-5)
    answers, expected_answers = (read_items(each, AnswersDataset, "answers") for each in (project, finished_once))
    assert {key: [answer.text for answer in given] for key, (_, given) in answers.items()} == {
        key: [answer.text for answer in given] for key, (_, given) in expected_answers.items()
    }
