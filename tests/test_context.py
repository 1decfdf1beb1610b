import pytest

from edit_robustness.context import keeping_stale


def test_one_word_makes_every_folder_keep_files_of_another_version():
    catalog = {
        "a": {"type": "edit_robustness.datasets.EditsDataset", "path": "x"},
        "b": {"type": "pandas.CSVDataset", "filepath": "x"},
    }
    assert keeping_stale(catalog, False) == catalog
    assert [entry.get("keep_stale") for entry in keeping_stale(catalog, True).values()] == [True, None]
    with pytest.raises(ValueError, match="keep_stale: true or false, not 'no'"):
        keeping_stale(catalog, "no")
