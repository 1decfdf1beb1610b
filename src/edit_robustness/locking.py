"""Locks in a data folder: one run at a time for each model, and a refusal that names the run that holds a lock.

Runs of different models may share a folder, so that a cluster can run one job per model. The operating system frees the
locks of a process that dies, however it dies. A process that is stopped or suspended keeps them.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout

from edit_robustness.storage import clear_way, make_folder, remove_file, write_text
from edit_robustness.text.secrets import redact

LOCKS = ".locks"
"""Name of the folder in the data folder with the locks and the descriptions of their holders."""


class FolderInUse(RuntimeError):
    """A part of a data folder that another run is writing."""


@dataclass(frozen=True)
class Holder:
    """The run that holds a lock.

    Attributes:
        process: Its process id.
        host: Name of its machine.
        started: When it took the lock, in UTC.
        command: Its command line.
    """

    process: int
    host: str
    started: str
    command: str

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, started at {self.started}, `{self.command}`"


class RunLock:
    """The locks of the parts of a data folder that a run writes, for its length.

    A run that is interrupted in a notebook never reports its end. So its locks pass on to the next run of the same
    thread, which cannot begin before the interrupted one is over.
    """

    def __init__(self) -> None:
        self._locks: dict[Path, FileLock] = {}
        self._thread: threading.Thread | None = None

    def acquire(self, folder: Path, parts: Collection[str]) -> None:
        """Take the locks of some parts of a folder, which is created if it does not exist; never wait for them.

        Args:
            folder: The data folder.
            parts: Names of models; empty for what all models share.

        Raises:
            FolderInUse: If another run holds one of them, with what is known of that run.
        """
        if self._thread is not None and (self._thread is threading.current_thread() or not self._thread.is_alive()):
            self.release()
        make_folder(folder / LOCKS)
        me = Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"), _command())
        locks: dict[Path, FileLock] = {}
        try:
            for part in sorted(parts):
                path = folder / LOCKS / (f"model {quote(part, safe='')}" if part else "shared")
                clear_way(path.with_suffix(".lock"))
                lock = FileLock(path.with_suffix(".lock"), thread_local=False)
                try:
                    lock.acquire(blocking=False)
                except Timeout:
                    raise FolderInUse(_refusal(folder, part, path)) from None
                locks[path] = lock
                _write(path, me)
        except BaseException:
            _release(locks)
            raise
        self._locks, self._thread = locks, threading.current_thread()

    def release(self) -> None:
        """Release the locks; do nothing if none is held."""
        _release(self._locks)
        self._locks, self._thread = {}, None


def _release(locks: Mapping[Path, FileLock]) -> None:
    for path, lock in locks.items():
        remove_file(path.with_suffix(".json"))
        lock.release()


def _write(path: Path, holder: Holder) -> None:
    write_text(path.with_suffix(".json"), json.dumps(asdict(holder)))


def _refusal(folder: Path, part: str, path: Path) -> str:
    try:
        holder = str(Holder(**json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError):
        # a lock is taken a moment before its holder is written
        holder = "unknown process"
    subject = f"model {part}" if part else "the tables of all models"
    return (
        f"another run ({holder}) is writing {subject} in the data folder {folder}, which this command would "
        "use, too. Wait for its end, or set `data` in conf/<env>/globals.yml to another folder"
    )


def _command() -> str:
    program = Path(sys.argv[0])
    name = program.parent.name if program.stem == "__main__" else program.name
    return redact(" ".join([name, *map(shlex.quote, sys.argv[1:])]))
