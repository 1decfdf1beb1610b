"""The lock of a data folder: one run at a time, and a refusal that names the run that holds it.

The operating system frees the lock of a process that dies, however it dies. A process that is stopped or suspended
keeps it.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from edit_robustness.storage import write_atomically

LOCK, HOLDER = ".lock", ".lock.json"
"""Names of the lock and of the file that describes its holder, in the data folder."""


class FolderInUse(RuntimeError):
    """A data folder that another run is using."""


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


class FolderLock:
    """The lock of a data folder, for the length of a run.

    A run that is interrupted in a notebook never reports its end. So the lock passes on to the next run of the same
    thread, which cannot begin before the interrupted one is over.
    """

    def __init__(self) -> None:
        self._lock: FileLock | None = None
        self._folder: Path | None = None
        self._thread: threading.Thread | None = None

    def acquire(self, folder: Path) -> None:
        """Take the lock of a folder, which is created if it does not exist; never wait for it.

        Raises:
            FolderInUse: If another run holds it, with what is known of that run.
        """
        if self._thread is not None and (self._thread is threading.current_thread() or not self._thread.is_alive()):
            self.release()
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise FolderInUse(
                f"another run ({_holder(folder)}) is using the data folder {folder}: wait for its end, or set `data` "
                "in conf/<env>/globals.yml to another folder"
            ) from None
        self._lock, self._folder, self._thread = lock, folder, threading.current_thread()
        me = Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"), _command())
        write_atomically(folder / HOLDER, lambda part: part.write_text(json.dumps(asdict(me)), encoding="utf-8"))

    def release(self) -> None:
        """Release the lock; do nothing if it is not held."""
        if self._lock is None or self._folder is None:
            return
        (self._folder / HOLDER).unlink(missing_ok=True)
        self._lock.release()
        self._lock = self._folder = self._thread = None


def _holder(folder: Path) -> str:
    """Describe the holder; the lock is taken a moment before its description is written."""
    try:
        return str(Holder(**json.loads((folder / HOLDER).read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError):
        return "which has not said yet who it is"


def _command() -> str:
    program = Path(sys.argv[0])
    name = program.parent.name if program.stem == "__main__" else program.name
    return shlex.join([name, *sys.argv[1:]])
