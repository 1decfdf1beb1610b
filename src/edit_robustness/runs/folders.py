"""The folders of runs: one per run in `08_reporting`, named by the run's id, and the link `latest` to one of them.

The catalog says `08_reporting/latest/scores.parquet`. A run writes to its own folder instead, and reads there what it
wrote before. Without a run a table is read from the last run of a pipeline that makes it.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from edit_robustness.storage import checksum, write_text

logger = logging.getLogger(__name__)

REPORTING = "08_reporting"
"""Name of the folder of reports in the data folder."""

RAW = "01_raw"
"""Name of the folder of the user's inputs in the data folder."""

MODELS = "07_model_output"
"""Name of the folder in the data folder that has a folder for each model."""

PROVENANCE = ".provenance"
"""Name of the folders with the records of what data sets were made from."""

LATEST = "latest"
"""Name of the link to the folder of the last run that ended and wrote a table or a page."""

POINTER = "latest.txt"
"""Name of the file that contains the id of that run, on file systems without symbolic links."""

RECORD = "run.json"
"""Name of a run's record in its folder."""

INDEX = "index.html"
"""Name of the page that lists all runs."""

_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")
_HASH = 8
"""Characters of the hash in an id: two runs that start in the same second rarely share them."""


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Return a short hash of the settings of a run, whatever their order."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False, default=str)
    return checksum(text.encode())[:_HASH]


def new_id(start: datetime, of_settings: str) -> str:
    """Return an id that can be read and sorted: the start in UTC and the hash of the settings."""
    return f"{start.astimezone(UTC):%Y%m%d-%H%M%S}-{of_settings}"


def is_id(name: str) -> bool:
    """Return whether the name of a folder is the id of a run."""
    return bool(_ID.fullmatch(name))


class RunFolders:
    """The runs of one data folder.

    Args:
        reporting: The folder `08_reporting`, which need not exist.
    """

    def __init__(self, reporting: Path):
        self.reporting = reporting

    def folder(self, run: str) -> Path:
        """Return the folder of a run."""
        return self.reporting / run

    def records(self) -> list[dict[str, Any]]:
        """Return the records of all runs, the oldest first; a folder without a readable record is left out."""
        if not self.reporting.is_dir():
            return []
        names = sorted(path.name for path in self.reporting.iterdir() if is_id(path.name))
        return [record for name in names if (record := read_record(self.folder(name))).get("id") == name]

    def find(self, of_settings: str) -> str | None:
        """Return the id of the last run with settings of this hash; None if there was no such run."""
        ids = [str(record["id"]) for record in self.records() if record["id"].endswith(f"-{of_settings}")]
        return ids[-1] if ids else None

    def latest(self) -> str | None:
        """Return the id of the run that `latest` points to; None if it points to none."""
        link, pointer = self.reporting / LATEST, self.reporting / POINTER
        if link.is_symlink():
            name = Path(os.readlink(link)).name
        else:
            name = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else ""
        return name if is_id(name) and self.folder(name).is_dir() else None

    def point(self, run: str) -> None:
        """Let `latest` point to a run. What has this name and is not a link is renamed, never removed."""
        link, part = self.reporting / LATEST, self.reporting / f"{LATEST}.{os.getpid()}.part"
        part.unlink(missing_ok=True)
        try:
            # relative, so that the data folder can be moved
            part.symlink_to(run, target_is_directory=True)
        except (OSError, NotImplementedError) as error:
            logger.debug("no symbolic links in %s: %s", self.reporting, error)
            write_text(self.reporting / POINTER, f"{run}\n")
            return
        if link.exists() and not link.is_symlink():
            places = (link.with_name(f"{LATEST}.{number}.set_aside") for number in count(1))
            aside = next(place for place in places if not place.exists())
            logger.warning("%s is not a link to a run; it is renamed to %s", link, aside.name)
            link.rename(aside)
        part.replace(link)
        pointer = self.reporting / POINTER
        if pointer.is_file() and is_id(pointer.read_text(encoding="utf-8").strip()):
            pointer.unlink()

    def relative(self, path: Path) -> str | None:
        """Return where a file is in the folder of a run or in `latest`; None if it is elsewhere."""
        try:
            parts = path.relative_to(self.reporting).parts
        except ValueError:
            return None
        return "/".join(parts[1:]) if len(parts) > 1 and (parts[0] == LATEST or is_id(parts[0])) else None

    def last_with(self, name: str, records: Iterable[Mapping[str, Any]] | None = None) -> str | None:
        """Return the id of the last run, among those that ended, of a pipeline that makes a table or page.

        Args:
            name: The file, relative to the folder of a run; a pattern of Kedro's catalog (`{model}_sample.csv`) stands
                for all files that fit it.
            records: The records of the runs, for who asks about many files; None to read them.
        """
        fits = re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(name)))
        ends = [
            (end, str(record["id"]))
            for record in (self.records() if records is None else records)
            if (end := last_end(record)) and any(fits.fullmatch(table) for table in record.get("tables", ()))
        ]
        return max(ends)[1] if ends else None


def reading_latest(catalog: Mapping[str, Any], folders: RunFolders, project: Path) -> dict[str, Any]:
    """Return the catalog with each path in `latest` changed that the latest run does not make.

    That is a table of another pipeline, which the last run of that pipeline has, or any table if the file system has no
    symbolic links.

    Args:
        catalog: The entries by name.
        folders: The runs of the data folder.
        project: The project's folder, which relative paths start from.
    """
    latest = folders.latest() if (folders.reporting / LATEST).is_dir() else None
    tables = read_record(folders.folder(latest)).get("tables", ()) if latest else ()
    entries, records = dict(catalog), folders.records()
    for name, entry in catalog.items():
        path = entry.get("filepath")
        file = folders.relative(project / path) if isinstance(path, str) else None
        if file is not None and file not in tables and (run := folders.last_with(file, records)) and run != latest:
            entries[name] = {**entry, "filepath": (folders.folder(run) / file).as_posix()}
    return entries


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record in the folder of a run; empty if there is none that can be read."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and _is_sound(record) else {}


def _is_sound(record: Mapping[str, Any]) -> bool:
    """Return whether what other runs and the index read of a record has the form that it was written with."""
    lists = (record.get(name, []) for name in ("sessions", "tables", "headline", "source_runs"))
    mappings = [record.get(name, {}) for name in ("models", "methods", "n_facts")]
    inner = (
        [*record.get("sessions", ()), *record.get("headline", ())] if all(isinstance(x, list) for x in lists) else [0]
    )
    return isinstance(record.get("id"), str) and all(isinstance(part, dict) for part in (*mappings, *inner))


def last_end(record: Mapping[str, Any]) -> str:
    """Return when a run last came to its end with a table or page written; empty if it never did."""
    sessions = [
        session for session in record.get("sessions", ()) if session.get("status") == ENDED and session.get("wrote")
    ]
    return max((str(session["finished"]) for session in sessions), default="")


ENDED = "finished"
"""Status of a run that came to its end."""
