import os

import pytest

from edit_robustness.storage import checksum, part_of, write_atomically


def test_a_write_that_fails_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def half(part):
        part.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_a_file_is_written_to_disk_before_it_has_its_name(tmp_path, monkeypatch):
    steps = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (steps.append("sync"), sync(number)))
    monkeypatch.setattr(os, "replace", lambda *paths: (steps.append("rename"), rename(*paths)))
    write_atomically(tmp_path / "item", lambda part: part.write_text("new"))
    assert steps == ["sync", "rename", "sync"]
    assert (tmp_path / "item").read_text() == "new"


def test_two_processes_never_write_the_same_part(tmp_path, monkeypatch):
    own = part_of(tmp_path / "item")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert part_of(tmp_path / "item") != own


def test_a_checksum_tells_contents_apart():
    assert checksum(b"ab", b"c") == checksum(b"abc") != checksum(b"abd")
