"""What readers share: records of a file, rows of the raw table, and values that may lie deep, or be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
"""One entry of a file as it stands there."""

Row = dict[str, Any]
"""One row of the raw table of facts, with columns of `prompts.schema.COLUMNS`."""


@dataclass(frozen=True)
class Options:
    """What a catalog entry may say of how records are read.

    Attributes:
        seed: Of drawing new objects, where a data set has none.
        rephrase_is_paraphrase: Whether the flat CounterFact's `rephrase_prompt` is taken as a paraphrase.
    """

    seed: int = 0
    rephrase_is_paraphrase: bool = False


def at(record: Any, *path: str) -> Any:
    """The value at a path of keys; empty text where there is none, so that the row is rejected for it by name."""
    for key in path:
        record = record.get(key) if isinstance(record, Mapping) else None
    return "" if record is None else record


def names(value: Any) -> tuple[str, ...]:
    """All names in a value: a text, or lists of texts at any depth, each name once, in order."""
    if isinstance(value, str):
        return (value.strip(),) if value.strip() else ()
    if isinstance(value, Sequence):
        return tuple(dict.fromkeys(name for item in value for name in names(item)))
    return () if value is None else (str(value),)


def completion(prompt: Any, answers: Any, subject: str = "") -> list[dict[str, Any]]:
    """A neighbour or a consequence, in a list; an empty list where its prompt or its answer is missing."""
    prompts, objects = names(prompt), names(answers)
    if not prompts or not objects:
        return []
    named = subject if subject and subject in prompts[0] else ""
    return [{"prompt": prompts[0], "target": objects[0], "aliases": objects[1:], "subject": named}]
