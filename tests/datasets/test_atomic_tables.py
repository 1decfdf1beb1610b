"""Datasets of single files are written whole or not at all."""

import os

import pandas as pd
import plotly.graph_objects as go
import pytest
from kedro.io import DataCatalog, DatasetError, Version

from edit_robustness.datasets import CsvTable, Figure, JsonFile, ParquetTable, TextFile

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


def test_versions_arguments_and_previews_are_kedros(tmp_path):
    versioned = CsvTable(filepath=str(tmp_path / "a.csv"), save_args={"index": False}, version=Version(None, "v1"))
    versioned.save(TABLE)
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
