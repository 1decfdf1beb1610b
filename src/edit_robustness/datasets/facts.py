"""A dataset for facts in any of their published forms, or in a table of the user's, local or at an address."""

from __future__ import annotations

import logging
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from pydantic import ValidationError

from edit_robustness.datasets.arguments import validate_arguments
from edit_robustness.datasets.readers.files import NotReadable, Records, local_copy
from edit_robustness.datasets.readers.formats import FORMATS, looks_like
from edit_robustness.datasets.readers.records import Options, Record
from edit_robustness.prompts.cells import is_missing
from edit_robustness.prompts.schema import UNREADABLE
from edit_robustness.text.secrets import redact
from edit_robustness.web.download import Transfer

logger = logging.getLogger(__name__)

_SHOWN = 12


class FactsDataset(AbstractDataset[None, pd.DataFrame]):
    """The raw table of facts that `validate_facts` checks, whatever form the facts have.

    Args:
        path: A file (.json, .jsonl, .csv, .tsv, .parquet), for `pararel` a folder; or an address (``https://`` ...),
            which is copied once.
        format: A word of `readers.FORMATS`: counterfact, counterfact_flat, zsre, zsre_knowedit, popqa, known_facts,
            pararel, or table for a table with at least a prompt, a subject and a new object.
        limit: At most so many rows, drawn with the seed; 0 for all.
        seed: Of that draw, and of new objects for popqa, known_facts and pararel, which have none.
        rephrase_is_paraphrase: For counterfact_flat, whether its `rephrase_prompt` is taken as a paraphrase.
        cache: Where copies of remote files are kept.
        transfer: Limits of copying a remote file, the settings of `web.download.Transfer`.
        credentials: Arguments of the file system at an address; in the catalog, a name in `conf/local/credentials.yml`.
            Without them it looks in the environment.
        metadata: For kedro-viz.

    Raises:
        DatasetError: For an unknown format, a negative limit, or a limit of copying that is none.
    """

    @validate_arguments
    def __init__(
        self,
        path: str,
        format: str = "table",
        limit: int = 0,
        seed: int = 0,
        rephrase_is_paraphrase: bool = False,
        cache: str = "data/01_raw/copies",
        transfer: dict[str, Any] | None = None,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        if format not in FORMATS:
            raise DatasetError(f"format: there is no form of facts `{format}`; there are {', '.join(FORMATS)}")
        if limit < 0:
            raise DatasetError(f"limit: {limit} facts cannot be taken; 0 takes all")
        self._path, self._format, self._limit, self._seed = path, format, limit, seed
        self._options = Options(seed, rephrase_is_paraphrase)
        self._cache, self._credentials = Path(cache), credentials
        try:
            self._transfer = Transfer(**(transfer or {}))
        except (TypeError, ValidationError) as error:
            raise DatasetError(f"transfer: {_reason(error)}; there are {', '.join(Transfer.__annotations__)}") from None
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """Return one row per record, with columns of `prompts.schema`; the index `row` tells its place in the file.

        The columns `dataset` (the format, or the name of the file of a table) and `page_views_source` (what page views
        measure) are added, unless a record has its own.

        Raises:
            DatasetError: If the file is missing or cannot be copied, or is not of this form.
        """
        try:
            file = local_copy(self._path, self._cache, self._transfer, self._credentials)
            records = self._records(file)
        except NotReadable as failure:
            # `from None`: the cause may quote the address with its credentials
            raise DatasetError(f"the facts {redact(self._path)}: {failure}") from None
        rows = FORMATS[self._format].rows(records, self._options)
        numbers = records.numbers if isinstance(records, Records) else range(1, len(rows) + 1)
        table = pd.DataFrame(rows, index=pd.Index(list(numbers), dtype="int64", name="row"), dtype=object)
        return self._draw(self._describe_rows(table, file))

    def _describe_rows(self, table: pd.DataFrame, file: Path) -> pd.DataFrame:
        form = FORMATS[self._format]
        dataset = file.stem if form is FORMATS["table"] else self._format
        defaults = {"dataset": dataset, "page_views_source": form.page_views}
        table_columns = {name: table[name] for name in defaults if name in table}
        columns = {
            name: table_columns[name].map(
                lambda cell, default=default: default if is_missing(cell) or cell == "" else cell
            )
            if name in table_columns
            else default
            for name, default in defaults.items()
        }
        return table.assign(**columns)

    def save(self, data: None) -> None:
        """Refuse: facts are read only."""
        raise DatasetError("facts are read only")

    def _records(self, file: Path) -> list[Record]:
        form = FORMATS[self._format]
        if not file.exists():
            raise NotReadable(f"there is no such file; {form.home}")
        records = form.load(file)
        first = next((record for record in records if UNREADABLE not in record), {})
        if set(form.fields) <= set(first):
            return records
        fields = ", ".join(ascii(name)[1:-1] if not name.isprintable() else name for name in list(first)[:_SHOWN])
        likeness = looks_like(first)
        advice = f"it looks like `format: {likeness}`" if likeness else f"it looks like no other form; {form.home}"
        raise NotReadable(
            f"`format: {self._format}` needs records with {', '.join(form.fields)}, and the first has {fields}; "
            f"{advice}"
        )

    def _draw(self, table: pd.DataFrame) -> pd.DataFrame:
        if not self._limit or len(table) <= self._limit:
            return table
        logger.info(
            "%d of the %d facts in %s are taken (limit), drawn with the seed",
            *(self._limit, len(table), redact(self._path)),
        )
        places = sorted(Random(self._seed).sample(range(len(table)), self._limit))
        return table.iloc[places]

    def _exists(self) -> bool:
        return "://" in self._path or Path(self._path).exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": redact(self._path), "format": self._format, "limit": self._limit}


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors())
