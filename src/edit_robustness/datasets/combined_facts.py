"""A dataset for the facts of several data sets in one table."""

from __future__ import annotations

import logging
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from edit_robustness.datasets.arguments import validate_arguments
from edit_robustness.datasets.facts import FactsDataset

logger = logging.getLogger(__name__)

DATASET = "dataset"
"""Column that names the data set of each row."""


class CombinedFactsDataset(AbstractDataset[None, pd.DataFrame]):
    """The raw tables of several data sets of facts, one after the other.

    Args:
        sources: The arguments of a `FactsDataset` for each data set, by its name.
        metadata: For kedro-viz.

    Raises:
        DatasetError: If there are no data sets, or the arguments of one are wrong; the message names it.
    """

    @validate_arguments
    def __init__(self, sources: dict[str, dict[str, Any]], metadata: dict[str, Any] | None = None):
        if not sources:
            raise DatasetError("sources: name at least one data set, each with the arguments of a FactsDataset")
        self._datasets = {name: _create(name, arguments) for name, arguments in sources.items()}
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """Return the rows of all data sets, with the name of its data set in the column `dataset`.

        The index `row` counts on from one data set to the next, so that it is unique. The log contains the first row
        of each.

        Raises:
            DatasetError: If a file is missing, cannot be copied or is not of its format; the message names the data
                set.
        """
        tables, offset = [], 0
        for name, dataset in self._datasets.items():
            try:
                table = dataset.load()
            except DatasetError as error:
                raise DatasetError(f"sources.{name}: {error}") from None
            logger.info("%s: %d rows, numbered from %d", name, len(table), offset + 1)
            tables.append(table.set_axis(table.index + offset).assign(**{DATASET: name}))
            offset += int(table.index.max()) if len(table) else 0
        return pd.concat(tables).rename_axis(index="row")

    def save(self, data: None) -> None:
        """Refuse: facts are read only."""
        raise DatasetError("facts are read only")

    def _exists(self) -> bool:
        return all(dataset.exists() for dataset in self._datasets.values())

    def _describe(self) -> dict[str, Any]:
        return {name: dataset._describe() for name, dataset in self._datasets.items()}


def _create(name: str, arguments: dict[str, Any]) -> FactsDataset:
    try:
        return FactsDataset(**arguments)
    except (DatasetError, ValueError) as error:
        raise DatasetError(f"sources.{name}: {error}") from None
