import pandas as pd
import pytest
from kedro.io import DatasetError

from edit_robustness.datasets import CorpusSourceDataset
from edit_robustness.datasets.corpus import CorpusSource

TEXTS = ["An owl sat on a roof.", 'Zürich, 北京 and "القاهرة"', "A third, with, commas"]


def write(path, texts):
    table = pd.DataFrame({"text": texts, "other": range(len(texts))})
    {
        ".txt": lambda: path.write_text("\n".join(texts), encoding="utf-8"),
        ".jsonl": lambda: table.to_json(path, orient="records", lines=True, force_ascii=False),
        ".csv": lambda: table.to_csv(path, index=False),
        ".parquet": lambda: table.to_parquet(path),
    }[path.suffix]()
    return str(path)


every_format = pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv", ".parquet"])


@every_format
def test_texts_are_read_from_every_format(suffix, tmp_path):
    path = write(tmp_path / f"corpus{suffix}", TEXTS)
    assert CorpusSourceDataset(path).load() == CorpusSource(texts=tuple(TEXTS))


@every_format
def test_blank_texts_are_left_out_and_the_limit_holds(suffix, tmp_path):
    path = write(tmp_path / f"corpus{suffix}", [TEXTS[0], "  ", TEXTS[1], TEXTS[2]])
    assert CorpusSourceDataset(path, limit=3).load().texts == (TEXTS[0], TEXTS[1])


def test_missing_values_are_no_texts(tmp_path):
    path = write(tmp_path / "corpus.parquet", [TEXTS[0], None])
    assert CorpusSourceDataset(path).load().texts == (TEXTS[0],)


def test_a_list_is_no_text(tmp_path):
    pd.DataFrame({"text": [None, ["a"], [TEXTS[0], TEXTS[1]]]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(DatasetError, match=r"c.parquet holds a ndarray and not a text in `text` of entry 2 \(2 such"):
        CorpusSourceDataset(str(tmp_path / "c.parquet")).load()


def test_another_column_may_be_named(tmp_path):
    pd.DataFrame({"body": TEXTS}).to_csv(tmp_path / "c.csv", index=False)
    assert CorpusSourceDataset(str(tmp_path / "c.csv"), column="body").load().texts == tuple(TEXTS)
    with pytest.raises(DatasetError, match=r"c.csv has no column `text`; it has body"):
        CorpusSourceDataset(str(tmp_path / "c.csv")).load()


@every_format
def test_a_file_without_text_is_an_error(suffix, tmp_path):
    path = write(tmp_path / f"corpus{suffix}", [" "])
    with pytest.raises(DatasetError, match=f"corpus{suffix} has no text"):
        CorpusSourceDataset(path).load()


def test_a_missing_file_is_named_with_the_way_out(tmp_path):
    dataset = CorpusSourceDataset(str(tmp_path / "none.txt"))
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"none.txt is not there; change `path` of corpus_source, or leave it out"):
        dataset.load()


def test_another_format_is_an_error_that_lists_those_there_are(tmp_path):
    (tmp_path / "corpus.docx").write_text("x")
    with pytest.raises(DatasetError, match=r"is none of .txt, .jsonl, .parquet, .csv"):
        CorpusSourceDataset(str(tmp_path / "corpus.docx")).load()


def test_without_a_file_the_model_shall_write():
    dataset = CorpusSourceDataset(number=3, tokens=5, seed=9)
    assert dataset.exists()
    assert dataset.load() == CorpusSource(number=3, tokens=5, seed=9)


def test_a_source_is_read_only():
    with pytest.raises(DatasetError, match="read only"):
        CorpusSourceDataset().save("text")
