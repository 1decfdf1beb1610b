"""The command line of a run: as typed, and as it can be typed again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from edit_robustness.text.secrets import HIDDEN, is_secret, redact, without_secrets

OPTIONS = {
    "from_nodes": "--from-nodes",
    "to_nodes": "--to-nodes",
    "node_names": "--nodes",
    "from_inputs": "--from-inputs",
    "to_outputs": "--to-outputs",
    "tags": "--tags",
    "namespaces": "--namespaces",
}
"""Options that leave nodes out of a run, by their names in Kedro's hooks."""

_NAME = re.compile(r"(?P<name>[A-Za-z_][\w.\-]*)\s*[=:]\s*")
_VALUE = re.compile(r"\"[^\"]*\"|'[^']*'|[^,}\]]+")


def typed_command(words: Sequence[str]) -> str | None:
    """Return the command line of a run as it was typed, quoted for a shell and without credentials.

    Args:
        words: The program and its arguments, as in `sys.argv`.

    Returns:
        None if the run was not started from the command line.
    """
    # `python -m kedro` stands there as it is, and a script as its path
    program = Path(words[0].split()[-1]) if words and words[0] else Path()
    if program.stem != "kedro" or "run" not in words[1:]:
        return None
    return shlex.join(["kedro", *map(shown_argument, words[1:])])


def shown_argument(argument: str) -> str:
    """Return an argument of a command without the credentials in it: `--params=judge.api_key=***`."""
    parts, end = [], 0
    for match in _NAME.finditer(argument):
        if match.start() < end or not _is_secret(match["name"]):
            continue
        value = _VALUE.match(argument, match.end())
        if value:
            parts += [argument[end : match.end()], HIDDEN]
            end = value.end()
    return redact("".join(parts) + argument[end:])


def options_of(run_params: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the options of a run that leave nodes out of it, as written on the command line."""
    return {option: [str(value) for value in run_params[key]] for key, option in OPTIONS.items() if run_params.get(key)}


def command_again(
    pipelines: Sequence[str], env: str | None, options: Mapping[str, Sequence[str]], parameters: Mapping[str, Any]
) -> str:
    """Return the command that repeats a run, quoted for a shell.

    Args:
        pipelines: Names of the pipelines; empty for the default.
        env: The environment; None for the default.
        options: The options that leave nodes out, with their values.
        parameters: What was given for this run only, without credentials.
    """
    words = ["kedro", "run"]
    if env:
        words.append(f"--env={env}")
    if pipelines:
        words.append(f"--pipeline{'s' * (len(pipelines) > 1)}={','.join(pipelines)}")
    words += [f"{option}={','.join(values)}" for option, values in options.items()]
    if parameter_text := ",".join(f"{name}={_format_value(value)}" for name, value in flatten(parameters)):
        words.append(f"--params={parameter_text}")
    return shlex.join(words)


def flatten(parameters: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the single parameters of a nested mapping by dotted name."""
    for name, value in parameters.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def hidden_parameters(parameters: Mapping[str, Any], secret: bool = False) -> dict[str, Any]:
    """Return parameters with the values of those hidden whose names, or a name around them, say that they are secret.

    Numbers are hidden, too: a key may consist of digits.
    """
    public_parameters: dict[str, Any] = {}
    for name, value in parameters.items():
        below = secret or is_secret(str(name))
        if isinstance(value, Mapping):
            public_parameters[str(name)] = hidden_parameters(value, below)
        else:
            public_parameters[str(name)] = (
                HIDDEN if below and not isinstance(value, bool | None) else without_secrets(value)
            )
    return public_parameters


def _is_secret(name: str) -> bool:
    return any(is_secret(part) for part in name.split("."))


def _format_value(value: Any) -> str:
    """Write a value as `--params` reads it: a list with spaces, and a text in quotes if it reads as another type."""
    if isinstance(value, list | tuple):
        return " ".join(map(_format_value, value))
    if not isinstance(value, str):
        return yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("...\n").strip()
    try:
        is_plain = yaml.safe_load(value) == value
    except yaml.YAMLError:
        is_plain = False
    return value if is_plain else yaml.safe_dump(value, default_style='"', width=float("inf")).strip()
