"""The folders of the project: what each holds, and how an item becomes a file and an item again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edit_robustness.datasets.folders import FolderDataset, JsonFolder, T
from edit_robustness.editing.edits import Edit, Frame
from edit_robustness.editing.files import read_edit, read_header, read_prepared, write_edit, write_prepared
from edit_robustness.editing.method import NOTHING, Prepared
from edit_robustness.prompts.wordings import Wording
from edit_robustness.records import Answer, Document, Probe, Transcript, Turn


class SafetensorsFolder(FolderDataset[T]):
    """Items as safetensors files, each with a header."""

    suffix = ".safetensors"

    def header(self, path: Path) -> dict[str, Any]:
        """Read one item's header; see `FolderDataset.header`."""
        return read_header(path)


class EditsDataset(SafetensorsFolder[Edit]):
    """A folder of edits, one safetensors file each; no change stands for an edit that could not be made."""

    holds = "edits"

    def write(self, path: Path, value: Edit | None, header: Mapping[str, Any]) -> None:
        """Write one edit; see `FolderDataset.write`."""
        write_edit(path, Frame() if value is None else value, header)

    def read(self, path: Path) -> Edit:
        """Read one edit; see `FolderDataset.read`."""
        return read_edit(path)


class PreparedDataset(SafetensorsFolder[Prepared]):
    """A folder of what methods prepared, one safetensors file each."""

    holds = "prepared"

    def write(self, path: Path, value: Prepared | None, header: Mapping[str, Any]) -> None:
        """Write one artefact; see `FolderDataset.write`."""
        write_prepared(path, NOTHING if value is None else value, header)

    def read(self, path: Path) -> Prepared:
        """Read one artefact; see `FolderDataset.read`."""
        return read_prepared(path)


class AnswersDataset(JsonFolder[list[Answer]]):
    """A folder of answers, one file for each edit."""

    holds = "answers"

    def plain(self, value: list[Answer]) -> Any:
        """See `JsonFolder.plain`."""
        return [asdict(answer) for answer in value]

    def value(self, plain: Any) -> list[Answer]:
        """See `JsonFolder.value`."""
        return [Answer(**{**row, "probe": _probe(row["probe"])}) for row in plain]


class TextsDataset(JsonFolder[list[str]]):
    """A folder of lists of texts."""

    holds = "texts"

    def plain(self, value: list[str]) -> Any:
        """See `JsonFolder.plain`."""
        return value

    def value(self, plain: Any) -> list[str]:
        """See `JsonFolder.value`."""
        return plain


class WordingsDataset(JsonFolder[list[Wording]]):
    """A folder of what a writer made, one file for each fact."""

    holds = "wordings"

    def plain(self, value: list[Wording]) -> Any:
        """See `JsonFolder.plain`."""
        return [asdict(wording) for wording in value]

    def value(self, plain: Any) -> list[Wording]:
        """See `JsonFolder.value`."""
        return [Wording(**row) for row in plain]


class TranscriptsDataset(JsonFolder[Transcript]):
    """A folder of conversations, one file for each edit."""

    holds = "transcripts"

    def plain(self, value: Transcript) -> Any:
        """See `JsonFolder.plain`."""
        return asdict(value)

    def value(self, plain: Any) -> Transcript:
        """See `JsonFolder.value`."""
        return Transcript(**{**plain, "turns": tuple(Turn(**turn) for turn in plain["turns"])})


class DocumentsDataset(JsonFolder[list[Document]]):
    """A folder of what a model did with a benchmark, one file for each benchmark after so many edits of an order."""

    holds = "documents"

    def plain(self, value: list[Document]) -> Any:
        """See `JsonFolder.plain`."""
        return [asdict(document) for document in value]

    def value(self, plain: Any) -> list[Document]:
        """See `JsonFolder.value`."""
        return [Document(**{**row, "logprobs": tuple(row["logprobs"]), "flags": tuple(row["flags"])}) for row in plain]


FOLDERS: dict[str, type[FolderDataset]] = {
    kind.__name__: kind
    for kind in (
        *(EditsDataset, PreparedDataset, AnswersDataset, TextsDataset),
        *(TranscriptsDataset, WordingsDataset, DocumentsDataset),
    )
}


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
