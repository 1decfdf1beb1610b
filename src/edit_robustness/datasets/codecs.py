"""Codecs that write the items of a folder to files and read them back, one per kind of file."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from edit_robustness.editing.artefacts import NO_ARTEFACT, Artefact
from edit_robustness.editing.edits import Edit, PromptPrefix
from edit_robustness.editing.files import FORMAT, read_artefact, read_edit, read_header, write_artefact, write_edit
from edit_robustness.json_form import JsonForm
from edit_robustness.storage import CorruptFile, checksum, write_text

T = TypeVar("T")


class Codec(ABC, Generic[T]):
    """Writes an item with its header to a file, and reads both.

    Attributes:
        suffix: Ending of the files.
    """

    suffix: ClassVar[str]

    @abstractmethod
    def write(self, path: Path, value: T | None, header: Mapping[str, Any]) -> None:
        """Write one item atomically; None in place of one that could not be made."""

    @abstractmethod
    def read(self, path: Path) -> T | None:
        """Read one item; for one that could not be made, what stands in its place.

        Raises:
            CorruptFile: If its content is not what was written.
        """

    @abstractmethod
    def header(self, path: Path) -> dict[str, Any]:
        """Read one item's header, and verify the whole file.

        Raises:
            CorruptFile: If its content is not what was written.
        """


class JsonCodec(Codec[T]):
    """Items as JSON: a line of header, then a line for the item, in the form of its type's annotations.

    Args:
        kind: The type of an item, such as ``list[Answer]``.
    """

    suffix = ".jsonl"

    def __init__(self, kind: Any):
        self._form: JsonForm[T] = JsonForm(kind)

    def write(self, path: Path, value: T | None, header: Mapping[str, Any]) -> None:
        """Write one item, `null` for one that could not be made."""
        body = self._form.text(value)
        sealed_header = {**header, "format": FORMAT}
        sealed_header["checksum"] = _checksum(sealed_header, body)
        write_text(path, f"{json.dumps(sealed_header)}\n{body}\n")

    def read(self, path: Path) -> T | None:
        """Read one item; None for one that could not be made.

        Raises:
            CorruptFile: If the content is not what was written, or not an item of this type.
        """
        header, body = _lines(path)
        if "failed" in header:
            return None
        try:
            return self._form.value(body)
        except ValueError as error:
            raise CorruptFile(f"{path} holds another kind of item ({error})") from error

    def header(self, path: Path) -> dict[str, Any]:
        """Read the first line, and compare the checksum in it."""
        return _lines(path)[0]


class EditCodec(Codec[Edit]):
    """Edits as safetensors files; no change stands for an edit that could not be made."""

    suffix = ".safetensors"

    def write(self, path: Path, value: Edit | None, header: Mapping[str, Any]) -> None:
        """Write one edit with its origin.

        Raises:
            Unsolvable: If a number of the edit is not finite.
        """
        write_edit(path, PromptPrefix() if value is None else value, header)

    def read(self, path: Path) -> Edit:
        """Read one edit with its origin."""
        return read_edit(path)

    def header(self, path: Path) -> dict[str, Any]:
        """Read the header, and compare the checksum of the tensors."""
        return read_header(path)


class ArtefactCodec(Codec[Artefact]):
    """Prepared artefacts as safetensors files; an empty artefact stands for one that could not be made."""

    suffix = ".safetensors"

    def write(self, path: Path, value: Artefact | None, header: Mapping[str, Any]) -> None:
        """Write one artefact."""
        write_artefact(path, NO_ARTEFACT if value is None else value, header)

    def read(self, path: Path) -> Artefact:
        """Read one artefact."""
        return read_artefact(path)

    def header(self, path: Path) -> dict[str, Any]:
        """Read the header, and compare the checksum of the tensors."""
        return read_header(path)


def _lines(path: Path) -> tuple[dict[str, Any], str]:
    """Return the header and the line of the item, once the checksum of both is compared."""
    try:
        first, body, ending = path.read_bytes().decode("utf-8").split("\n")
        header = json.loads(first)
        checksum = header.pop("checksum")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CorruptFile(f"{path} cannot be read ({error})") from error
    if ending or checksum != _checksum(header, body):
        raise CorruptFile(f"the content of {path} is not what was written")
    return header, body


def _checksum(header: Mapping[str, Any], body: str) -> str:
    return checksum(json.dumps(header, sort_keys=True).encode(), body.encode())
