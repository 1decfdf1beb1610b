import logging
import os
import subprocess
import sys

import pytest

from edit_robustness import storage
from edit_robustness.storage import (
    MARK,
    ForeignFolder,
    checksum,
    folder_damage,
    make_folder,
    part_of,
    remove_file,
    remove_parts,
    replace_folder,
    set_aside,
    write_atomically,
)


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
    first_part = part_of(tmp_path / "item")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert part_of(tmp_path / "item") != first_part


def test_a_file_in_the_place_of_a_folder_is_named_and_stays(tmp_path):
    (tmp_path / "edits").write_text("a user's")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for path, way in [("edits", "edits"), ("edits/inner", "edits"), ("link", "link")]:
        with pytest.raises(ForeignFolder, match=f"{tmp_path}/{way} is no folder, .*: move it away"):
            make_folder(tmp_path / path)
    assert (tmp_path / "edits").read_text() == "a user's"
    make_folder(tmp_path / "new" / "inner")
    make_folder(tmp_path / "new" / "inner")


def test_a_folder_in_the_place_of_a_file_to_be_removed_is_kept(tmp_path):
    (tmp_path / "record.json").mkdir()
    (tmp_path / "record.json" / "mine").write_text("a user's")
    remove_file(tmp_path / "record.json")
    remove_file(tmp_path / "record.json")
    assert (tmp_path / "record.json.1.set_aside" / "mine").read_text() == "a user's"


def test_parts_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    names = ["a.json", "a.json.12.part", "a.json.part", "b.json.7.part", "mine.part"]
    for name in names:
        (tmp_path / name).write_text("x")
    remove_parts(tmp_path, "a.json")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted({*names} - {"a.json.12.part"})
    remove_parts(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "a.json.part", "mine.part"]


def test_a_checksum_tells_contents_apart():
    assert checksum(b"ab", b"c") == checksum(b"abc") != checksum(b"abd")


def writer(text):
    def write(folder):
        (folder / "a.txt").write_text(text)
        (folder / "inner").mkdir()
        (folder / "inner" / "b.txt").write_text(text)

    return write


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def project_folder(tmp_path):
    """A folder that the project wrote."""
    replace_folder(tmp_path / "ours", writer("first"), of="x")
    return tmp_path / "ours"


@pytest.fixture
def dead():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_a_folder_with_our_mark_is_replaced(project_folder, tmp_path):
    replace_folder(project_folder, writer("second"))
    assert (project_folder / "inner" / "b.txt").read_text() == "second"
    assert names(tmp_path) == ["ours"]
    for name in ("thesis", "file"):
        foreign_path = tmp_path / name
        if name == "thesis":
            foreign_path.mkdir()
            (foreign_path / "chapter.txt").write_text("mine")
        else:
            foreign_path.write_text("mine")
        with pytest.raises(ForeignFolder, match=rf"{name} holds other files, which would be lost .* move it away"):
            replace_folder(foreign_path, writer("x"))
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    replace_folder(tmp_path / "empty", writer("x"))
    assert names(tmp_path) == ["empty", "file", "ours", "thesis"]


def test_what_somebody_put_into_our_folder_is_kept(project_folder, tmp_path, caplog):
    (project_folder / "inner" / "notes.txt").write_text("mine")
    with caplog.at_level(logging.WARNING):
        replace_folder(project_folder, writer("second"))
    assert "held inner/notes.txt, which the project did not write: it is kept as" in caplog.text
    assert (tmp_path / "ours.earlier-1" / "inner" / "notes.txt").read_text() == "mine"
    assert (project_folder / "a.txt").read_text() == "second"


def test_leftovers_of_dead_processes_are_cleaned_if_they_are_ours(project_folder, tmp_path, dead):
    for ending in ("part", "old"):
        replace_folder(tmp_path / f"ours.{dead}.{ending}", writer("left over"))
    (tmp_path / f"ours.{dead}0.part").mkdir()
    (tmp_path / "ours.part").mkdir()
    (tmp_path / f"ours.{os.getppid()}.part").mkdir()
    replace_folder(tmp_path / "other", writer("second"))
    assert len(names(tmp_path)) == 7
    replace_folder(project_folder, writer("second"))
    assert names(tmp_path) == sorted(["other", "ours", f"ours.{dead}0.part", "ours.part", f"ours.{os.getppid()}.part"])


def test_a_kill_between_the_two_renames_loses_nothing(project_folder, tmp_path, dead):
    project_folder.rename(tmp_path / f"ours.{dead}.old")

    def fails(folder):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_folder(project_folder, fails)
    assert (project_folder / "a.txt").read_text() == "first"
    assert names(tmp_path) == ["ours"]


def test_a_link_to_a_folder_stays_one(project_folder, tmp_path):
    (tmp_path / "link").symlink_to(project_folder, target_is_directory=True)
    replace_folder(tmp_path / "link", writer("second"))
    assert (tmp_path / "link").is_symlink()
    assert (project_folder / "a.txt").read_text() == "second"


@pytest.mark.parametrize(
    ("change", "damage"),
    [
        (lambda folder: (folder / "a.txt").write_text("FIRST"), "the content of .*a.txt is not what was written"),
        (lambda folder: (folder / "a.txt").write_text("fir"), "a.txt has 3 bytes and was written with 5"),
        (lambda folder: (folder / "inner" / "b.txt").unlink(), "inner/b.txt is missing"),
        (lambda folder: (folder / "inner" / "c.txt").touch(), "inner/c.txt was not written with the folder"),
        (lambda folder: (folder / MARK).write_text("{"), "was never finished"),
        (lambda folder: (folder / MARK).unlink(), "was never finished"),
    ],
)
def test_damage_is_named(project_folder, change, damage):
    assert folder_damage(project_folder, "x") == ""
    assert "made of something else" in folder_damage(project_folder, "y")
    os.utime(project_folder / "a.txt", ns=(0, 0))
    change(project_folder)
    with pytest.raises(AssertionError, match=damage):
        assert folder_damage(project_folder, "x") == ""


def test_a_file_is_hashed_once_for_each_time_that_it_has(project_folder, monkeypatch):
    names_hashed = []
    monkeypatch.setattr(storage, "file_checksum", lambda path: names_hashed.append(path.name) or real(path))
    real = lambda path: checksum(path.read_bytes())  # noqa: E731
    assert folder_damage(project_folder, "x") == ""
    assert names_hashed == []
    os.utime(project_folder / "a.txt", ns=(0, 0))
    assert [folder_damage(project_folder, "x"), folder_damage(project_folder, "x")] == ["", ""]
    assert names_hashed == ["a.txt"]
    assert folder_damage(project_folder, "x", thorough=True) == ""
    assert len(names_hashed) == 3


def test_a_change_that_keeps_size_and_time_is_found_by_a_thorough_look(project_folder):
    file, before = project_folder / "a.txt", (project_folder / "a.txt").stat()
    file.write_text("FIRST")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert folder_damage(project_folder, "x") == ""
    assert "a.txt is not what was written" in folder_damage(project_folder, "x", thorough=True)


def test_our_folder_is_set_aside_and_nobody_elses(project_folder, tmp_path):
    assert set_aside(project_folder) == tmp_path / "ours.earlier-1"
    (tmp_path / "theirs").mkdir()
    assert set_aside(tmp_path / "theirs") is set_aside(project_folder) is None
    assert names(tmp_path) == ["ours.earlier-1", "theirs"]
