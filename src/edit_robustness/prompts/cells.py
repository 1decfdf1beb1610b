"""Read cells of raw tables (text, lists and records) in the same way for every file format.

A Parquet file contains lists and structs. A CSV file contains them as JSON or as Python literals
(``['Lyon', 'Lyons']``). Both give the same values. A cell that cannot be read raises a `PydanticCustomError` with the
reason, which is a `ValueError`.
"""

from __future__ import annotations

import ast
import io
import json
import math
import reprlib
import tokenize
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pydantic_core import PydanticCustomError

LONGEST_FIELD = 500
"""Characters. A longer text is a mistake in the file, not a name or a prompt."""

LONGEST_CELL = 200_000
"""Characters of a list or a record that is written as text."""

DEEPEST = 30
"""Nested brackets. Deeper cells are refused before a parser recurses into them."""

_QUOTE_LENGTH = 40
_LARGEST = 2**63 - 1
_EXACT = 2**53
_STRAY = "\u200b\u2060\ufeff"
"""Zero-width space, word joiner and byte order mark, stripped from both ends of a text."""
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"
"""Characters that are letters or symbols by category but are invisible: Hangul fillers, the empty Braille cell."""
_INVISIBLE = ("Cf", "Mn", "Me", "Zs", "Zl", "Zp", "Cc")
_LISTS = (list, tuple)


def refusal(reason: str) -> PydanticCustomError:
    """Return an error with a reason, passed as a value because pydantic would fill braces in a message."""
    return PydanticCustomError("fact", "{reason}", {"reason": reason})


def preview(cell: Any) -> str:
    """Return the beginning of a cell of any type, for a message."""
    try:
        return reprlib.repr(cell)[:_QUOTE_LENGTH]
    except (ValueError, RecursionError):  # Python refuses to format an integer of thousands of digits
        return f"a {type(cell).__name__}"


def is_missing(cell: Any) -> bool:
    """Return whether a cell is empty (None, or the NaN of pandas)."""
    return cell is None or (isinstance(cell, float | np.floating) and math.isnan(cell))


def as_text(cell: Any) -> str:
    """Return a cell as text; empty if it is None.

    An integer that pandas stores as a float loses its ``.0``, so that a year is ``1999`` in every file format.

    Raises:
        PydanticCustomError: If the cell is neither text nor a usable number, too long, or has no visible character.
    """
    cell = _without_numpy(cell)
    if cell is None:
        return ""
    text = (cell if isinstance(cell, str) else _format_number(cell)).strip().strip(_STRAY).strip()
    if len(text) > LONGEST_FIELD:
        raise refusal(f"is too long: {len(text)} characters, at most {LONGEST_FIELD}: {text[:_QUOTE_LENGTH]!r}...")
    if text.isascii() and text.isprintable():
        return text  # most cells; skips the loop over characters
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and not character.isspace():
            raise refusal(f"holds a control character: {character!r} in {text[:_QUOTE_LENGTH]!r}")
    if text and all(map(_is_invisible, text)):
        raise refusal(f"has no visible character: {text[:_QUOTE_LENGTH]!a}")
    return text


def flat_texts(cell: Any, depth: int = 0) -> Iterator[str]:
    """Yield the non-empty texts of a cell: the cell itself, or the items of lists at any depth.

    Raises:
        PydanticCustomError: As in `as_text`, or if lists are nested too deep.
    """
    cell = _without_numpy(cell)
    if not isinstance(cell, _LISTS):
        if text := as_text(cell):
            yield text
        return
    if depth > DEEPEST:
        raise refusal(f"is nested too deep: more than {DEEPEST} lists inside each other")
    for item in cell:
        yield from flat_texts(item, depth + 1)


def as_list(cell: Any) -> list[Any]:
    """Return the items of a list, which may be written as text; none if the cell is empty.

    Raises:
        PydanticCustomError: If the cell is something else.
    """
    cell = _without_numpy(cell)
    if isinstance(cell, str) and cell.strip():
        text = cell.strip()
        cell = parse(text) if text.startswith("[") else text
    if is_missing(cell) or (isinstance(cell, str) and not cell.strip()):
        return []
    if not isinstance(cell, _LISTS):
        raise refusal(f"is not a list: {preview(cell)}")
    return list(cell)


def parse_nested(cell: Any) -> Any:
    """Parse text that contains a list, a tuple or a record; return every other cell unchanged.

    Text in brackets without quotation marks, such as the title ``[REC]``, is treated as a name. So is text in
    parentheses that Python does not read as a tuple.

    Raises:
        PydanticCustomError: If text looks like a list or a record and cannot be read as one.
    """
    cell = _without_numpy(cell)
    text = cell.strip() if isinstance(cell, str) else ""
    if (text[:1], text[-1:]) == ("(", ")"):
        return _tuple(text) or cell
    if (text[:1], text[-1:]) not in (("[", "]"), ("{", "}")):
        return cell
    try:
        return parse(text)
    except PydanticCustomError:
        if "'" in text or '"' in text or _depth(text) > DEEPEST:
            raise
        return cell


def _tuple(text: str) -> tuple[Any, ...] | None:
    """Return the value of a Python tuple; None for a name in parentheses."""
    try:
        value = parse(text)
    except PydanticCustomError:
        return None
    return value if isinstance(value, tuple) else None


def parse(text: str) -> Any:
    """Return the value of JSON, or of a Python literal, in a text.

    Raises:
        PydanticCustomError: If it is neither, too long, nested too deep, or a printed numpy array.
    """
    if len(text) > LONGEST_CELL:
        raise refusal(f"is too long: {len(text)} characters, at most {LONGEST_CELL}: {text[:_QUOTE_LENGTH]!r}...")
    if _depth(text) > DEEPEST:
        raise refusal(
            f"is nested too deep: more than {DEEPEST} brackets inside each other: {text[:_QUOTE_LENGTH]!r}..."
        )
    try:
        return json.loads(text)
    except ValueError:
        return _python_literal(text)


def _python_literal(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in a literal
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise refusal(f"is not a list or a record in JSON or Python: {text[:_QUOTE_LENGTH]!r}") from None
    if _lacks_commas(text):
        # Python would concatenate 'Lyon' 'Lyons'
        raise refusal(f"is a printed numpy array without commas, write it as JSON: {text[:_QUOTE_LENGTH]!r}")
    return value


def _lacks_commas(text: str) -> bool:
    kinds = (token.type for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type != tokenize.NL)
    last_kind = None
    for kind in kinds:
        if kind == last_kind == tokenize.STRING:
            return True
        last_kind = kind
    return False


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in "[{(":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]})":
            depth -= 1
    return deepest


def _without_numpy(cell: Any) -> Any:
    """Convert a cell of a numpy type to the Python type."""
    return cell.tolist() if isinstance(cell, np.ndarray | np.generic) else cell


def _format_number(cell: Any) -> str:
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        if not math.isfinite(cell if isinstance(cell, float) else 0):
            raise refusal(f"is not a number: {cell}")
        if abs(cell) > (_LARGEST if isinstance(cell, int) else _EXACT):
            raise refusal(f"is too large a number: {preview(cell)}")
        return str(int(cell) if cell == int(cell) else cell)
    kinds: Mapping[type, str] = {bool: "true or false", bytes: "bytes", dict: "a record"}
    kind = "a list" if isinstance(cell, _LISTS) else kinds.get(type(cell), f"a {type(cell).__name__}")
    raise refusal(f"is {kind}, not text: {preview(cell)}")


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE or character in _BLANK_LETTERS
