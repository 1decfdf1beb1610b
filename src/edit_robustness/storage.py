"""How the project writes a file that it will trust later: whole or not at all, and with a checksum of its content."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

logger = logging.getLogger(__name__)

PART = ".part"
"""Ending of a file or folder that is being written."""


class DamagedFile(ValueError):
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
        if path.is_dir() and not path.is_symlink():
            _set_aside(path)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _sync(path.parent)


def _set_aside(folder: Path) -> None:
    """Rename a folder that stands where a file belongs; it may be a user's, so it is never deleted."""
    free = next(name for n in count(1) if not (name := folder.with_name(f"{folder.name}.{n}.set_aside")).exists())
    logger.warning("%s is a folder where a file belongs; it is renamed to %s", folder, free.name)
    folder.rename(free)


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
