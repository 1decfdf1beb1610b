"""The record of a run, `run.json` in its folder: what it was made from, when, by which commands and what came out."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edit_robustness.machine import cpu_seconds
from edit_robustness.runs.commands import command_again
from edit_robustness.runs.folders import ENDED, RECORD, read_record
from edit_robustness.storage import make_folder, write_text
from edit_robustness.text.secrets import without_secrets

RUNNING = "running"
STOPPED = "stopped"
MERGED = ("models", "methods", "n_facts")
"""Entries about the models that are recorded while the run works. A resumed run keeps those of its earlier commands."""


class RunRecord:
    """The record of a run while one of its commands runs.

    A run has one command, or several if it was resumed. Each is a session in the record. Two commands of one run may
    run at the same time (one per model), so the file is read again before it is written.

    Args:
        folder: The run's folder.
        about: What is recorded of the run as a whole, with `id`, `pipeline`, `environment` and `parameters`.
        command: The command line as typed; None if the run was started in Python.
        options: The options that leave nodes out.
    """

    def __init__(
        self, folder: Path, about: Mapping[str, Any], command: str | None, options: Mapping[str, Sequence[str]]
    ):
        self._folder = folder
        self._about = dict(without_secrets(dict(about)))
        self._clock, self._cpu = time.monotonic(), cpu_seconds()
        self._learned: dict[str, Any] = {}
        self._session: dict[str, Any] = {
            "started": now(),
            # tells this command's session from others that started in the same second
            "key": os.urandom(4).hex(),
            "command": command,
            "options": {name: list(values) for name, values in options.items()},
            "status": RUNNING,
            "wrote": False,
        }

    @property
    def content(self) -> dict[str, Any]:
        """Return the whole record, with the sessions of earlier commands."""
        earlier = read_record(self._folder)
        other_sessions = [
            session for session in earlier.get("sessions", ()) if session.get("key") != self._session["key"]
        ]
        sessions = [*other_sessions, {**self._session, **self._times()}]
        by_model = {name: {**(earlier.get(name) or {}), **self._learned.get(name, {})} for name in MERGED}
        by_model["methods"] = {**self._about.get("methods", {}), **by_model["methods"]}
        earlier_results = {name: earlier[name] for name in ("headline", "failed_items") if name in earlier}
        new_results = {name: self._learned[name] for name in earlier_results | self._learned if name in self._learned}
        sources = sorted({*earlier.get("source_runs", ()), *self._about.get("source_runs", ())})
        return {
            **self._about,
            "status": sessions[-1]["status"],
            "command": sessions[-1]["command"],
            "repeat": self._repeat(sessions),
            "started": min(session["started"] for session in sessions),
            "finished": sessions[-1].get("finished"),
            "seconds": round(sum(session.get("seconds", 0) for session in sessions), 1),
            "cpu_seconds": round(sum(session.get("cpu_seconds", 0) for session in sessions), 1),
            "source_runs": sources,
            **earlier_results,
            **new_results,
            **by_model,
            "sessions": sessions,
        }

    def learn(self, name: str, value: Any) -> None:
        """Record what was found during the run; of `MERGED` one model's beside those of other models."""
        if name in MERGED:
            self._learned.setdefault(name, {}).update(without_secrets(value))
        else:
            self._learned[name] = value

    def wrote(self) -> None:
        """Record that a table or a page was written to the run's folder."""
        self._session["wrote"] = True

    @property
    def has_written(self) -> bool:
        """Return whether a table or a page was written by this command."""
        return bool(self._session["wrote"])

    def end(self, status: str = ENDED) -> None:
        """Record the end of the command, and write the file."""
        self._session.update(status=status, finished=now(), **self._times())
        self.write()

    def write(self) -> None:
        """Write the file."""
        make_folder(self._folder)
        write_text(self._folder / RECORD, json.dumps(self.content, indent=2, ensure_ascii=False, default=str) + "\n")

    def _times(self) -> dict[str, float]:
        if "finished" in self._session:
            return {}
        return {
            "seconds": round(time.monotonic() - self._clock, 1),
            "cpu_seconds": round(cpu_seconds() - self._cpu, 1),
        }

    def _repeat(self, sessions: Sequence[Mapping[str, Any]]) -> str:
        """Return the command that repeats the run; of several with other options, one that leaves nothing out."""
        options = [session.get("options") or {} for session in sessions]
        common_options = options[0] if all(session == options[0] for session in options) else {}
        about = self._about
        names = [about["pipeline"]] if isinstance(about["pipeline"], str) else list(about["pipeline"])
        return command_again(names, about.get("environment"), common_options, about.get("parameters") or {})


def now() -> str:
    """Return the time in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
