"""How the project writes what it will trust later: whole or not at all, and with a checksum of its content.

A folder that the project writes carries a mark (`MARK`), which lists its files. Nothing without the mark is replaced
or removed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

PART = ".part"
"""Ending of a file or folder that is being written."""

_PART_NAME = re.compile(r".+\.\d+\.part")

MARK = ".edit_robustness"
"""File in each folder that the project wrote: which process wrote it, and a checksum of every file in it."""

_OLD = ".old"
_CHUNK = 1 << 22


class ForeignFolder(FileExistsError):
    """A folder or file in the way that the project did not write, so that it may not be replaced."""


class CorruptFile(ValueError):
    """A file that cannot be read, or whose content is not what was written."""


def part_of(path: Path) -> Path:
    """Return where this process writes what will be `path`; two processes never share it."""
    return path.with_name(f"{path.name}.{os.getpid()}{PART}")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that after a kill or a power cut `path` holds the old content or the new one, never a part.

    Args:
        path: The file. Its folder must exist.
        write: Writes the content to the path that it is given.
    """
    part = part_of(path)
    try:
        write(part)
        # without it the rename may reach the disk before the content does
        _sync(part)
        clear_way(path)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _sync(path.parent)


def make_folder(path: Path) -> None:
    """Create a folder if it does not exist.

    Raises:
        ForeignFolder: If a file, or a link to nothing, is in the way.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        way = next(
            ancestor
            for ancestor in (path, *path.parents)
            if (ancestor.exists() or ancestor.is_symlink()) and not ancestor.is_dir()
        )
        raise ForeignFolder(f"{way} is no folder, and files of the run belong into it: move it away") from None


def remove_file(path: Path) -> None:
    """Remove a file that the project wrote, if there is one; a folder that stands in its place is renamed."""
    clear_way(path)
    path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file as `write_atomically` does."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))


def remove_parts(folder: Path, name: str = "*") -> None:
    """Remove what killed processes left of files that they were writing; only for who holds the lock of a data folder.

    Args:
        folder: The folder of the files.
        name: Pattern of their names.
    """
    for part in folder.glob(f"{name}.*{PART}"):
        if _PART_NAME.fullmatch(part.name) and part.is_file():
            part.unlink(missing_ok=True)


def clear_way(path: Path) -> None:
    """Rename a folder that stands where a file belongs; it may be a user's, so it is never deleted."""
    if path.is_dir() and not path.is_symlink():
        free = _free(path, ".{}.set_aside")
        logger.warning("%s is a folder where a file belongs; it is renamed to %s", path, free.name)
        path.rename(free)


def checksum(*contents: bytes | memoryview) -> str:
    """Return a checksum of contents, one after another."""
    digest = hashlib.blake2b(digest_size=16)
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def file_checksum(path: Path) -> str:
    """Return the checksum of a file's content, which is read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=16)).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, which other programs compute as well."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_folder(path: Path, write: Callable[[Path], object], *, of: str = "", names: Collection[str] = ()) -> None:
    """Write a folder so that `path` holds the old folder or the new one, never a part; what is replaced had our mark.

    An earlier folder in which somebody put files of their own is not removed but kept beside the new one.

    Args:
        path: The folder. A link to one is followed.
        write: Writes the files into the empty folder that it is given.
        of: What the content was made of; `folder_damage` compares it.
        names: Names of files that mark a folder of an earlier release as written by the project.

    Raises:
        ForeignFolder: If files that the project did not write are in the way.
    """
    path = Path(os.path.realpath(path))
    part, old = part_of(path), path.with_name(f"{path.name}.{os.getpid()}{_OLD}")
    _clean(path)
    for place in (part, old):
        if place.exists():
            _remove(place)
    _refuse_foreign(path, names)
    part.mkdir(parents=True)
    _write_mark(part, of, {})
    try:
        write(part)
        _seal(part, of)
        _put_in_place(path, part, old)
    finally:
        if part.exists():
            _remove(part)


def folder_damage(path: Path, of: str = "", *, thorough: bool = False) -> str:
    """Return what is wrong with a folder that `replace_folder` wrote; empty if it holds what was written.

    A file is hashed once for each size and modification time. So a change that keeps both is found only with
    `thorough`.

    Args:
        path: The folder.
        of: What its content must have been made of.
        thorough: Whether to hash every file, whatever its time says.
    """
    mark = _mark(path)
    if not mark.get("files"):
        return f"{path} was never finished"
    if mark["of"] != of:
        return f"{path} was made of something else"
    is_newer = False
    for name, (size, time, digest) in mark["files"].items():
        file = path / name
        if not file.is_file():
            return f"{file} is missing"
        state = file.stat()
        if state.st_size != size:
            return f"{file} has {state.st_size} bytes and was written with {size}"
        if thorough or state.st_mtime_ns != time:
            if file_checksum(file) != digest:
                return f"the content of {file} is not what was written"
            is_newer |= state.st_mtime_ns != time
    if strange := strangers(path):
        return f"{path / strange[0]} was not written with the folder"
    if is_newer:
        _update_mark(path, files={name: [*_state(path / name), mark["files"][name][2]] for name in mark["files"]})
    return ""


def read_note(path: Path, key: str) -> Any:
    """Return what `note` kept under a key in a folder's mark; None without it."""
    return _mark(path).get("notes", {}).get(key)


def note(path: Path, key: str, value: Any) -> None:
    """Keep a value in the mark of a folder."""
    _update_mark(path, notes={**_mark(path).get("notes", {}), key: value})


def is_ours(path: Path, names: Collection[str] = ()) -> bool:
    """Return whether the project wrote a folder: it has the mark, or a file of these names."""
    return bool(_mark(path)) or any((path / name).is_file() for name in names)


def strangers(path: Path) -> list[str]:
    """Return the files of a marked folder that are not in its list; hidden ones aside."""
    marked_files = _mark(path).get("files", {})
    return [name for name in _files(path) if name not in marked_files and not Path(name).name.startswith(".")]


def set_aside(path: Path) -> Path | None:
    """Rename a folder that the project wrote, so that nothing takes it for a result of this run.

    Returns:
        Where it is now; None if there is no folder with our mark.
    """
    path = Path(os.path.realpath(path))
    if not is_ours(path):
        return None
    aside = _free(path, ".earlier-{}")
    path.rename(aside)
    return aside


def _free(path: Path, ending: str) -> Path:
    """Return the first free path beside another, with a number in its ending."""
    places = (path.with_name(f"{path.name}{ending.format(number)}") for number in count(1))
    return next(place for place in places if not place.exists())


def _refuse_foreign(path: Path, names: Collection[str]) -> None:
    if path.is_dir() and (is_ours(path, names) or not any(path.iterdir())):
        return
    if path.exists():
        raise ForeignFolder(
            f"{path} holds other files, which would be lost (it has no file {MARK}): name another folder, or move it "
            "away"
        )


def _put_in_place(path: Path, part: Path, old: Path) -> None:
    if path.exists() and not _mark(path) and not any(path.iterdir()):
        path.rmdir()
    elif path.exists() and _mark(path) and (strange := strangers(path)):
        aside = set_aside(path)
        logger.warning("%s held %s, which the project did not write: it is kept as %s", path, strange[0], aside)
    elif path.exists():
        if not _mark(path):
            # of an earlier release; the mark lets a later run clean it, should this one be killed here
            _write_mark(path, "", {})
        path.rename(old)
    part.rename(path)
    _sync(path.parent)
    if old.exists():
        _remove(old)


def _clean(path: Path) -> None:
    """Remove what dead processes left beside a folder; one killed between two renames gets its old folder back."""
    if not path.parent.is_dir():
        return
    names = re.compile(rf"{re.escape(path.name)}\.(\d+)({re.escape(PART)}|{re.escape(_OLD)})")
    for place in sorted(path.parent.iterdir()):
        match = names.fullmatch(place.name)
        if not match or _alive(int(match[1])) or _mark(place).get("host") != socket.gethostname():
            continue
        if match[2] == _OLD and not path.exists():
            place.rename(path)
        else:
            _remove(place)


def _remove(folder: Path) -> None:
    """Remove a folder with our mark.

    Raises:
        ForeignFolder: If it has none.
    """
    if not _mark(folder):
        raise ForeignFolder(f"{folder} is in the way and was not written by the project: move it away")
    # the mark goes last, so that what a kill leaves here can still be cleaned
    for place in folder.iterdir():
        if place.name == MARK:
            continue
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()
    (folder / MARK).unlink()
    folder.rmdir()


def _alive(process: int) -> bool:
    if os.name == "nt":
        # there a signal of 0 is no question but an interrupt
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / MARK:
            yield path.relative_to(folder).as_posix()


def _state(file: Path) -> list[int]:
    state = file.stat()
    return [state.st_size, state.st_mtime_ns]


def _seal(folder: Path, of: str) -> None:
    """Write a folder's files to the disk, and list them in its mark."""
    files: dict[str, list[Any]] = {}
    for name in _files(folder):
        _sync(folder / name)
        files[name] = [*_state(folder / name), file_checksum(folder / name)]
    _write_mark(folder, of, files)
    _sync(folder)


def _write_mark(folder: Path, of: str, files: dict[str, list[Any]]) -> None:
    mark = {"written_by": "edit_robustness", "host": socket.gethostname(), "process": os.getpid(), "of": of}
    write_text(folder / MARK, json.dumps({**mark, "files": files}))


def _update_mark(folder: Path, **changes: Any) -> None:
    write_text(folder / MARK, json.dumps({**_mark(folder), **changes}))


def _mark(folder: Path) -> dict[str, Any]:
    """Return what a folder's mark says; empty without one. A mark that cannot be read still is one."""
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
        files = mark["files"]
        sound = all(len(entry) == 3 for entry in files.values()) and isinstance(mark.get("notes", {}), dict)
        return mark if sound and "of" in mark else {"of": None}
    except OSError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {"of": None}


def _sync(path: Path) -> None:
    """Make the operating system write a file, or the names in a folder, to the disk."""
    if os.name == "nt" and path.is_dir():
        # Windows opens no folders, and writes names by itself
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
