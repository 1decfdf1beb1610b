"""Kedro datasets of our own: language models, corpora, and folders whose files each carry a fingerprint."""

from edit_robustness.datasets.baked import BakedDataset
from edit_robustness.datasets.corpus import CorpusSourceDataset
from edit_robustness.datasets.folders import (
    AnswersDataset,
    EditsDataset,
    PreparedDataset,
    StoredFingerprints,
    StoredItems,
    TextsDataset,
)
from edit_robustness.datasets.language_model import LanguageModelDataset

__all__ = [
    "AnswersDataset",
    "BakedDataset",
    "CorpusSourceDataset",
    "EditsDataset",
    "LanguageModelDataset",
    "PreparedDataset",
    "StoredFingerprints",
    "StoredItems",
    "TextsDataset",
]
