"""Where running text comes from: a file of the user's, or the model itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from pydantic import PositiveInt

from edit_robustness.datasets.arguments import checked

_READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    ".jsonl": lambda path: pd.read_json(path, lines=True),
    ".parquet": pd.read_parquet,
    ".csv": pd.read_csv,
}


@dataclass(frozen=True)
class CorpusSource:
    """The catalog entry of the corpus.

    Attributes:
        texts: The texts of a file; empty where the model shall write them.
        number: How many texts the model shall write.
        tokens: Tokens of each.
        seed: Of the sampling.
    """

    texts: tuple[str, ...] = ()
    number: int = 0
    tokens: int = 0
    seed: int = 0


class CorpusSourceDataset(AbstractDataset[None, CorpusSource]):
    """Running text for key statistics and contexts.

    Args:
        path: A .txt (a text a paragraph), .jsonl, .parquet or .csv file; without it the model writes the corpus.
        column: The column of texts.
        limit: Most texts read from the file.
        number: How many texts the model writes.
        tokens: Tokens of each written text.
        seed: Of the sampling.
        metadata: For kedro-viz.
    """

    @checked
    def __init__(
        self,
        path: str | None = None,
        column: str = "text",
        limit: PositiveInt = 20_000,
        number: PositiveInt = 96,
        tokens: PositiveInt = 64,
        seed: int = 0,
        metadata: dict[str, Any] | None = None,
    ):
        self._path = Path(path) if path else None
        self._column, self._limit = column, limit
        self._written = CorpusSource(number=number, tokens=tokens, seed=seed)
        self.metadata = metadata

    def load(self) -> CorpusSource:
        """Return the texts of the file, or how the model shall write them.

        Raises:
            DatasetError: If the file is missing, of another format, or has no such column or no text.
        """
        if self._path is None:
            return self._written
        texts = tuple(text for text in self._read(self._path)[: self._limit] if text.strip())
        if not texts:
            raise DatasetError(f"the corpus {self._path} has no text")
        return CorpusSource(texts=texts)

    def save(self, data: None) -> None:
        """Refuse: a source is read only."""
        raise DatasetError("the source of a corpus is read only")

    def _read(self, path: Path) -> list[str]:
        if not path.exists():
            raise DatasetError(f"the corpus {path} is not there; change `path` of corpus_source, or leave it out")
        if path.suffix != ".txt" and path.suffix not in _READERS:
            raise DatasetError(f"the corpus {path} is none of .txt, {', '.join(_READERS)}")
        try:
            if path.suffix == ".txt":
                return path.read_text(encoding="utf-8").split("\n")
            table = _READERS[path.suffix](path)
        except (ValueError, OSError) as error:
            raise DatasetError(f"the corpus {path} cannot be read as {path.suffix} in UTF-8: {error}") from error
        if self._column not in table:
            columns = ", ".join(map(str, table.columns)) or "none"
            raise DatasetError(f"the corpus {path} has no column `{self._column}`; it has {columns}")
        cells = dict(enumerate(table[self._column].tolist(), 1))
        wrong_places = [place for place, cell in cells.items() if not isinstance(cell, str | int | float | None)]
        if wrong_places:
            raise DatasetError(
                f"the corpus {path} holds a {type(cells[wrong_places[0]]).__name__} and not a text in "
                f"`{self._column}` of entry {wrong_places[0]} ({len(wrong_places)} such entries); write one text per "
                "entry"
            )
        return [str(cell) for cell in cells.values() if not pd.isna(cell)]

    def _exists(self) -> bool:
        return self._path is None or self._path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)} if self._path else {"written": str(self._written)}
