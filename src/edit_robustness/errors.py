"""How an error is told on the command line: in one line, without a framework's wrapping and without credentials."""

from __future__ import annotations

import re
import traceback

from edit_robustness.text.secrets import redact

AGAIN = "run the same command again: it goes on where it stopped"
"""Note on an error that stopped a run halfway."""

_DATA_SET, _NODE = "data set: ", "node: "
_WRAPPED = re.compile(
    r"^\s*([^\s:]+: )?Failed (while|during)|^An exception occurred when parsing config|Failed to instantiate dataset"
    r"|must only contain arguments valid for|cannot be instantiated"
)
_NAMED = re.compile(r"[Dd]ataset '([^']+)'")
_PYDANTIC = (
    (re.compile(r"\s*For further information visit \S+"), ""),
    (re.compile(r"\[type=value_error, input_value=.*?, input_type=[\w.]+\]", re.DOTALL), ""),
    (re.compile(r"\[type=[\w.]+, input_value=(.*?), input_type=[\w.]+\]", re.DOTALL), r"(it is \1)"),
    (re.compile(r"\bValue error, "), ""),
    (re.compile(r"\d+ validation errors? for (\S+)"), r"\1:"),
    (re.compile(r"\s+full_key: (\S+)\s+object_type=\w+"), r" (in \1)"),
    (re.compile(r"Failed to instantiate (\w+) for parameter '[^']+': (\1:)?"), ""),
)
"""Messages of pydantic, OmegaConf and Kedro that are written for programmers, and their replacements for users."""

_NO_MEMORY = ("MemoryError", "OutOfMemoryError")
"""Of Python, and of torch, which this module does not import."""

_STORES = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "azure")
"""Libraries whose errors speak of an object store that is not reached, or that refuses."""

_LONGEST = 2000


class RunIncomplete(Exception):
    """A run that came to its end with items that failed. Its message is shown as it is, and no traceback is kept."""


def one_line(text: str) -> str:
    """Return the lines of a text as one."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def add_notes(error: BaseException, data_set: str | None, halfway: bool) -> None:
    """Note on an error which data set was being loaded or saved, `name (path)`, and that a run can go on from there."""
    if data_set is not None:
        error.add_note(_DATA_SET + data_set)
    if halfway:
        error.add_note(AGAIN)


def add_node(error: BaseException, node: str) -> None:
    """Note on an error which node it is of, because several may run at once."""
    error.add_note(_NODE + node)


def node_of(error: BaseException) -> str | None:
    """Return the node that is noted on an error."""
    names = [note.removeprefix(_NODE) for note in getattr(error, "__notes__", ()) if note.startswith(_NODE)]
    return names[-1] if names else None


def is_halfway(error: BaseException) -> bool:
    """Return whether an error stopped a run halfway."""
    return AGAIN in getattr(error, "__notes__", ())


def is_expected(error: BaseException) -> bool:
    """Return whether an error speaks of settings, files or the machine, and not of a defect in the code."""
    cause = _unwrap(error)[0]
    rooms = {kind.__module__.split(".")[0] for kind in type(cause).__mro__}
    # all that these raise by themselves is about a configuration, a catalog or a command; Kedro also by a KeyError
    our_rooms = rooms & {"edit_robustness", "kedro", "yaml", "omegaconf", *_STORES}
    return (
        isinstance(cause, ValueError | OSError)
        or bool(our_rooms)
        or type(cause).__name__ in _NO_MEMORY
        or _raised_in(cause).startswith(("kedro.", "fsspec."))
    )


def _raised_in(error: BaseException) -> str:
    """Return the module that raised an error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return frames[-1].f_globals.get("__name__", "") if frames else ""


def describe(error: BaseException) -> str:
    """Return what an error says, in one line that names the data set it came from."""
    cause, data_set = _unwrap(error)
    text = _text(cause)
    for pattern, instead in _PYDANTIC:
        text = pattern.sub(instead, text)
    text = one_line(text)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]} ... ({len(text) - _LONGEST} more characters)"
    text = redact(text)
    if data_set is None or data_set in text:
        return text
    name, _, path = data_set.partition(" (")
    # a file is named once, also by an address without its credentials
    path = redact(path.removesuffix(")"))
    return f"{name if not path or path in text else f'{name} ({path})'}: {text}"


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if not is_expected(error) or not str(error).strip():
        return f"{type(error).__name__}: {error}"
    # str() of a KeyError is in quotes
    return str(error.args[0]) if isinstance(error, KeyError) else str(error)


def _unwrap(error: BaseException) -> tuple[BaseException, str | None]:
    """Return the error that Kedro wrapped, and the name of the data set, if there is one."""
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith(_DATA_SET)]
    data_set = notes[-1].removeprefix(_DATA_SET) if notes else None
    while error.__cause__ is not None and _is_wrapping(error):
        match = _NAMED.search(str(error))
        data_set = match[1] if match else data_set
        error = error.__cause__
    return error, data_set


def _is_wrapping(error: BaseException) -> bool:
    if not type(error).__module__.startswith("kedro."):
        return False
    text = str(error)
    # the catalog writes a data set's name before the message
    ends_in_cause = text.endswith(f": {error.__cause__}") and " " not in text.removesuffix(f": {error.__cause__}")
    return ends_in_cause or bool(_WRAPPED.search(text)) or type(error).__name__ == "KedroCliError"
