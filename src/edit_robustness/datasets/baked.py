"""A dataset for edited models that leave the project: written whole with a card, beside it an adapter if one can be."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from edit_robustness.datasets.arguments import checked
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.exchange.card import Card
from edit_robustness.editing.exchange.export import NotLowRank, bake, export_lora
from edit_robustness.models.language_model import LanguageModel

logger = logging.getLogger(__name__)

ADAPTER = "adapter"
"""Folder of the adapter inside the model's."""


@dataclass(frozen=True)
class Baked:
    """What is to be baked: an edit, the unedited model, and what the card says."""

    edit: Edit
    lm: LanguageModel
    card: Card


class BakedDataset(AbstractDataset[Baked, Path]):
    """A folder with an edited model that plain transformers loads, and its adapter where the edits are low rank.

    Args:
        path: The folder.
        metadata: For kedro-viz.
    """

    @checked
    def __init__(self, path: str, metadata: dict[str, Any] | None = None):
        self._path = Path(path)
        self.metadata = metadata

    def save(self, data: Baked) -> None:
        """Write the folder in place of an earlier one."""
        bake(data.edit, data.lm, self._path, data.card)
        try:
            export_lora(data.edit, data.lm, self._path / ADAPTER)
        except NotLowRank as reason:
            logger.info("no adapter beside the model: %s", reason)
        logger.info("%s with %d edited facts is in %s", data.lm.name, len(data.card.facts), self._path)

    def load(self) -> Path:
        """Where it is; a catalog's language model reads it with `folder:`."""
        return self._path

    def _exists(self) -> bool:
        return self._path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}
