"""Checks of datasets' arguments when the catalog is created. A misspelt argument is reported before any work."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import PurePath
from typing import Annotated, Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, validate_call

C = TypeVar("C", bound=Callable[..., None])
K = TypeVar("K", bound="Kind")

_SECRET = "credentials"


class Kind(BaseModel):
    """The settings of one kind of source, such as a model in a local folder.

    A subclass has a field `kind` of one literal, which tells the kinds of a union apart.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def settings(cls) -> list[str]:
        """Return the names of the settings of this kind."""
        return [name for name in cls.model_fields if name != "kind"]

    @classmethod
    def required_settings(cls) -> list[str]:
        """Return the names of the settings without a default."""
        return [name for name in cls.settings() if cls.model_fields[name].is_required()]


class Kinds(Generic[K]):
    """The kinds of source that a dataset can have.

    Args:
        *kinds: Their settings, told apart by the field `kind`.
    """

    def __init__(self, *kinds: type[K]):
        union: Any = kinds[0]
        for kind in kinds[1:]:
            union |= kind
        self._adapter: TypeAdapter[K] = TypeAdapter(Annotated[union, Field(discriminator="kind")])
        self._kinds = {get_args(kind.model_fields["kind"].annotation)[0]: kind for kind in kinds}

    @property
    def names(self) -> list[str]:
        """Return every kind, in order."""
        return list(self._kinds)

    @property
    def settings(self) -> list[str]:
        """Return the settings of all kinds, each once."""
        return list(dict.fromkeys(name for kind in self._kinds.values() for name in kind.settings()))

    def read(self, kind: str, settings: Mapping[str, Any], owner: str, common: tuple[str, ...] = ()) -> K:
        """Return the settings of one kind; those that are None count as not given.

        Args:
            kind: One of `names`.
            settings: Values by name.
            owner: What errors call something of this kind.
            common: Settings that every kind takes, for errors.

        Raises:
            ValueError: Naming, in one line, a setting that the kind does not take or lacks, or each wrong value.
        """
        values = {name: value for name, value in settings.items() if value is not None}
        form = self._kinds[kind]
        for name in values:
            if name not in form.settings():
                raise ValueError(f"{owner} takes no `{name}`; it takes {', '.join((*common, *form.settings()))}")
        for name in form.required_settings():
            if not values.get(name):
                raise ValueError(f"{owner} needs `{name}:`")
        try:
            return self._adapter.validate_python({**values, "kind": kind})
        except ValidationError as error:
            # not `from error`, which holds the credentials in the open
            raise ValueError("; ".join(_explain_error(e["loc"][1:], e) for e in error.errors())) from None


def validate_arguments(init: C) -> C:
    """Make a constructor refuse arguments of other types than it states, and those that it does not have.

    Raises:
        ValueError: Naming each argument that is wrong, with its value and what is expected.
    """
    return validate_arguments_with(None)(init)


def validate_arguments_with(kinds: Kinds[Any] | None) -> Callable[[C], C]:
    """Return `validate_arguments` for a constructor that takes the settings of these kinds as keywords (`**settings`).

    They are arguments in the constructor's signature, from which Kedro takes their names.
    """

    def decorator(init: C) -> C:
        call = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(init)
        signature = _signature(init, kinds)
        names = list(signature.parameters)
        open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())

        @wraps(init)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
            if strangers := [] if open_ended else [name for name in kwargs if name not in names]:
                raise ValueError("; ".join(_explain_unknown(name, names) for name in strangers))
            try:
                call(self, *map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})
            except ValidationError as error:
                # not `from error`, which holds the credentials in the open
                raise ValueError(
                    "; ".join(_explain_error(_locate(e["loc"], names), e) for e in error.errors())
                ) from None

        # Kedro reads the arguments off it
        wrapper.__signature__ = signature  # type: ignore[attr-defined]
        return wrapper  # type: ignore[return-value]

    return decorator


def _signature(init: Callable[..., None], kinds: Kinds[Any] | None) -> inspect.Signature:
    """Return a constructor's signature, with the settings of the kinds in place of its `**settings`."""
    signature = inspect.signature(init)
    if kinds is None:
        return signature
    parameters = [
        parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD
    ]
    kind_settings = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in kinds.settings]
    return signature.replace(parameters=[*parameters, *kind_settings])


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, PurePath) else value


def _locate(location: tuple[Any, ...], names: list[str]) -> tuple[Any, ...]:
    """Return where an error is, an argument by its name if it was given by its place."""
    first, *inside = location
    return (names[first] if isinstance(first, int) else first, *inside)


def _explain_unknown(name: str, names: list[str]) -> str:
    return f"{name}: there is no such setting; there are {', '.join(names[1:])}"


def _explain_error(location: tuple[Any, ...], error: Any) -> str:
    where = ".".join(map(str, location))
    if error["type"].startswith("missing"):
        return f"{where}: it is missing"
    value = "" if where.split(".")[0] == _SECRET else f" (it is {error['input']!r})"
    return f"{where}: {error['msg']}{value}"
