"""The folders of the project: what each holds, and the codec of its files."""

from __future__ import annotations

from typing import Any

from edit_robustness.datasets.codecs import ArtefactCodec, EditCodec, JsonCodec
from edit_robustness.datasets.folders import FolderDataset
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edits import Edit
from edit_robustness.prompts.wordings import Wording
from edit_robustness.records import Answer, Document, Transcript


class EditsDataset(FolderDataset[Edit]):
    """A folder of edits, one safetensors file each; no change stands for an edit that could not be made."""

    holds = "edits"
    codec = EditCodec()


class ArtefactsDataset(FolderDataset[Artefact]):
    """A folder of what methods prepared, one safetensors file each."""

    holds = "artefact"
    codec = ArtefactCodec()


class AnswersDataset(FolderDataset[list[Answer]]):
    """A folder of answers, one file for each edit."""

    holds = "answers"
    codec = JsonCodec[list[Answer]](list[Answer])


class TextsDataset(FolderDataset[list[str]]):
    """A folder of lists of texts."""

    holds = "texts"
    codec = JsonCodec[list[str]](list[str])


class WordingsDataset(FolderDataset[list[Wording]]):
    """A folder of what a writer made, one file for each fact."""

    holds = "wordings"
    codec = JsonCodec[list[Wording]](list[Wording])


class TranscriptsDataset(FolderDataset[Transcript]):
    """A folder of conversations, one file for each edit."""

    holds = "transcripts"
    codec = JsonCodec[Transcript](Transcript)


class DocumentsDataset(FolderDataset[list[Document]]):
    """A folder of what a model did with a benchmark, one file for each benchmark after so many edits of an order."""

    holds = "documents"
    codec = JsonCodec[list[Document]](list[Document])


FOLDERS: dict[str, type[FolderDataset[Any]]] = {
    kind.__name__: kind
    for kind in (
        *(EditsDataset, ArtefactsDataset, AnswersDataset, TextsDataset),
        *(TranscriptsDataset, WordingsDataset, DocumentsDataset),
    )
}
