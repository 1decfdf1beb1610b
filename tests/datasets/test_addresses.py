"""Inputs and results at addresses that fsspec knows, among them an S3 server on this machine."""

import json
import logging
import sys
import traceback

import fsspec
import pandas as pd
import plotly.graph_objects
import pytest
from kedro.io import DataCatalog, DatasetError
from object_store import BUCKET, SECRET

from edit_robustness.addresses import AddressError, file_system, telling_address
from edit_robustness.datasets import (
    CorpusSourceDataset,
    CsvTable,
    FactsDataset,
    Figure,
    JsonFile,
    ParquetTable,
    PerplexityDataset,
    PredictorFile,
    ReportTable,
    TextFile,
    TextFolder,
)
from edit_robustness.errors import describe, is_expected
from edit_robustness.last_lines import place_of

FACTS = "subject,relation,prompt,target_new\nLyon,P17,Lyon is in,Peru\n"
MEASURED = "subject,relation,page_views,perplexity_true\nLyon,P17,10,2.0\nOslo,P17,20,3.0\n"


@pytest.fixture
def addresses(object_store):
    """Options that name the server without the environment, as `conf/local/credentials.yml` holds them."""
    return {"key": "somebody", "secret": SECRET, "endpoint_url": object_store.endpoint}


def put(address, text):
    system, path = file_system(address)
    system.pipe_file(path, text.encode())


def test_facts_corpora_and_tables_of_perplexities_are_read_from_a_bucket(object_store, tmp_path):
    cache = str(tmp_path / "copies")
    put(f"{BUCKET}/in/facts.csv", FACTS)
    put(f"{BUCKET}/in/corpus.txt", "An owl.\nA roof.")
    put(f"{BUCKET}/in/measured.csv", MEASURED)
    assert list(FactsDataset(f"{BUCKET}/in/facts.csv", cache=cache).load()["subject"]) == ["Lyon"]
    corpus = CorpusSourceDataset(f"{BUCKET}/in/corpus.txt", cache=cache)
    assert corpus.exists()
    assert corpus.load().texts == ("An owl.", "A roof.")
    assert len(PerplexityDataset(f"{BUCKET}/in/measured.csv", cache=cache).load()) == 2
    # each is copied once
    assert len(list((tmp_path / "copies").iterdir())) == 3
    put(f"{BUCKET}/in/corpus.txt", "Another text.")
    assert corpus.load().texts == ("An owl.", "A roof.")


def test_credentials_of_the_catalog_are_used_and_in_no_text(addresses, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG, logger="edit_robustness")
    put(f"{BUCKET}/facts.csv", FACTS)
    put(f"{BUCKET}/corpus.txt", "An owl.")
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    place = {"credentials": "store", "cache": str(tmp_path / "copies")}
    catalog = DataCatalog.from_config(
        {
            "facts": {"type": "edit_robustness.datasets.FactsDataset", "path": f"{BUCKET}/facts.csv", **place},
            "missing": {"type": "edit_robustness.datasets.FactsDataset", "path": f"{BUCKET}/no.csv", **place},
            "corpus": {"type": "edit_robustness.datasets.CorpusSourceDataset", "path": f"{BUCKET}/corpus.txt", **place},
            "table": {
                "type": "edit_robustness.datasets.ReportTable",
                "filepath": f"{BUCKET}/table.parquet",
                "credentials": "store",
            },
            "texts": {
                "type": "edit_robustness.datasets.TextFolder",
                "filepath": f"{BUCKET}/texts",
                "credentials": "store",
            },
        },
        {"store": addresses},
    )
    assert len(catalog.load("facts")) == 1
    assert catalog.load("corpus").texts == ("An owl.",)
    catalog.save("table", pd.DataFrame({"a": [1]}))
    catalog.save("texts", {"a": "one"})
    assert catalog.load("texts") == {"a": "one"}
    with pytest.raises(DatasetError, match=r"s3://bucket/no\.csv: it could not be copied") as error:
        catalog.load("missing")
    texts = [caplog.text, *traceback.format_exception(error.value), *(repr(catalog.get(name)) for name in catalog)]
    assert not any(SECRET in text for text in texts)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (ParquetTable, "t.parquet", pd.DataFrame({"a": [1, 2]})),
        (ReportTable, "t.parquet", pd.DataFrame({"a": [1, 2]})),
        (CsvTable, "t.csv", pd.DataFrame({"a": [1, 2]})),
        (JsonFile, "t.json", {"a": 1}),
        (TextFile, "page.html", "<p>"),
    ],
)
def test_results_are_written_to_a_bucket(kind, name, value, object_store):
    dataset = kind(filepath=f"{BUCKET}/out/{name}", **({"save_args": {"index": False}} if kind is CsvTable else {}))
    assert not dataset.exists()
    dataset.save(value)
    loaded = dataset.load()
    assert loaded.equals(value) if isinstance(value, pd.DataFrame) else loaded == value
    files = [path.rpartition("/")[2] for path in file_system(f"{BUCKET}/out")[0].find("bucket/out")]
    assert files == (["t.csv", "t.parquet"] if kind is ReportTable else [name])


def test_a_predictor_a_figure_and_texts_lie_in_a_bucket(object_store):
    put(f"{BUCKET}/predictor.json", json.dumps({"format": 1}))
    assert PredictorFile(filepath=f"{BUCKET}/predictor.json").load() == {"format": 1}
    with pytest.raises(DatasetError, match=r"there is no predictor at bucket/none\.json"):
        PredictorFile(filepath=f"{BUCKET}/none.json").load()
    Figure(filepath=f"{BUCKET}/figure.json").save(plotly.graph_objects.Figure())
    assert fsspec.filesystem("s3").exists("bucket/figure.json")
    texts = TextFolder(f"{BUCKET}/answers", ".js")
    texts.save({"a": "one", "b": "two"})
    texts.save({"b": "three"})
    assert texts.load() == {"b": "three"}


def test_a_package_that_is_not_installed_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(AddressError, match=r"s3://x/y: a package that reads s3:// is not installed: pip install s3fs"):
        file_system("s3://x/y")
    for dataset in (FactsDataset("s3://x/y.csv", cache=str(tmp_path)), CorpusSourceDataset("s3://x/y.txt")):
        with pytest.raises(DatasetError, match="pip install s3fs"):
            dataset.load()


def test_credentials_in_an_address_of_s3_are_refused_before_they_are_taken_for_its_bucket(tmp_path):
    with pytest.raises(AddressError, match=r"s3://\*\*\*@bucket/x: an address of S3 holds no credentials") as error:
        file_system(f"s3://somebody:{SECRET}@bucket/x")
    assert SECRET not in str(error.value)
    with pytest.raises(DatasetError, match="holds no credentials") as error:
        CorpusSourceDataset(f"s3://somebody:{SECRET}@bucket/corpus.txt", cache=str(tmp_path)).load()
    assert SECRET not in str(error.value)
    assert file_system("s3://bucket/x@y")[1] == "bucket/x@y"


def test_what_a_file_system_says_in_several_lines_is_one():
    with pytest.raises(AddressError, match=r"^s3://bucket: ValueError: bad name$"), telling_address("s3://bucket"):
        raise ValueError("bad\n  name")


def test_an_address_that_nobody_knows_or_where_nobody_answers(monkeypatch, tmp_path):
    with pytest.raises(AddressError, match=r"nowhere://\*\*\*@x: no protocol `nowhere://`"):
        file_system("nowhere://me:s3cret@x")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with pytest.raises(DatasetError, match=r"s3://bucket/corpus\.txt: it could not be copied .*connect") as error:
        CorpusSourceDataset(f"{BUCKET}/corpus.txt", cache=str(tmp_path)).load()
    assert SECRET not in str(error.value)


def test_a_store_that_cannot_be_reached_or_lacks_its_package_is_no_defect(monkeypatch):
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    entry = {"type": "edit_robustness.datasets.ReportTable", "filepath": f"{BUCKET}/table.parquet"}
    with pytest.raises(DatasetError) as error:
        DataCatalog.from_config({"table": entry}).save("table", pd.DataFrame({"a": [1]}))
    assert is_expected(error.value)
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:9/' in describe(error.value)

    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(DatasetError) as error:
        DataCatalog.from_config({"table": entry}).load("table")
    assert is_expected(error.value)
    assert "Install s3fs to access S3" in describe(error.value)


def test_the_last_line_of_a_run_names_the_address_of_its_page(tmp_path):
    assert place_of(TextFile(filepath=f"{BUCKET}/pages/report.html")) == f"{BUCKET}/pages/report.html"
    assert place_of(TextFile(filepath=str(tmp_path / "report.html"))) == str(tmp_path / "report.html")
