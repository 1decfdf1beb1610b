"""Facts of several data sets in one table: rows stay apart, and every error names its data set."""

import json

import pytest
from kedro.io import DatasetError

from edit_robustness.datasets import CombinedFactsDataset


def write(folder, name, subjects):
    path = folder / name
    rows = [
        {"subject": subject, "prompt": "{} is in", "target_new": "Rome", "target_true": "Oslo"} for subject in subjects
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"path": str(path), "format": "table"}


def test_rows_keep_their_data_set_and_have_numbers_of_their_own(tmp_path):
    sources = {"first": write(tmp_path, "a.jsonl", ["A", "B"]), "second": write(tmp_path, "b.jsonl", ["C", "D"])}
    table = CombinedFactsDataset(sources=sources).load()
    assert list(table["subject"]) == ["A", "B", "C", "D"]
    assert list(table["dataset"]) == ["first", "first", "second", "second"]
    assert list(table.index) == [1, 2, 3, 4]
    assert table.index.name == "row"


def test_the_limit_of_a_data_set_is_its_own(tmp_path):
    large = {**write(tmp_path, "a.jsonl", list("ABCDEFGH")), "limit": 3}
    table = CombinedFactsDataset(sources={"large": large, "small": write(tmp_path, "b.jsonl", "XY")}).load()
    assert list(table["dataset"]) == ["large"] * 3 + ["small"] * 2
    assert table.index.is_unique


def test_an_error_names_the_data_set(tmp_path):
    right = write(tmp_path, "a.jsonl", "A")
    with pytest.raises(DatasetError, match=r"sources\.lost: .*there is no such file"):
        CombinedFactsDataset(sources={"right": right, "lost": {"path": str(tmp_path / "none.csv")}}).load()
    with pytest.raises(DatasetError, match=r"sources\.wrong: format: there is no form of facts `x`"):
        CombinedFactsDataset(sources={"wrong": {**right, "format": "x"}})
    with pytest.raises(DatasetError, match=r"sources\.wrong: pth: there is no such setting"):
        CombinedFactsDataset(sources={"wrong": {"pth": "x"}})
    with pytest.raises(DatasetError, match="sources: name at least one data set"):
        CombinedFactsDataset(sources={})
