"""Cells of raw tables: text, lists and records, whichever file they come from.

A Parquet file holds lists and structs, a CSV file writes them as JSON or as Python does (``['Lyon', 'Lyons']``). Both
are read as the same values. A cell that cannot be read raises a `PydanticCustomError`, which is a `ValueError`, with
the reason.
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
"""Characters; a longer text is a slip in the file, not a name or a prompt."""

LONGEST_CELL = 200_000
"""Characters of a list or a record that is written as text."""

DEEPEST = 30
"""Brackets inside brackets; deeper cells are refused before a parser recurses into them."""

_QUOTED = 40
_LARGEST = 2**63 - 1
_EXACT = 2**53
_STRAY = "\u200b\u2060\ufeff"
"""Zero-width space, word joiner and byte order mark: no part of a text where it begins or ends."""
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and symbols by category that leave nothing on the page: fillers of Hangul, the empty Braille cell."""
_INVISIBLE = ("Cf", "Mn", "Me", "Zs", "Zl", "Zp", "Cc")
_LISTS = (list, tuple)


def refusal(reason: str) -> PydanticCustomError:
    """Return an error with a reason, given as a value because pydantic would fill braces in a message."""
    return PydanticCustomError("fact", "{reason}", {"reason": reason})


def shown(cell: Any) -> str:
    """Return the beginning of a cell for a message, whatever it is."""
    try:
        return reprlib.repr(cell)[:_QUOTED]
    except (ValueError, RecursionError):  # a whole number of thousands of digits has no text
        return f"a {type(cell).__name__}"


def is_missing(cell: Any) -> bool:
    """Return whether a cell holds nothing; NaN is how pandas writes that."""
    return cell is None or (isinstance(cell, float | np.floating) and math.isnan(cell))


def as_text(cell: Any) -> str:
    """Return a cell as text; empty if it is None.

    A whole number of pandas loses its ``.0``, so that a year is ``1999`` in each format.

    Raises:
        PydanticCustomError: If the cell is neither text nor a usable number, too long, or has no visible character.
    """
    cell = _plain(cell)
    if cell is None:
        return ""
    text = (cell if isinstance(cell, str) else _written(cell)).strip().strip(_STRAY).strip()
    if len(text) > LONGEST_FIELD:
        raise refusal(f"is too long: {len(text)} characters, at most {LONGEST_FIELD}: {text[:_QUOTED]!r}...")
    if text.isascii() and text.isprintable():
        return text  # most cells, without a look at each character
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and not character.isspace():
            raise refusal(f"holds a control character: {character!r} in {text[:_QUOTED]!r}")
    if text and all(map(_is_invisible, text)):
        raise refusal(f"has no visible character: {text[:_QUOTED]!a}")
    return text


def flat_texts(cell: Any, depth: int = 0) -> Iterator[str]:
    """Yield the texts of a cell that are not empty: itself, or those of lists at any depth.

    Raises:
        PydanticCustomError: As `as_text` does, or if lists lie too deep.
    """
    cell = _plain(cell)
    if not isinstance(cell, _LISTS):
        if text := as_text(cell):
            yield text
        return
    if depth > DEEPEST:
        raise refusal(f"is nested too deep: more than {DEEPEST} lists inside each other")
    for item in cell:
        yield from flat_texts(item, depth + 1)


def as_list(cell: Any) -> list[Any]:
    """Return the items of a list, also of one written as text; none if the cell is empty.

    Raises:
        PydanticCustomError: If the cell is something else.
    """
    cell = _plain(cell)
    if isinstance(cell, str) and cell.strip():
        text = cell.strip()
        cell = parsed(text) if text.startswith("[") else text
    if is_missing(cell) or (isinstance(cell, str) and not cell.strip()):
        return []
    if not isinstance(cell, _LISTS):
        raise refusal(f"is not a list: {shown(cell)}")
    return list(cell)


def nested(cell: Any) -> Any:
    """Return a list, a tuple or a record that is written as text as its value, and everything else as it is.

    Text in brackets that holds no quotation mark, such as the title ``[REC]``, is a name and no list; so is text in
    parentheses that Python does not read as a tuple.

    Raises:
        PydanticCustomError: If text looks like a list or a record and cannot be read as one.
    """
    cell = _plain(cell)
    text = cell.strip() if isinstance(cell, str) else ""
    if (text[:1], text[-1:]) == ("(", ")"):
        return _tuple(text) or cell
    if (text[:1], text[-1:]) not in (("[", "]"), ("{", "}")):
        return cell
    try:
        return parsed(text)
    except PydanticCustomError:
        if "'" in text or '"' in text or _depth(text) > DEEPEST:
            raise
        return cell


def _tuple(text: str) -> tuple | None:
    """A tuple that is written as Python does; None for a name in parentheses."""
    try:
        value = parsed(text)
    except PydanticCustomError:
        return None
    return value if isinstance(value, tuple) else None


def parsed(text: str) -> Any:
    """Return the value of JSON, or of a Python literal, in a text.

    Raises:
        PydanticCustomError: If it is neither, too long, nested too deep, or a printed numpy array.
    """
    if len(text) > LONGEST_CELL:
        raise refusal(f"is too long: {len(text)} characters, at most {LONGEST_CELL}: {text[:_QUOTED]!r}...")
    if _depth(text) > DEEPEST:
        raise refusal(f"is nested too deep: more than {DEEPEST} brackets inside each other: {text[:_QUOTED]!r}...")
    try:
        return json.loads(text)
    except ValueError:
        return _python_literal(text)


def _python_literal(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes in a literal
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise refusal(f"is not a list or a record in JSON or Python: {text[:_QUOTED]!r}") from None
    if _lacks_commas(text):
        # Python joins 'Lyon' 'Lyons' to one text
        raise refusal(f"is a printed numpy array without commas, write it as JSON: {text[:_QUOTED]!r}")
    return value


def _lacks_commas(text: str) -> bool:
    kinds = (token.type for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type != tokenize.NL)
    before = None
    for kind in kinds:
        if kind == before == tokenize.STRING:
            return True
        before = kind
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


def _plain(cell: Any) -> Any:
    """A cell without numpy's types."""
    return cell.tolist() if isinstance(cell, np.ndarray | np.generic) else cell


def _written(cell: Any) -> str:
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        if not math.isfinite(cell if isinstance(cell, float) else 0):
            raise refusal(f"is not a number: {cell}")
        if abs(cell) > (_LARGEST if isinstance(cell, int) else _EXACT):
            raise refusal(f"is too large a number: {shown(cell)}")
        return str(int(cell) if cell == int(cell) else cell)
    kinds: Mapping[type, str] = {bool: "true or false", bytes: "bytes", dict: "a record"}
    kind = "a list" if isinstance(cell, _LISTS) else kinds.get(type(cell), f"a {type(cell).__name__}")
    raise refusal(f"is {kind}, not text: {shown(cell)}")


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE or character in _BLANK_LETTERS
