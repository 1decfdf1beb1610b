"""A folder at an address (an object store, a disk of other machines) that holds the copy of one run.

Its files have the names that they have in a data folder. `copy.json` lists them; it is the authority on what is whole:
it says that the copy is incomplete before the first file is written, and that it is complete after the last.
"""

from __future__ import annotations

import glob
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from edit_robustness.addresses import AddressError, file_system, telling_address
from edit_robustness.locking import LOCKS
from edit_robustness.runs.folders import RAW, REPORTING, is_id
from edit_robustness.storage import PART, CorruptFile, file_sha256, make_folder, remove_parts, write_atomically
from edit_robustness.text.secrets import redact

LISTING = "copy.json"
"""Name of the file that lists the files of a copy."""


def is_inside(name: str, run_id: str) -> bool:
    """Return whether a name in the data folder is that of a file in the folders that a run writes."""
    path = PurePosixPath(name)
    windows = PureWindowsPath(name)
    if path.as_posix() != name or path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        return False
    if "\\" in name or windows.drive or path.parts[0] in (LOCKS, RAW):
        return False
    return path.parts[0] != REPORTING or (path.parts[1] == run_id and len(path.parts) > 2)


@dataclass(frozen=True)
class StoredFile:
    """Size in bytes and SHA-256 of a file."""

    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> StoredFile:
        """Return the size and hash of a file on this machine."""
        return cls(path.stat().st_size, file_sha256(path))


@dataclass(frozen=True)
class Listing:
    """Content of a copy of a run.

    Attributes:
        run: The id of the run.
        complete: Whether every file is there.
        sessions: Keys of the commands that the run consists of, by which a later state is told from an earlier one.
        models: The models of the run.
        data_sets: Name and place of each data set, relative to the data folder.
        files: The files that are there.
    """

    run: str
    complete: bool
    sessions: tuple[str, ...]
    models: tuple[str, ...]
    data_sets: tuple[tuple[str, str], ...]
    files: Mapping[str, StoredFile] = field(default_factory=dict)

    def text(self) -> str:
        """Return the content of `copy.json`."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def read(cls, text: str | bytes) -> Listing:
        """Return a listing from the content of `copy.json`, which anybody may have written.

        Raises:
            ValueError: If it is not one, or names a file that would be written outside the folders of a run.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            names, files = ("sessions", "models"), content.pop("files")
            pairs = tuple((str(name), str(place)) for name, place in content.pop("data_sets"))
            texts = {name: tuple(map(str, content.pop(name))) for name in names}
            listing = cls(
                str(content["run"]),
                content["complete"] is True,
                **texts,
                data_sets=pairs,
                files={str(name): StoredFile(int(f["size"]), str(f["sha256"])) for name, f in files.items()},
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"it cannot be read ({type(error).__name__}: {error})") from None
        if not is_id(listing.run):
            raise ValueError(f"`{listing.run}` is not the id of a run")
        for name in listing.files:
            if not is_inside(name, listing.run):
                raise ValueError(f"`{name}` is not a file of the run, and nothing is written there")
        return listing


class Store:
    """A folder at an address.

    Args:
        address: The address, or a path on this machine.
        options: Arguments of the file system, credentials among them; without them it looks in the environment.

    Raises:
        AddressError: If the address cannot be opened.
    """

    def __init__(self, address: str, options: Mapping[str, Any] | None = None):
        self._system, root = file_system(address, options)
        self._root = root.rstrip("/")
        self.address = redact(address).rstrip("/")
        # lists of files are kept, and another process may have written since
        self._system.invalidate_cache()

    def listing(self) -> Listing | None:
        """Return what the copy consists of; None if there is no copy.

        Raises:
            AddressError: If the address cannot be read.
            CorruptFile: If `copy.json` is not the listing of a copy.
        """
        try:
            with telling_address(self.address):
                try:
                    text = self._system.cat_file(self._path(LISTING))
                except FileNotFoundError:
                    return None
            return Listing.read(text)
        except ValueError as error:
            raise CorruptFile(f"{self.address}/{LISTING}: {error}") from None

    def write_listing(self, listing: Listing) -> None:
        """Replace `copy.json`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / LISTING
            path.write_text(listing.text(), encoding="utf-8", newline="\n")
            self.put(path, LISTING)

    def sizes(self) -> dict[str, int]:
        """Return the size of every file that is there; empty for an empty or missing folder."""
        self._system.invalidate_cache()
        with telling_address(self.address):
            try:
                files = self._system.find(self._root, detail=True)
            except FileNotFoundError:
                return {}
            sizes = {path[len(self._root) + 1 :]: int(state["size"] or 0) for path, state in files.items()}
        # what a killed process left of a file is none
        return {name: size for name, size in sizes.items() if not name.endswith(PART)}

    def put(self, path: Path, name: str) -> None:
        """Write a file; on an object store and on this machine, completely or not at all."""
        target = self._path(name)
        with telling_address(f"{self.address}/{name}"):
            if isinstance(self._system, LocalFileSystem):
                _make_way(Path(target))
                write_atomically(Path(target), lambda part: self._system.put_file(str(path), str(part)))
            else:
                self._system.put_file(str(path), target)

    def get(self, name: str, path: Path, entry: StoredFile) -> None:
        """Read a file to `path`, completely or not at all.

        Raises:
            AddressError: If the file cannot be read.
            CorruptFile: If its content is not what was copied there.
        """

        def write(part: Path) -> None:
            with telling_address(f"{self.address}/{name}"):
                self._system.get_file(self._path(name), str(part))
            if StoredFile.of(part) != entry:
                raise CorruptFile(
                    f"{self.address}/{name} is damaged: its size or SHA-256 is not that in {LISTING}; copy the run "
                    "there again from where it is whole"
                )

        _make_way(path)
        write_atomically(path, write)

    def check_sizes(self, files: Mapping[str, StoredFile], names: Iterable[str]) -> None:
        """Check that files that were written are there with their sizes.

        Raises:
            AddressError: Naming the first that is not.
        """
        sizes = self.sizes()
        for name in names:
            if sizes.get(name) != files[name].size:
                raise AddressError(
                    f"{self.address}/{name} has {sizes.get(name, 'no')} bytes after it was written with "
                    f"{files[name].size}; run the same command again"
                )

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _make_way(path: Path) -> None:
    """Create the folder of a file, and remove what killed processes left of the file."""
    make_folder(path.parent)
    remove_parts(path.parent, glob.escape(path.name))
