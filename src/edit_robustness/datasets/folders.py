"""Folders of files that land one by one, each with a fingerprint of all that it follows from.

A node that fills such a folder first saves a `Manifest`: the keys of this run with the fingerprints they must
have. Then it saves what is missing, item by item. Loading gives the manifest's items and no others, so no table
ever holds an item of another run, whatever else lies in the folder; and a killed run goes on after the last item.
"""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote, unquote

from kedro.io import AbstractDataset, DatasetError

from edit_robustness.datasets.arguments import checked
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.files import (
    FORMAT,
    UnreadableFile,
    read_edit,
    read_header,
    read_prepared,
    write_edit,
    write_prepared,
)
from edit_robustness.editing.method import Prepared
from edit_robustness.prompts.wordings import Wording
from edit_robustness.records import Answer, Document, Probe, Transcript, Turn

T = TypeVar("T")
logger = logging.getLogger(__name__)

_MANIFEST = "manifest.json"


class Manifest(dict[str, str]):
    """The items of this run: for each key the fingerprint that its file must have."""

    def missing(self, stored: Mapping[str, str]) -> list[str]:
        """The keys, in order, of which a folder that holds these fingerprints has no file, or another."""
        return [key for key, fingerprint in self.items() if stored.get(key) != fingerprint]


@dataclass(frozen=True)
class Stored(Generic[T]):
    """One item of a folder; a loaded one is read from its file when it is asked for.

    Attributes:
        fingerprint: Of all that the item follows from.
        read: Gives the item.
        header: Plain values beside it (method, seconds ...); a loaded item's has the file's `bytes` too.
    """

    fingerprint: str
    read: Callable[[], T]
    header: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, fingerprint: str, value: T, **header: Any) -> Stored[T]:
        """An item to be saved."""
        return cls(fingerprint, lambda: value, header)


Landing = Iterator[Manifest | dict[str, Stored[Any]] | dict[str, None]]
"""What a node yields that fills a folder: the manifest, then item by item; None takes an item away."""


class FolderDataset(AbstractDataset[Any, dict[str, Stored[Any]]], Generic[T]):
    """A folder of items; see the module.

    Args:
        path: The folder; it need not be there.
        metadata: For kedro-viz.
    """

    suffix: str

    @checked
    def __init__(self, path: str, metadata: dict[str, Any] | None = None):
        self._path = Path(path)
        self.metadata = metadata

    @abstractmethod
    def write(self, path: Path, value: T, header: Mapping[str, Any]) -> None:
        """Write one item under a temporary name and rename it."""

    @abstractmethod
    def read(self, path: Path) -> T:
        """Read one item."""

    @abstractmethod
    def header(self, path: Path) -> dict[str, Any]:
        """Read one item's header."""

    def save(self, data: Manifest | Mapping[str, Stored[T] | None]) -> None:
        """Save a manifest, or items; an item that is None is removed."""
        self._path.mkdir(parents=True, exist_ok=True)
        if isinstance(data, Manifest):
            _write_text(self._path / _MANIFEST, json.dumps(data, indent=0))
            return
        for key, item in data.items():
            if item is None:
                self._file(key).unlink(missing_ok=True)
                continue
            self.write(self._file(key), item.read(), {**item.header, "fingerprint": item.fingerprint})

    def load(self) -> dict[str, Stored[T]]:
        """The items of the last run's manifest, in its order; {} for an empty folder.

        Raises:
            DatasetError: If items are missing or of another run.
        """
        manifest = self._path / _MANIFEST
        if not manifest.exists():
            return {}
        wanted = json.loads(manifest.read_text())
        there = self.fingerprints()
        missing = [key for key, fingerprint in wanted.items() if there.get(key) != fingerprint]
        if missing:
            raise DatasetError(
                f"{self._path}: {len(missing)} of {len(wanted)} items of this run are not there, the first is "
                f"`{missing[0]}`; run the node that makes them (it goes on where it stopped)"
            )
        return {key: self._stored(key, fingerprint) for key, fingerprint in wanted.items()}

    def fingerprints(self) -> dict[str, str]:
        """For each readable file its key and fingerprint; unreadable ones are named in a warning and left out."""
        found = {}
        for path in sorted(self._path.glob(f"*{self.suffix}")):
            if path.name == _MANIFEST:
                continue
            try:
                found[unquote(path.name.removesuffix(self.suffix))] = self.header(path)["fingerprint"]
            except (UnreadableFile, KeyError) as error:
                logger.warning("%s is made again: %s", path.name, error)
        return found

    def items(self) -> dict[str, Stored[T]]:
        """Every readable item, of whichever run."""
        return {key: self._stored(key, fingerprint) for key, fingerprint in self.fingerprints().items()}

    def _stored(self, key: str, fingerprint: str) -> Stored[T]:
        path = self._file(key)
        header = {**self.header(path), "bytes": path.stat().st_size}
        return Stored(fingerprint, lambda: self.read(path), header)

    def _file(self, key: str) -> Path:
        return self._path / f"{quote(key, safe=' ')}{self.suffix}"

    def _exists(self) -> bool:
        return (self._path / _MANIFEST).exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}


class SafetensorsFolder(FolderDataset[T]):
    """Items as safetensors files, each with a header."""

    suffix = ".safetensors"

    def header(self, path: Path) -> dict[str, Any]:
        """See `FolderDataset.header`."""
        return read_header(path)


class EditsDataset(SafetensorsFolder[Edit]):
    """A folder of edits, one safetensors file each."""

    def write(self, path: Path, value: Edit, header: Mapping[str, Any]) -> None:
        """See `FolderDataset.write`."""
        write_edit(path, value, header)

    def read(self, path: Path) -> Edit:
        """See `FolderDataset.read`."""
        return read_edit(path)


class PreparedDataset(SafetensorsFolder[Prepared]):
    """A folder of what methods prepared, one safetensors file each."""

    def write(self, path: Path, value: Prepared, header: Mapping[str, Any]) -> None:
        """See `FolderDataset.write`."""
        write_prepared(path, value, header)

    def read(self, path: Path) -> Prepared:
        """See `FolderDataset.read`."""
        return read_prepared(path)


class JsonFolder(FolderDataset[T]):
    """Items as JSON: a line of header, then a line for the item."""

    suffix = ".jsonl"

    @abstractmethod
    def plain(self, value: T) -> Any:
        """The item as plain values."""

    @abstractmethod
    def value(self, plain: Any) -> T:
        """The inverse of `plain`."""

    def write(self, path: Path, value: T, header: Mapping[str, Any]) -> None:
        """See `FolderDataset.write`."""
        lines = [{**header, "format": FORMAT}, self.plain(value)]
        _write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    def read(self, path: Path) -> T:
        """See `FolderDataset.read`."""
        return self.value(self._line(path, 1))

    def header(self, path: Path) -> dict[str, Any]:
        """See `FolderDataset.header`."""
        return self._line(path, 0)

    def _line(self, path: Path, number: int) -> Any:
        try:
            return json.loads(path.read_text(encoding="utf-8").split("\n")[number])
        except (json.JSONDecodeError, UnicodeDecodeError, IndexError) as error:
            raise UnreadableFile(f"{path} cannot be read ({error}); remove it to make it again") from error


class AnswersDataset(JsonFolder[list[Answer]]):
    """A folder of answers, one file for each edit."""

    def plain(self, value: list[Answer]) -> Any:
        """See `JsonFolder.plain`."""
        return [asdict(answer) for answer in value]

    def value(self, plain: Any) -> list[Answer]:
        """See `JsonFolder.value`."""
        return [Answer(**{**row, "probe": _probe(row["probe"])}) for row in plain]


class TextsDataset(JsonFolder[list[str]]):
    """A folder of lists of texts."""

    def plain(self, value: list[str]) -> Any:
        """See `JsonFolder.plain`."""
        return value

    def value(self, plain: Any) -> list[str]:
        """See `JsonFolder.value`."""
        return plain


class WordingsDataset(JsonFolder[list[Wording]]):
    """A folder of what a writer made, one file for each fact."""

    def plain(self, value: list[Wording]) -> Any:
        """See `JsonFolder.plain`."""
        return [asdict(wording) for wording in value]

    def value(self, plain: Any) -> list[Wording]:
        """See `JsonFolder.value`."""
        return [Wording(**row) for row in plain]


class TranscriptsDataset(JsonFolder[Transcript]):
    """A folder of conversations, one file for each edit."""

    def plain(self, value: Transcript) -> Any:
        """See `JsonFolder.plain`."""
        return asdict(value)

    def value(self, plain: Any) -> Transcript:
        """See `JsonFolder.value`."""
        return Transcript(**{**plain, "turns": tuple(Turn(**turn) for turn in plain["turns"])})


class DocumentsDataset(JsonFolder[list[Document]]):
    """A folder of what a model did with a benchmark, one file for each benchmark after so many edits of an order."""

    def plain(self, value: list[Document]) -> Any:
        """See `JsonFolder.plain`."""
        return [asdict(document) for document in value]

    def value(self, plain: Any) -> list[Document]:
        """See `JsonFolder.value`."""
        return [Document(**{**row, "logprobs": tuple(row["logprobs"]), "flags": tuple(row["flags"])}) for row in plain]


class _Stored(AbstractDataset[None, dict[str, Any]]):
    """What a folder holds, whichever run made it; a node may not read its own output, but may read this.

    Args:
        of: Name of the folder's dataset class in `edit_robustness.datasets`.
        path: The folder.
        metadata: For kedro-viz.
    """

    @checked
    def __init__(self, of: str, path: str, metadata: dict[str, Any] | None = None):
        kinds: dict[str, type[FolderDataset]] = {
            kind.__name__: kind
            for kind in (
                *(EditsDataset, PreparedDataset, AnswersDataset, TextsDataset),
                *(TranscriptsDataset, WordingsDataset, DocumentsDataset),
            )
        }
        if of not in kinds:
            raise ValueError(f"`of: {of}` is no folder of fingerprinted files; there are {', '.join(kinds)}")
        self._folder = kinds[of](path)
        self.metadata = metadata

    def save(self, data: None) -> None:
        """Refuse: the folder's own dataset writes."""
        raise DatasetError("what a folder holds is read only")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder._describe()}


class StoredFingerprints(_Stored):
    """Which fingerprints a folder already holds."""

    def load(self) -> dict[str, str]:
        """For each item its key and fingerprint."""
        return self._folder.fingerprints()


class StoredItems(_Stored):
    """The items that a folder already holds: what was begun before, to go on with."""

    def load(self) -> dict[str, Stored[Any]]:
        """For each item its key and the item, read when asked for."""
        return self._folder.items()


def _probe(plain: Mapping[str, Any]) -> Probe:
    return Probe(
        **{
            **plain,
            "target_new_aliases": tuple(plain["target_new_aliases"]),
            "target_true_aliases": tuple(plain["target_true_aliases"]),
            "history": tuple(Turn(**turn) for turn in plain["history"]),
            "relation_objects": tuple(tuple(names) for names in plain["relation_objects"]),
        }
    )


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
