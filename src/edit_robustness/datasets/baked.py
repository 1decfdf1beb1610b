"""A dataset for edited models that leave the project: written whole with a card, beside it an adapter if one can be."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from edit_robustness.datasets.arguments import validate_arguments
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.exchange.card import Card
from edit_robustness.editing.exchange.export import bake
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.storage import ForeignFolder, set_aside

logger = logging.getLogger(__name__)

ADAPTER = "adapter"
"""Folder of the adapter inside the model's."""


@dataclass(frozen=True)
class BakedModel:
    """An edit to be baked, with the unedited model and the text of the card."""

    edit: Edit
    lm: LanguageModel
    card: Card


@dataclass(frozen=True)
class NoBakedModel:
    """That a run has nothing to bake, and why: an earlier run's model must not stand as if it were this one's."""

    reason: str


class BakedDataset(AbstractDataset[BakedModel | NoBakedModel, Path]):
    """A folder with an edited model that plain transformers loads, and its adapter where the edits are low rank.

    Only a folder with the project's mark is replaced.

    Args:
        path: The folder.
        metadata: For kedro-viz.
    """

    @validate_arguments
    def __init__(self, path: str, metadata: dict[str, Any] | None = None):
        self._path = Path(path)
        self.metadata = metadata

    def save(self, data: BakedModel | NoBakedModel) -> None:
        """Write the folder in place of an earlier one.

        Raises:
            DatasetError: If there is nothing to bake, or a folder that the project did not write is in the way.
        """
        if isinstance(data, NoBakedModel):
            aside = set_aside(self._path)
            notice = f". The model that an earlier run baked is now in {aside}" if aside else ""
            raise DatasetError(f"{data.reason}{notice}")
        try:
            bake(data.edit, data.lm, self._path, data.card, adapter=ADAPTER)
        except ForeignFolder as error:
            raise DatasetError(str(error)) from error
        logger.info("%s with %d edited facts is in %s", data.lm.name, len(data.card.facts), self._path)

    def load(self) -> Path:
        """Return the folder; a catalog's language model reads it with `folder:`."""
        return self._path

    def _exists(self) -> bool:
        return self._path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}
