"""Folders of files that land one by one, each with a fingerprint of all that it follows from.

A node that fills such a folder first saves an `Inventory`, in which it finds what the folder holds (`resume_folder`),
and then a `Manifest`: the keys of this run with the fingerprints that they must have. Then it saves what is missing,
item by item. Loading gives the items of the manifest and no others, so no table contains an item of another run,
whatever else lies in the folder. A killed run continues after the last item.

Each file holds a checksum of its content, and the version of every room whose code decides it. A file that is damaged,
or was made by another version or from files of another version, counts as missing, and a log line names it.

An item that could not be made is a file, too, with the reason in its header. It counts as missing when a run looks for
what is left to do, so a rerun tries it again; tables leave it out and count it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast
from urllib.parse import quote, unquote

from kedro.io import AbstractDataset, DatasetError

from edit_robustness.datasets.arguments import validate_arguments
from edit_robustness.datasets.codecs import Codec
from edit_robustness.editing.files import FORMAT
from edit_robustness.storage import CorruptFile, make_folder, remove_file, remove_parts, write_text
from edit_robustness.versions import ROOMS_OF_FILES, libraries

T = TypeVar("T")
logger = logging.getLogger(__name__)

_MANIFEST = "manifest.json"
_FROM_STALE = "from_stale"
_SHOWN = 3


class Manifest(dict[str, str]):
    """The items of this run: for each key the fingerprint that its file must have."""

    def missing_keys(self, inventory: Mapping[str, str]) -> list[str]:
        """Return the keys, in order, that a folder with these fingerprints lacks."""
        return [key for key, fingerprint in self.items() if inventory.get(key) != fingerprint]


class _Value(Generic[T]):
    """Value of an item, in memory until its file is written, and then read from there."""

    def __init__(self, value: T):
        self._read: Callable[[], T] = lambda: value

    def __call__(self) -> T:
        return self._read()

    def leave_to(self, read: Callable[[], T]) -> None:
        """Forget the value, which another function reads from now on."""
        self._read = read


@dataclass(frozen=True)
class StoredItem(Generic[T]):
    """One item of a folder; a loaded one is read from its file when it is asked for.

    Attributes:
        fingerprint: Of all that the item follows from.
        read: Returns the item. For one that could not be made: an edit without a change, an empty artefact, or None.
        header: Plain values beside it (method, seconds ...); a loaded item's has the file's `bytes` too.
    """

    fingerprint: str
    read: Callable[[], T]
    header: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, fingerprint: str, value: T, **header: Any) -> StoredItem[T]:
        """Return an item to be saved, whose value is in memory until then."""
        return cls(fingerprint, _Value(value), header)

    @classmethod
    def failed_item(cls, fingerprint: str, reason: object, **header: Any) -> StoredItem[Any]:
        """Return what is saved in place of an item that could not be made.

        Args:
            fingerprint: That the item would have had.
            reason: The exception, or its text.
            **header: Plain values beside it.
        """
        text = str(reason) or type(reason).__name__
        return cls(fingerprint, _no_item, {**header, "failed": text, "failed_at": _format_time()})

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the item with its value: the file may be on another machine than the process that gets it."""
        return _received, (self.fingerprint, self.read(), dict(self.header))

    @property
    def failure(self) -> str:
        """Return why the item could not be made; empty for one that was made."""
        return str(self.header.get("failed", ""))


def successful_items(items: Mapping[str, StoredItem[T]] | None) -> dict[str, StoredItem[T]]:
    """Return the items that could be made."""
    return {key: item for key, item in (items or {}).items() if not item.failure}


def stale_mark(*items: StoredItem[Any]) -> dict[str, bool]:
    """Return what the header of an item must hold if one of the items that it is made from is stale.

    Its own fingerprint cannot tell: that of a stale item stays when the item is recomputed.
    """
    return {_FROM_STALE: True} if any("stale" in item.header for item in items) else {}


class Inventory:
    """A request for what a folder holds, which a node saves: the folder's data set puts itself in."""

    folder: FolderDataset[Any]


Landing = Iterator[Inventory | Manifest | dict[str, StoredItem[Any]] | dict[str, None]]
"""Output of a node that fills a folder: the manifest, then item by item; None takes an item away."""


class FolderDataset(AbstractDataset[Any, dict[str, StoredItem[Any]]], Generic[T]):
    """A folder of items.

    Args:
        path: The folder; it need not be there.
        keep_stale: Whether to use files that another version of the project made; tables and pages say so.
        metadata: For kedro-viz.
    """

    codec: ClassVar[Codec[Any]]
    """How an item becomes a file."""
    holds: ClassVar[str]
    """Row of `versions.ROOMS_OF_FILES`."""

    @validate_arguments
    def __init__(self, path: str, keep_stale: bool = False, metadata: dict[str, Any] | None = None):
        self._path = Path(path)
        self._keep_stale = keep_stale
        self.metadata = metadata

    @property
    def manifest_path(self) -> Path:
        """Return the file of the last run's manifest."""
        return self._path / _MANIFEST

    def save(self, data: Inventory | Manifest | Mapping[str, StoredItem[T] | None]) -> None:
        """Save a manifest, or items; an item that is None is removed. An inventory is filled in."""
        if isinstance(data, Inventory):
            data.folder = self
            return
        make_folder(self._path)
        if isinstance(data, Manifest):
            remove_parts(self._path)
            write_text(self.manifest_path, json.dumps(data, indent=0))
            return
        for key, item in data.items():
            if item is None:
                remove_file(self._file(key))
                continue
            environment = {**libraries(), **item.header.get("environment", {})}
            about = {
                "fingerprint": item.fingerprint,
                "versions": ROOMS_OF_FILES[self.holds],
                "environment": environment,
            }
            self.codec.write(self._file(key), None if item.failure else item.read(), {**item.header, **about})
            if isinstance(item.read, _Value):
                item.read.leave_to(partial(self.codec.read, self._file(key)))

    def load(self) -> dict[str, StoredItem[T]]:
        """Return the items of the last run's manifest, in its order; {} for an empty folder.

        Raises:
            DatasetError: If items are missing, damaged or of another run.
        """
        if not self.manifest_path.exists():
            return {}
        manifest, headers = self._manifest(), self._headers(recompute=False)
        fingerprints = {key: header["fingerprint"] for key, header in headers.items()}
        if missing_keys := manifest.missing_keys(fingerprints):
            if formats := {key: number for key in missing_keys if (number := self._format(key)) not in (None, FORMAT)}:
                key, number = next(iter(formats.items()))
                raise DatasetError(
                    f"{self._path}: {len(formats)} of {len(manifest)} items of this run are in another format, the "
                    f"first is `{key}` (format {number}, and this release reads {FORMAT}); run the whole pipeline that "
                    "fills this folder, which recomputes them"
                )
            raise DatasetError(
                f"{self._path}: {len(missing_keys)} of {len(manifest)} items of this run are missing, the first is "
                f"`{missing_keys[0]}`; run the whole pipeline that fills this folder (bake and rescore only read it)"
            )
        return {key: self._open_item(key, headers[key]) for key in manifest}

    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprint of each sound item by its key; items that could not be made are left out."""
        headers = self._headers()
        self._report_missing(headers)
        return {key: header["fingerprint"] for key, header in headers.items() if "failed" not in header}

    def items(self) -> dict[str, StoredItem[T]]:
        """Return every sound item, of whichever run."""
        return {key: self._open_item(key, header) for key, header in self._headers().items()}

    def _manifest(self) -> Manifest:
        path = self.manifest_path
        try:
            return Manifest(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise DatasetError(f"{path} cannot be read ({error}); run the whole pipeline, which writes it") from error

    def _headers(self, *, recompute: bool = True) -> dict[str, dict[str, Any]]:
        """Return the header of each sound file of this version; log which others are recomputed, and why.

        Args:
            recompute: Whether the caller recomputes files of another format. If not, nothing is logged of them.
        """
        headers: dict[str, dict[str, Any]] = {}
        stale: list[str] = []
        other_formats: list[str] = []
        for path in sorted(self._path.glob(f"*{self.codec.suffix}")):
            if path.name == _MANIFEST:
                continue
            try:
                header = self._read_header(path)
            except CorruptFile as error:
                logger.warning("%s; it is recomputed if this run needs it", error)
                continue
            if header.get("format") != FORMAT:
                other_formats.append(path.name)
                continue
            if header.get("versions") != ROOMS_OF_FILES[self.holds] or _FROM_STALE in header:
                stale.append(path.name)
                header["stale"] = True
            if self._keep_stale or "stale" not in header:
                headers[unquote(path.name.removesuffix(self.codec.suffix))] = header
        if other_formats and recompute:
            logger.warning(
                "%s: %d files are in another format than %d, which this release reads, recomputing them: %s",
                *(self._path, len(other_formats), FORMAT, _first(other_formats)),
            )
        if stale:
            self._report_stale(stale)
        return headers

    def _format(self, key: str) -> int | None:
        """Return the format of one file; None if there is no sound file."""
        try:
            return int(self._read_header(self._file(key)).get("format", 0))
        except CorruptFile:
            return None

    def _read_header(self, path: Path) -> dict[str, Any]:
        # what is opened may be a pipe, which would never end
        if not path.is_file():
            raise CorruptFile(f"{path} is no file")
        header = self.codec.header(path)
        if not isinstance(header, dict) or not isinstance(header.get("fingerprint"), str):
            raise CorruptFile(f"{path} has no fingerprint")
        return header

    def _report_missing(self, sound_keys: Collection[str]) -> None:
        """Log how many files of the last run are gone: it was interrupted, or somebody removed them."""
        try:
            manifest = self._manifest()
        except DatasetError:
            return
        if missing_paths := [
            path for key in manifest if key not in sound_keys and not (path := self._file(key)).exists()
        ]:
            logger.warning(
                "%s: %d of %d files of the last run are missing, the first is %s; they are computed if this run needs "
                "them",
                *(self._path, len(missing_paths), len(manifest), missing_paths[0].name),
            )

    def _report_stale(self, names: list[str]) -> None:
        action = "using" if self._keep_stale else "recomputing"
        hint = "" if self._keep_stale else "; --params=keep_stale=true uses them as they are"
        logger.warning(
            "%s: %d files were made by another version of this project, %s them%s: %s",
            *(self._path, len(names), action, hint, _first(names)),
        )

    def _open_item(self, key: str, header: dict[str, Any]) -> StoredItem[T]:
        path = self._file(key)
        # of an item that could not be made it gives what stands in its place, which `StoredItem.failure` tells
        reader = cast(Callable[[], T], partial(self.codec.read, path))
        return StoredItem(header["fingerprint"], reader, {**header, "bytes": path.stat().st_size})

    def _file(self, key: str) -> Path:
        return self._path / f"{quote(key, safe=' ')}{self.codec.suffix}"

    def _exists(self) -> bool:
        return self.manifest_path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}


def _first(names: list[str]) -> str:
    return ", ".join([*names[:_SHOWN], *(["..."] if len(names) > _SHOWN else [])])


def _no_item() -> Any:
    return None


def _received(fingerprint: str, value: Any, header: Mapping[str, Any]) -> StoredItem[Any]:
    return StoredItem(fingerprint, _Value(value), header)


def _format_time() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
