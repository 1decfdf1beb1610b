"""Datasets of single files are written whole or not at all."""

import os

import pandas as pd
import plotly.graph_objects as go
import pytest
from kedro.io import DataCatalog, DatasetError, Version

from edit_robustness.datasets import CsvTable, Figure, JsonFile, LongReportTable, ParquetTable, ReportTable, TextFile

TABLE = pd.DataFrame({"name": ["Île", "b"], "value": [1.5, 2.0]})
KINDS = [
    (ParquetTable, TABLE, TABLE.head(1)),
    (CsvTable, TABLE, TABLE.head(1)),
    (JsonFile, {"a": [1]}, {"a": []}),
    (TextFile, "long text", "text"),
    (Figure, go.Figure(go.Scatter(x=[1, 2], y=[3, 4])), go.Figure()),
]


@pytest.mark.parametrize(("kind", "old", "new"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_save_that_is_cut_off_leaves_the_old_file(kind, old, new, tmp_path, monkeypatch):
    path = tmp_path / "not there yet" / "file"
    dataset = kind(filepath=str(path))
    dataset.save(old)
    content = path.read_bytes()

    def full(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DatasetError, match="disk full"):
            dataset.save(new)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == ["file"]
    dataset.save(new)
    assert path.read_bytes() != content
    assert str(dataset.load()) == str(new)


def test_a_report_table_lies_in_two_files_of_one_content(tmp_path):
    table = TABLE.assign(name=["=1+1", "b\r\n"])
    dataset = ReportTable(filepath=str(tmp_path / "new" / "scores.parquet"))
    dataset.save(table)
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["scores.csv", "scores.parquet"]
    pd.testing.assert_frame_equal(dataset.load(), table)
    beside = tmp_path / "beside.csv"
    CsvTable(filepath=str(beside), save_args={"index": False}).save(table)
    assert (tmp_path / "new" / "scores.csv").read_bytes() == beside.read_bytes()


def test_a_long_table_has_no_csv_and_leaves_none_of_an_earlier_run(tmp_path, monkeypatch):
    dataset = LongReportTable(filepath=str(tmp_path / "outcomes.parquet"))
    dataset.save(TABLE)
    assert len(pd.read_csv(tmp_path / "outcomes.csv")) == len(TABLE)
    monkeypatch.setattr(LongReportTable, "MOST_ROWS", len(TABLE) - 1)
    remote = LongReportTable(filepath="memory://store/outcomes.parquet")
    for table in (dataset, remote):
        table.save(TABLE)
        pd.testing.assert_frame_equal(table.load(), TABLE)
    assert [file.name for file in tmp_path.iterdir()] == ["outcomes.parquet"]


@pytest.mark.parametrize("number", [0, 1], ids=["Parquet", "CSV"])
def test_of_a_report_table_neither_file_is_replaced_if_one_cannot_be_written(number, tmp_path, monkeypatch):
    dataset = ReportTable(filepath=str(tmp_path / "scores.parquet"))
    dataset.save(TABLE)
    content = {file: file.read_bytes() for file in tmp_path.iterdir()}

    def full(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(*[(pd.DataFrame, "to_parquet"), (pd.DataFrame, "to_csv")][number], full)
        with pytest.raises(DatasetError, match="disk full"):
            dataset.save(TABLE.head(1))
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == content


def test_a_report_table_on_an_object_store_and_with_versions(tmp_path):
    dataset = ReportTable(filepath="memory://store/scores.parquet")
    dataset.save(TABLE)
    pd.testing.assert_frame_equal(dataset.load(), TABLE)
    assert len(CsvTable(filepath="memory://store/scores.csv").load()) == 2
    versioned_table = ReportTable(filepath=str(tmp_path / "a.parquet"), version=Version(None, "v1"))
    versioned_table.save(TABLE)
    assert sorted(file.name for file in (tmp_path / "a.parquet" / "v1").iterdir()) == ["a.csv", "a.parquet"]


def test_versions_arguments_and_previews_are_kedros(tmp_path):
    versioned_table = CsvTable(
        filepath=str(tmp_path / "a.csv"), save_args={"index": False}, version=Version(None, "v1")
    )
    versioned_table.save(TABLE)
    assert (tmp_path / "a.csv" / "v1" / "a.csv").read_text().splitlines()[0] == "name,value"
    parquet = ParquetTable(filepath=str(tmp_path / "b.parquet"), metadata={"kedro-viz": {"layer": "raw"}})
    parquet.save(TABLE)
    assert parquet.preview(nrows=1)["data"] == [["Île", 1.5]]


def test_an_object_store_gets_kedros_own_write():
    entry = {
        "type": "edit_robustness.datasets.CsvTable",
        "filepath": "memory://store/a.csv",
        "save_args": {"index": False},
    }
    catalog = DataCatalog.from_config({"table": entry})
    catalog.save("table", TABLE)
    pd.testing.assert_frame_equal(catalog.load("table"), TABLE)
