"""Kedro datasets of our own: language models, corpora, facts, and folders whose files each carry a fingerprint."""

from edit_robustness.datasets.baked import BakedDataset
from edit_robustness.datasets.benchmark_files import BenchmarkFiles
from edit_robustness.datasets.combined_facts import CombinedFactsDataset
from edit_robustness.datasets.corpus import CorpusSourceDataset
from edit_robustness.datasets.facts import FactsDataset
from edit_robustness.datasets.item_folders import (
    AnswersDataset,
    ArtefactsDataset,
    DocumentsDataset,
    EditsDataset,
    TextsDataset,
    TranscriptsDataset,
    WordingsDataset,
)
from edit_robustness.datasets.language_model import LanguageModelDataset
from edit_robustness.datasets.perplexities import PerplexityDataset
from edit_robustness.datasets.speakers import SpeakerDataset
from edit_robustness.datasets.tables import (
    CheckRecord,
    CsvTable,
    Figure,
    JsonFile,
    LongReportTable,
    ParquetTable,
    PredictorFile,
    ReportTable,
    TextFile,
)
from edit_robustness.datasets.text_folder import TextFolder
from edit_robustness.datasets.web import WebDataset

__all__ = [
    "AnswersDataset",
    "ArtefactsDataset",
    "BakedDataset",
    "BenchmarkFiles",
    "CheckRecord",
    "CombinedFactsDataset",
    "CorpusSourceDataset",
    "CsvTable",
    "DocumentsDataset",
    "EditsDataset",
    "FactsDataset",
    "Figure",
    "JsonFile",
    "LanguageModelDataset",
    "LongReportTable",
    "ParquetTable",
    "PerplexityDataset",
    "PredictorFile",
    "ReportTable",
    "SpeakerDataset",
    "TextFile",
    "TextFolder",
    "TextsDataset",
    "TranscriptsDataset",
    "WebDataset",
    "WordingsDataset",
]
