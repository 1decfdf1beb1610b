"""A dataset for facts with page views and perplexities that were measured elsewhere; it needs no model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from edit_robustness.datasets.arguments import validate_arguments
from edit_robustness.datasets.readers.files import NotReadable, local_copy, read_records
from edit_robustness.datasets.readers.measured import MEASURED_COLUMNS, read_lookup, read_measured
from edit_robustness.text.closest import did_you_mean
from edit_robustness.text.secrets import redact

logger = logging.getLogger(__name__)


class PerplexityDataset(AbstractDataset[None, pd.DataFrame]):
    """A table of page views and perplexities.

    Args:
        path: A file (.json, .jsonl, .csv, .tsv, .parquet), or an address, which is copied once. Such a file is a run's
            recall.parquet, or CounterFact joined with page views and perplexities.
        relations: Data sets with relations (a file of CounterFact, a folder of ParaRel), for a table without a column
            `relation`; empty: facts with the same statement belong to one relation.
        columns: For subject, relation, page_views, perplexity_true and perplexity_new the name of the column, if it is
            not a usual one.
        cache: Where copies of remote files are kept.
        credentials: Arguments of the file system at an address; in the catalog, a name in `conf/local/credentials.yml`.
            Without them it looks in the environment.
        metadata: For kedro-viz.

    Raises:
        DatasetError: For a name in `columns` that does not exist.
    """

    @validate_arguments
    def __init__(
        self,
        path: str,
        relations: str | list[str] = "",
        columns: dict[str, str] | None = None,
        cache: str = "data/01_raw/copies",
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        for name in columns or {}:
            if name not in MEASURED_COLUMNS:
                raise DatasetError(f"columns: no column `{name}`; {did_you_mean(name, MEASURED_COLUMNS)}")
        self._path, self._columns, self._cache = path, columns or {}, Path(cache)
        self._credentials = credentials
        self._relations = [relations] if isinstance(relations, str) else relations
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """Return model, fact_id, subject, relation, page_views, perplexity_true, perplexity_new.

        Raises:
            DatasetError: If a file is missing or lacks a column.
        """
        try:
            file = self._file(self._path)
            if not file.exists():
                raise NotReadable("there is no such file; give one with --params=facts_path=FILE")
            lookups = [self._file(path) for path in self._relations if path]
            table = read_measured(read_records(file), self._columns, read_lookup(lookups) if lookups else None)
        except NotReadable as failure:
            raise DatasetError(f"the page views and perplexities {redact(self._path)}: {failure}") from None
        n_unknown = int((table["relation"] == "").sum())
        if n_unknown:
            logger.warning(
                "%d of %d facts have no known relation; they are left out within relations", n_unknown, len(table)
            )
        return table

    def save(self, data: None) -> None:
        """Refuse: the table is read only."""
        raise DatasetError("page views and perplexities are read only")

    def _file(self, path: str) -> Path:
        return local_copy(path, self._cache, credentials=self._credentials)

    def _exists(self) -> bool:
        return "://" in self._path or Path(self._path).exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": redact(self._path), "relations": [redact(path) for path in self._relations]}
