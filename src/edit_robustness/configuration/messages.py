"""Messages about wrong settings, one line per setting: its name, its value, and what was expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from edit_robustness.text.closest import did_you_mean

_SHOWN = 3
"""Wrong settings of one block that are told at most; so a block of nothing but mistakes takes few lines."""

_LONGEST = 60
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden", "no_such_attribute")
_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")


class SettingError(ValueError):
    """Error for a parameter that does not exist, is missing, or has an invalid value."""


def describe_errors(where: str, error: ValidationError, kind: type, hint: str = "") -> str:
    """Return what is wrong with the settings of one block, one line for each wrong setting.

    Args:
        where: The block's name, ``methods.rome.smollm2``.
        error: What pydantic says.
        kind: The dataclass that the block is read as.
        hint: How to get the settings that are missing, as the end of a sentence.
    """
    errors = error.errors(include_url=False)
    absent = [_name(entry["loc"]) for entry in errors if entry["type"] in _MISSING]
    lines = [_line(where, entry, kind) for entry in errors if entry["type"] not in _MISSING]
    if absent:
        lines.append(f"{where}: {', '.join(absent)} must be set; {hint or 'add them'}")
    rest_line = [f"{where}: {len(lines) - _SHOWN} more settings are wrong"] if len(lines) > _SHOWN else []
    return "\n".join([*lines[:_SHOWN], *rest_line])


def _line(where: str, error: Mapping[str, Any], kind: type) -> str:
    name, value = _name(error["loc"]), error["input"]
    if error["type"] in _UNKNOWN:
        *blocks, last = map(str, error["loc"])
        return f"{_name([where, *blocks])}: no setting `{last}`; {did_you_mean(last, _names(kind, blocks))}"
    message = str(error["msg"]).removeprefix("Value error, ")
    if message.startswith(where.split(".", maxsplit=1)[0] + "."):
        return message  # a validator of ours that names the setting itself
    if not name:
        return f"{where}: {message}"
    # a validator of ours says the value itself where it matters
    if error["type"] == "tuple_type":
        message = "it must be a list (on the command line its elements are separated by spaces)"
    end = message if error["type"] == "value_error" else f"{_lower(message)}; it is {preview(value)}"
    return f"{where}.{name}: {end}"


def preview(value: Any) -> str:
    """Return the beginning of a value, as it would stand in YAML."""
    text = {"True": "true", "False": "false", "None": "null"}.get(repr(value), repr(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _name(place: Sequence[Any]) -> str:
    return ".".join(str(part) for part in place)


def _names(kind: Any, blocks: Sequence[str]) -> list[str]:
    """Return the settings of a block, or of the block inside it that the names lead to."""
    for block in blocks:
        if (origin := get_origin(kind)) is not None and issubclass(origin, Mapping):
            # a block of blocks under names of the user's: all are of one kind, or null
            (_, value) = get_args(kind)
            kind = next((choice for choice in (value, *get_args(value)) if is_dataclass(choice)), None)
            continue
        inner = getattr(kind, "__pydantic_fields__", {}).get(block)
        kind = inner.annotation if inner else None
    return list(getattr(kind, "__pydantic_fields__", {}))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
