"""Kedro datasets of our own: language models, corpora, facts, and folders whose files each carry a fingerprint."""

from edit_robustness.datasets.baked import BakedDataset
from edit_robustness.datasets.benchmark_files import BenchmarkFiles
from edit_robustness.datasets.corpus import CorpusSourceDataset
from edit_robustness.datasets.facts import FactsDataset
from edit_robustness.datasets.folders import (
    AnswersDataset,
    DocumentsDataset,
    EditsDataset,
    PreparedDataset,
    StoredFingerprints,
    StoredItems,
    TextsDataset,
    TranscriptsDataset,
    WordingsDataset,
)
from edit_robustness.datasets.language_model import LanguageModelDataset
from edit_robustness.datasets.speakers import SpeakerDataset
from edit_robustness.datasets.spreadsheet import CsvTable
from edit_robustness.datasets.web import WebDataset

__all__ = [
    "AnswersDataset",
    "BakedDataset",
    "BenchmarkFiles",
    "CorpusSourceDataset",
    "CsvTable",
    "DocumentsDataset",
    "EditsDataset",
    "FactsDataset",
    "LanguageModelDataset",
    "PreparedDataset",
    "SpeakerDataset",
    "StoredFingerprints",
    "StoredItems",
    "TextsDataset",
    "TranscriptsDataset",
    "WebDataset",
    "WordingsDataset",
]
