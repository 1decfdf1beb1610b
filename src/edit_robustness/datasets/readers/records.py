"""The common part of readers: records of a file, rows of the raw table, and values that may lie deep, or be missing.

Each function here reads a cell whatever file it came from (`prompts.cells`), and refuses one of the wrong type with
the path of its fields, so that `read_each` can give the reason for that record and go on with the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic_core import PydanticCustomError

from edit_robustness.prompts.cells import as_text, flat_texts, is_missing, parse_nested, preview, refusal
from edit_robustness.prompts.names import names_any
from edit_robustness.prompts.schema import UNREADABLE

T = TypeVar("T")

Record = Mapping[str, Any]
"""One entry of a file as it stands there."""

Row = dict[str, Any]
"""One row of the raw table of facts, with columns of `prompts.schema.COLUMNS`."""


@dataclass(frozen=True)
class Options:
    """Options of a catalog entry for how records are read.

    Attributes:
        seed: Of drawing new objects, where a data set has none.
        rephrase_is_paraphrase: Whether the flat CounterFact's `rephrase_prompt` is taken as a paraphrase.
    """

    seed: int = 0
    rephrase_is_paraphrase: bool = False


def read_each(records: Sequence[Record], reader: Callable[[Record], Row]) -> list[Row]:
    """Read each record as a row; one that cannot be read becomes a row with nothing but the reason."""
    return [_row(record, reader) for record in records]


def _row(record: Record, reader: Callable[[Record], Row]) -> Row:
    if UNREADABLE in record:
        return {UNREADABLE: record[UNREADABLE]}
    try:
        return reader(record)
    except PydanticCustomError as reason:
        return {UNREADABLE: str(reason)}


def at(record: Any, *path: str) -> Any:
    """Return the value at a path of keys, lists and records in text as their values; empty text if it is missing.

    Raises:
        PydanticCustomError: If something on the way is not a record.
    """
    for place, key in enumerate(path):
        record = read_with_path(parse_nested, record, path[:place])
        if is_missing(record) or record == "":
            return ""
        if not isinstance(record, Mapping):
            raise refusal(f"{'.'.join(path[:place])} is not a record: {preview(record)}")
        record = record.get(key)
    return "" if is_missing(record) else record


def text(record: Any, *path: str) -> str:
    """Return the text at a path of keys; a number as it is written, empty if it is missing.

    Raises:
        PydanticCustomError: If it is a list, a record or anything else that is not a text.
    """
    return read_with_path(as_text, at(record, *path), path)


def texts(record: Any, *path: str) -> tuple[str, ...]:
    """Return all texts at a path of keys: one, or lists of them at any depth, each text once, in order.

    Raises:
        PydanticCustomError: If one of them is not a text.
    """
    return read_with_path(names, at(record, *path), path)


def names(value: Any) -> tuple[str, ...]:
    """Return all texts in a value, also in a list that is written as text; each once, in order.

    Raises:
        PydanticCustomError: If something in it is not a text.
    """
    return tuple(dict.fromkeys(flat_texts(parse_nested(value))))


def read_with_path(reader: Callable[[Any], T], value: Any, path: Sequence[str]) -> T:
    """Read a value, with the path of its fields before the reason why it cannot be read."""
    try:
        return reader(value)
    except PydanticCustomError as reason:
        raise refusal(f"{'.'.join(path)} {reason}") from None


def completion(prompts: Sequence[str], objects: Sequence[str], subject: str = "") -> list[dict[str, Any]]:
    """Return a neighbour or a consequence, in a list; an empty list if its prompt or its answer is missing."""
    if not prompts or not objects:
        return []
    subject_name = subject if names_any(prompts[0], (subject,)) else ""
    return [{"prompt": prompts[0], "target": objects[0], "aliases": tuple(objects[1:]), "subject": subject_name}]
