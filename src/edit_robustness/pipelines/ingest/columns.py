"""Columns of a table of facts that are no part of a fact: the data set, what page views measure, and features.

Every numeric column that the project does not know is a feature of the facts. Text, identifiers and columns without two
different values are not, and one line of the log says which columns these are.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from keyword import iskeyword
from typing import Any

import numpy as np
import pandas as pd

from edit_robustness.features.table import RESERVED
from edit_robustness.prompts.cells import is_missing, preview
from edit_robustness.prompts.schema import COLUMNS, LEFT_OUT, UNREADABLE

logger = logging.getLogger(__name__)

NOTES = ("dataset", "page_views_source")
"""Text columns beside the facts: the data set that a fact is from, and what its page views measure."""

_MISSING = frozenset({"", "nan", "NaN", "<NA>", "None", "null"})
_TRUTHS = {"true": 1.0, "false": 0.0}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_IDENTIFIER = re.compile(r"(.*_)?(id|ids|idx)|index|row|unnamed.*")
_SHOWN = 12


def note_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the columns of `NOTES` as text; a missing cell is empty."""
    return {
        name: ["" if is_missing(cell) else " ".join(str(cell).split()) for cell in (row.get(name) for row in rows)]
        for name in NOTES
    }


def feature_columns(rows: Sequence[Mapping[str, Any]], n_rows: int) -> dict[str, list[float]]:
    """Return the columns that are features, by a name that formulas can contain; NaN for a missing cell.

    Args:
        rows: The rows that are facts, with all columns of the file.
        n_rows: The number of rows of the file, by which numbers of rows are recognised.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    features: dict[str, list[float]] = {}
    left_out: dict[str, str] = {}
    for name in names:
        if not name or name in (*COLUMNS, *NOTES, UNREADABLE, LEFT_OUT):
            continue
        feature = feature_name(name)
        values, reason = _read_column([row.get(name) for row in rows])
        reason = reason or _explain_refusal(feature, values, n_rows)
        if not reason and feature in features:
            reason = f"another column is called {feature}, too"
        if reason:
            left_out[name] = reason
        else:
            features[feature] = values
    _log(features, left_out)
    return features


def feature_name(column: str) -> str:
    """Return the name of a feature: a Python identifier, such as `school_years` for the column "school years"."""
    name = re.sub(r"\W+", "_", column.strip().casefold()).strip("_") or "column"
    return name if name.isidentifier() and not iskeyword(name) else f"feature_{name}"


def _read_column(cells: Sequence[Any]) -> tuple[list[float], str]:
    """Return the numbers of a column, or the reason why it is not numeric."""
    values: list[float] = []
    for cell in cells:
        number = _read_number(cell)
        if number is None:
            return [], f"{preview(cell)} is no number"
        values.append(number)
    return values, ""


def _read_number(cell: Any) -> float | None:
    """Return a cell as a number, NaN if it is missing, or None if it is neither."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, str):
        text = cell.strip()
        if text in _MISSING:
            return math.nan
        if text.casefold() in _TRUTHS:
            return _TRUTHS[text.casefold()]
        cell = float(text) if _NUMBER.fullmatch(text) else None
    elif is_missing(cell):
        return math.nan
    if isinstance(cell, bool | int | float):
        try:
            number = float(cell)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    return None


def _explain_refusal(name: str, values: Sequence[float], n_rows: int) -> str:
    """Return why a numeric column is no feature; empty if it is one."""
    numbers = np.array(values, dtype=float)
    numbers = numbers[~np.isnan(numbers)]
    if name in RESERVED:
        return "its name is that of a column of the project; rename it"
    if _IDENTIFIER.fullmatch(name):
        return "an identifier by its name"
    if len(np.unique(numbers)) < 2:
        return "fewer than two different values"
    is_counter = (
        len(numbers) == len(values)
        and len(np.unique(numbers)) == len(numbers)
        and bool((numbers == np.round(numbers)).all())
        and np.ptp(numbers) < max(n_rows, len(numbers))
    )
    return "an identifier: it numbers the rows" if is_counter and len(numbers) > 2 else ""


def _log(features: Mapping[str, Sequence[float]], left_out: Mapping[str, str]) -> None:
    if not features and not left_out:
        return
    reasons = [f"{preview(name)} ({reason})" for name, reason in left_out.items()]
    ending = f" and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    logger.info(
        "columns of the table of facts that are features: %s; not used: %s",
        ", ".join(features) or "none",
        (", ".join(reasons[:_SHOWN]) + ending) or "none",
    )


def with_columns(facts: pd.DataFrame, rows: Sequence[Mapping[str, Any]], n_rows: int) -> pd.DataFrame:
    """Add to a table of facts the notes and features of the rows that they were read from, in the same order."""
    return facts.assign(
        **{name: pd.Series(cells, facts.index, dtype="str") for name, cells in note_columns(rows).items()},
        **{name: pd.Series(values, facts.index, dtype=float) for name, values in feature_columns(rows, n_rows).items()},
    )
