"""Tests of datasets.text_folder."""

import pytest

from edit_robustness.datasets import TextFolder


def test_texts_are_saved_and_loaded_and_old_ones_are_removed(tmp_path):
    folder = TextFolder(str(tmp_path / "answers"), ".js")
    assert not folder.exists()
    folder.save({"a.b": "one\n", "c": "é"})
    (tmp_path / "answers" / "notes.txt").write_text("not ours")
    assert folder.load() == {"a.b": "one\n", "c": "é"}
    folder.save({"c": "two"})
    assert folder.load() == {"c": "two"}
    assert folder.exists()
    assert sorted(path.name for path in (tmp_path / "answers").iterdir()) == ["c.js", "notes.txt"]


def test_texts_on_an_object_store(tmp_path):
    folder = TextFolder("memory://reports/answers", ".js")
    folder.save({"a": "one", "b": "two"})
    folder.save({"b": "three"})
    assert folder.load() == {"b": "three"}


def test_an_unknown_argument_is_refused(tmp_path):
    with pytest.raises(ValueError, match="ending: there is no such setting"):
        TextFolder(str(tmp_path), ending=".js")
