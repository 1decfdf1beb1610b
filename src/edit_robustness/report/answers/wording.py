"""Names, figures and lists as they stand in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from edit_robustness.labels import KINDS, METHODS, label_of

Row = Mapping[str, Any]


def method_name(method: str) -> str:
    """Return the name of a method in text."""
    return label_of(method, METHODS)


def kind_name(kind: str) -> str:
    """Return the name of a kind of prompt in text."""
    return label_of(kind, KINDS).lower()


def join_texts(texts: Sequence[str], limit: int | None = None) -> str:
    """Join texts as in a sentence; those beyond a limit are counted."""
    if limit and len(texts) > limit:
        texts = [*texts[:limit], f"{len(texts) - limit} more"]
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else "".join(texts)


def write_rate(row: Row) -> str:
    """Return a rate with its interval, as percentages."""
    return f"{row['value']:.0%} {write_interval(row)}"


def write_interval(row: Row, sign: int = 1) -> str:
    """Return an interval as percentages; of the opposite sign if `sign` is -1."""
    if isnan(row["low"]):
        return "(no interval)"
    low, high = sorted((sign * row["low"], sign * row["high"]))
    return f"[{low:.0%}, {high:.0%}]"


def count_facts(rows: Sequence[Row]) -> str:
    """Return the number of facts behind some rows; a range if it differs."""
    numbers = sorted({int(row["n_facts"]) for row in rows})
    if numbers == [1]:
        return "1 fact"
    return f"{numbers[0]:,} facts" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,} facts"


def write_points(share: float) -> str:
    """Return a difference of shares in percentage points."""
    # rounding to an integer avoids -0
    return f"{round(100 * share)}"
