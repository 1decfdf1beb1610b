import csv

import pandas as pd
import pytest

from edit_robustness.datasets import CsvTable
from edit_robustness.datasets.spreadsheet import escape, unescape

RUN = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", '"=1', "'=1", "''-x", "\n@x", "\uff1d1", "- a list"]
HARMLESS = ["Oslo", "", "'s-Hertogenbosch", "a=b", "'quoted'", "1-2", "\u00e9"]


@pytest.mark.parametrize("dtype", ["str", object])
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe_and_loses_it_again(dtype):
    table = pd.DataFrame({"text": pd.Series(RUN + HARMLESS, dtype=dtype)})
    safe = escape(table)
    assert safe["text"].tolist() == ["'" + text for text in RUN] + HARMLESS
    pd.testing.assert_frame_equal(unescape(safe), table)
    pd.testing.assert_frame_equal(unescape(unescape(escape(safe))), table)


def test_numbers_and_missing_cells_stay():
    mixed_table = pd.DataFrame({"real": [-1.5, None], "mixed": [-2, "-2"], "whole": pd.array([-1, None], "Int64")})
    assert escape(mixed_table)["mixed"].tolist() == [-2, "'-2"]
    pd.testing.assert_frame_equal(escape(mixed_table)[["real", "whole"]], mixed_table[["real", "whole"]])
    missing_table = pd.DataFrame({"text": pd.Series([None, "=1"], dtype="str")})
    assert escape(missing_table)["text"].isna().tolist() == [True, False]


def test_categories_are_texts_too():
    table = pd.DataFrame({"kind": pd.Categorical(["=1", "b"])})
    assert escape(table)["kind"].tolist() == ["'=1", "b"]


def test_a_stored_table_is_safe_and_reads_as_it_was(tmp_path):
    table = pd.DataFrame({"text": RUN + HARMLESS})
    path = tmp_path / "t.csv"
    text = {"dtype": str, "keep_default_na": False}
    dataset = CsvTable(filepath=str(path), save_args={"index": False}, load_args=text)
    dataset.save(table)
    with path.open(encoding="utf-8", newline="") as file:
        cells = [row[0] for row in csv.reader(file)][1:]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
    assert dataset.load()["text"].tolist() == table["text"].tolist()
