"""The JSON form of a type, derived from its annotations.

Files and the cells of tables share it, so that a field of a record stands in one place: its dataclass.
"""

from __future__ import annotations

import json
from typing import Any, Generic, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

T = TypeVar("T")

# `constants`: log-probabilities may be infinite, and JSON as Python writes it has a word for that.
# `forbid`: a field that the dataclass does not have is of another version, and would be lost in silence.
_CONFIG = ConfigDict(ser_json_inf_nan="constants", extra="forbid")


class JsonForm(Generic[T]):
    """Values of one type as JSON and back, or None.

    Args:
        kind: The type: a dataclass, or whatever of dataclasses, containers and plain values. It must be importable by
            the names in its annotations.
    """

    def __init__(self, kind: Any):
        # `| None` takes the configuration, which pydantic refuses for a bare dataclass
        self._adapter: TypeAdapter[T | None] = TypeAdapter(kind | None, config=_CONFIG)

    def text(self, value: T | None) -> str:
        """Return a value as one line of JSON.

        Raises:
            PydanticSerializationError: If the value is not of the type, so that it would not be read back as it is.
        """
        return self._adapter.dump_json(value, warnings="error").decode("utf-8")

    def value(self, text: str | bytes) -> T | None:
        """Return the value in a text; the inverse of `text`.

        Raises:
            ValueError: Naming, in one line, each part that is not of the type.
        """
        try:
            return self._adapter.validate_json(text)
        except ValidationError as error:
            raise ValueError(_one_line(error)) from error

    def cell(self, value: T | None) -> str:
        """Return a value as the JSON text of a cell, with the spaces that Python's `json` writes."""
        plain = self._adapter.dump_python(value, mode="json", warnings="error")
        return json.dumps(plain, ensure_ascii=False)


def _one_line(error: ValidationError) -> str:
    return "; ".join(": ".join(filter(None, [".".join(map(str, e["loc"])), e["msg"]])) for e in error.errors())
