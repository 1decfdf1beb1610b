"""Details of a run that a reader needs to repeat it, from its record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

KEY = "run"
"""Name of the record of the whole run among what each model's run recorded of itself."""

HASH_SHOWN = 16
"""Characters of a hash or a commit on the page; run.json has all of them."""


def run_details(runs: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return what is needed to repeat a run, as names and texts; empty if it was not recorded.

    Args:
        runs: What each model's run recorded of itself, one of them with the record of the whole run under `KEY`.
    """
    record = next((run[KEY] for run in runs if isinstance(run.get(KEY), Mapping)), None)
    return [(name, text) for name, text in _lines(record) if text] if record else []


def _lines(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Run", str(record.get("id") or "")
    yield "Command that repeats it", str(record.get("repeat") or "")
    yield "Command as typed", _format_command(record)
    yield "Started", str(record.get("started") or "")
    yield "Pipeline", pipeline_of(record)
    yield "Environment", str(record.get("environment") or "")
    yield "Results of earlier runs", ", ".join(record.get("source_runs") or ())
    yield "Project", _project(record.get("project"))
    yield "Facts", _facts(record.get("facts") or {})
    yield "Seeds", ", ".join(f"{name}: {value}" for name, value in (record.get("seeds") or {}).items())
    yield "Kinds of prompt", ", ".join(map(str, record.get("kinds") or ()))
    yield "Machine", str((record.get("machine") or {}).get("name") or "")
    yield "Python", str((record.get("versions") or {}).get("python") or "")


def pipeline_of(record: Mapping[str, Any]) -> str:
    """Return the names of a run's pipelines."""
    names = record.get("pipeline") or ""
    return names if isinstance(names, str) else ", ".join(map(str, names))


def _format_command(record: Mapping[str, Any]) -> str:
    command = str(record.get("command") or "")
    return "" if command == record.get("repeat") else command


def _project(state: Mapping[str, Any] | None) -> str:
    if not state:
        return ""
    number = int(state.get("changed_files") or 0)
    changes = f", with {number} changed {'file' if number == 1 else 'files'}" if state.get("dirty") else ""
    return f"commit {str(state.get('commit'))[:HASH_SHOWN]}{changes}"


def _facts(facts: Mapping[str, Any]) -> str:
    if not facts.get("source"):
        return ""
    checksum = f", SHA-256 {facts['sha256'][:HASH_SHOWN]}" if facts.get("sha256") else ""
    limit = f", at most {facts['limit']:,} of them" if facts.get("limit") else ""
    return f"{facts['source']}{checksum}{limit}"
