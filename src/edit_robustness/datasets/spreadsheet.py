"""Tables as CSV that a spreadsheet opens without running a cell of them.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, and a formula can send data away
or start a program. Texts of models and of fact tables are anybody's. So such a text gets an apostrophe before it, and
loses it when the project reads the table. Numbers stay as they are.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from typing import Any

import pandas as pd

_APOSTROPHE = "'"
_FORMULA = re.compile(r"[\s'\"]*[=+\-@\t\r＝＋－＠]")
"""Beginning of a cell that a spreadsheet may run. Apostrophes before it count in, so that taking one away again is
exact: a text with one more apostrophe matches as the text itself does."""


def escape(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts no spreadsheet runs; `unescape` gives it back exactly."""
    return _each_text(table, lambda text: _APOSTROPHE + text if _FORMULA.match(text) else text)


def unescape(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table that `escape` was given."""

    def before(text: str) -> str:
        return text[1:] if text.startswith(_APOSTROPHE) and _FORMULA.match(text, 1) else text

    return _each_text(table, before)


def _each_text(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    copy = table.copy()
    for place in range(table.shape[1]):
        column = table.iloc[:, place]
        if _holds_text(column):
            cells = [change(cell) if isinstance(cell, str) else cell for cell in column]
            kind = object if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype
            copy.isetitem(place, pd.Series(cells, index=column.index, dtype=kind))  # type: ignore[arg-type]
    return copy


def _holds_text(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.StringDtype | pd.CategoricalDtype) or column.dtype == object


def _has_return(table: pd.DataFrame) -> bool:
    columns = (table.iloc[:, place] for place in range(table.shape[1]))
    return any(isinstance(cell, str) and "\r" in cell for column in columns if _holds_text(column) for cell in column)


def spreadsheet(table: pd.DataFrame) -> str:
    """Return a table without its index as CSV, its texts escaped."""
    text: str = escape(table).to_csv(index=False, **_csv_options(table))
    return text


def _csv_options(table: pd.DataFrame) -> dict[str, Any]:
    """Return the options that quote every text, if one has a carriage return.

    pandas writes it without quotes, and reads it as the end of a row.
    """
    return {"quoting": csv.QUOTE_NONNUMERIC} if _has_return(table) else {}


class SpreadsheetSafe:
    """Mixin for a dataset of a CSV file: `escape` before it is saved, `unescape` after it is loaded."""

    def save(self, data: pd.DataFrame) -> None:
        """Save the table, its texts escaped."""
        dataset: Any = self
        if options := _csv_options(data):
            dataset = dataset._copy(_save_args={**dataset._save_args, **options})
        super(SpreadsheetSafe, dataset).save(escape(data))  # type: ignore[misc]

    def load(self) -> pd.DataFrame:
        """Load the table, its texts as they were."""
        return unescape(super().load())  # type: ignore[misc]
