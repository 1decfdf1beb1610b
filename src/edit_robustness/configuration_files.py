"""Errors in the files of `conf/` themselves, by file and line: Kedro tells little of it, or nothing."""

from __future__ import annotations

import io
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf

from edit_robustness.errors import one_line

_ENDINGS = (".yml", ".yaml", ".json")
_HINTS = {
    r"'\t'": "indent with spaces, not with tabs",
    "mapping values are not allowed": "the line above may lack its colon, or a text with a colon its quotes",
    "could not find expected ':'": "write `name: value`, with a colon and a space",
    "duplicate key": "keep one of the two",
}
"""Ways out, by what the parser says."""


def wrong_file(error: BaseException, project: Path) -> str | None:
    """Return what is wrong with a file of the configuration, if an error came from reading one.

    Args:
        error: The error of a command.
        project: The project's folder.
    """
    if not isinstance(error, yaml.YAMLError) and not _while_reading(error):
        return None
    return next(_problems(project), None)


def _while_reading(error: BaseException) -> bool:
    """Return whether an error, or its cause, was raised inside Kedro's configuration loader."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    inside = any(frame.f_globals.get("__name__", "").startswith("kedro.config") for frame in frames)
    return inside or (error.__cause__ is not None and _while_reading(error.__cause__))


def _problems(project: Path) -> Iterator[str]:
    for path in sorted((project / "conf").rglob("*")):
        if path.suffix in _ENDINGS and path.is_file() and (problem := _problem(path)):
            yield f"{path.relative_to(project)}{problem}"


def _problem(path: Path) -> str | None:
    """Return the line that cannot be read and the reason; None if the file can be read."""
    try:
        content = OmegaConf.load(io.StringIO(path.read_bytes().decode("utf-8")))
    except UnicodeDecodeError as error:
        return f": it is no text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
    except yaml.MarkedYAMLError as error:
        message = one_line(f"{error.context or ''} {error.problem or ''}")
        mark = error.problem_mark or error.context_mark
        hint = next((f"; {way}" for sign, way in _HINTS.items() if sign in message), "")
        return f"{f', line {mark.line + 1}' if mark else ''}: {message}{hint}"
    except (yaml.YAMLError, OSError, ValueError) as error:
        return f": {one_line(str(error))}"
    if not isinstance(content, DictConfig | Mapping):
        return ": it must hold names with their values, `name: value`, and holds a list"
    return None
