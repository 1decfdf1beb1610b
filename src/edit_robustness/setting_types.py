"""Rules that all blocks of settings share: no unknown names, finite numbers, and one way to write a list."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict

T = TypeVar("T")

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Configuration of every dataclass of settings: it refuses unknown names, and numbers that are infinite or NaN."""


def read_list(value: Any) -> Any:
    """Read a list as it can be written on the command line, which cuts parameters at commas.

    A text is split at spaces and commas, and a single number is a list of one; anything else stays as it is. Every
    setting that is a list has the type `ListSetting`.
    """
    if isinstance(value, str):
        return tuple(re.split(r"[\s,]+", value.strip(" ,\t\n"))) if value.strip(" ,\t\n") else ()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value,)
    return value


ListSetting = Annotated[tuple[T, ...], BeforeValidator(read_list)]
"""A setting that is a list: `ListSetting[str]` or `ListSetting[PositiveInt]`, read by `read_list`."""
