"""Arguments of datasets, checked when the catalog makes them: a slip there is told before any work, by its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import PurePath
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError, validate_call

C = TypeVar("C", bound=Callable[..., None])

_SECRET = "credentials"


def checked(init: C) -> C:
    """Make a constructor refuse arguments of other types than it states, and those that it does not have.

    Raises:
        ValueError: Naming each argument that is wrong, with its value and what is expected.
    """
    call = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(init)
    names = list(inspect.signature(init).parameters)

    @wraps(init)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            call(self, *map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})
        except ValidationError as error:
            # not `from error`, which holds the credentials in the open
            raise ValueError("; ".join(_wrong(each, names) for each in error.errors())) from None

    # Kedro reads the arguments off it
    wrapper.__signature__ = inspect.signature(init)  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, PurePath) else value


def _wrong(error: Any, names: list[str]) -> str:
    first, *inside = error["loc"]
    where = ".".join(map(str, (names[first] if isinstance(first, int) else first, *inside)))
    if error["type"] == "unexpected_keyword_argument":
        return f"{where}: there is no such setting; there are {', '.join(names[1:])}"
    if error["type"].startswith("missing"):
        return f"{where}: it is missing"
    value = "" if where.split(".")[0] == _SECRET else f" (it is {error['input']!r})"
    return f"{where}: {error['msg']}{value}"
