"""Where log records go: one line each on the terminal or in a pipe, and all of a run in a file under `logs/`."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from edit_robustness.errors import describe, one_line
from edit_robustness.text.secrets import redact

FOLDER = "logs"
MAX_LOG_FILES = 20
"""How many log files stay in a folder."""

CONSOLE = Console()
"""Lines and progress bars share it, so that a line is written above a bar and not through it."""

TERMINAL = "terminal"
"""Name of the handler in conf/logging.yml that `install` replaces."""

_FULL = {"edit_robustness": logging.DEBUG, "kedro": logging.INFO, "kedro.io": logging.INFO}
"""Levels of a log file, whatever the terminal shows."""

_OURS = re.compile(r"\d{8}-\d{6}-\d+\.log")
_MISLEADING = {
    # one line a node is written by the hooks, and an error by the command line
    "kedro.pipeline.node": re.compile(r"Running node: |Node .* failed with error", re.DOTALL),
    # kept files make a rerun of the same command cheap; --from-nodes would leave out what an earlier node checks
    "kedro.runner": re.compile(
        r"Completed node: |Completed \d+ out of|Pipeline execution completed|There are \d+ nodes|No nodes ran"
        r"|Using synchronous mode"
    ),
}


class MisleadingRecords(logging.Filter):
    """Leaves out what Kedro says of nodes, and its advice on going on: this project says both in another way."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is not one of those."""
        for room, pattern in _MISLEADING.items():
            if record.name.startswith(room) and pattern.match(record.getMessage()):
                return False
        return True


class Threshold(logging.Filter):
    """Keeps to the levels that loggers had when it was made, also when they are lowered for a file."""

    def __init__(self) -> None:
        super().__init__()
        loggers = logging.root.manager.loggerDict.items()
        self._levels = {
            name: logger.level for name, logger in loggers if isinstance(logger, logging.Logger) and logger.level
        }
        self._root = logging.root.level

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record would have been logged at that time."""
        name = record.name
        while name and name not in self._levels:
            name = name.rpartition(".")[0]
        return record.levelno >= self._levels.get(name, self._root)


class Terminal(logging.Handler):
    """Writes a record as one line to stdout, coloured on a terminal; it is never broken, so it can be searched for."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            message = one_line(record.getMessage())
            if record.exc_info and record.exc_info[1] is not None:
                message = f"{message}: {describe(record.exc_info[1])}"
            moment = time.strftime("%X" if CONSOLE.is_terminal else "%Y-%m-%d %X", time.localtime(record.created))
            level = (f"{record.levelname:<7}", f"logging.level.{record.levelname.lower()}")
            CONSOLE.print(Text.assemble((moment, "log.time"), " ", level, " ", redact(message)), soft_wrap=True)
        except Exception:  # noqa: BLE001 - a record that cannot be written must not stop the run
            self.handleError(record)


class _FileLines(logging.Formatter):
    """A record in a line, and its traceback, if it has one, below."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def install() -> None:
    """Put `Terminal` in the place of the handler that conf/logging.yml names `terminal`.

    Kedro lets a logging file name its own handlers and Python's alone. A configuration without that handler
    (`KEDRO_LOGGING_CONFIG`) is left as it is.
    """
    for handler in list(logging.root.handlers):
        if handler.name == TERMINAL and not isinstance(handler, Terminal):
            instead = Terminal(handler.level)
            instead.name = TERMINAL
            instead.addFilter(MisleadingRecords())
            logging.root.removeHandler(handler)
            logging.root.addHandler(instead)
            logging.captureWarnings(True)


class LogFile:
    """The log file of one command, made when it is first needed; the oldest of more than `MAX_LOG_FILES` is removed."""

    def __init__(self, project: Path):
        self.problem = ""
        self._project = project
        self._handler: logging.FileHandler | None = None

    @property
    def path(self) -> str | None:
        """Path of the file, relative to the project; None where there is none."""
        return f"{FOLDER}/{Path(self._handler.baseFilename).name}" if self._handler else None

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Write all that is logged in the block, in more detail than the terminal shows."""
        handler = self._open_handler()
        if handler is None:
            logging.getLogger(__name__).warning("No log of this run is kept: %s", self.problem)
            yield
            return
        threshold, handlers = Threshold(), list(logging.root.handlers)
        before = {name: logging.getLogger(name).level for name in _FULL}
        try:
            for root_handler in handlers:
                root_handler.addFilter(threshold)
            for name, level in _FULL.items():
                logging.getLogger(name).setLevel(level)
            logging.root.addHandler(handler)
            yield
        finally:
            logging.root.removeHandler(handler)
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
            for root_handler in handlers:
                root_handler.removeFilter(threshold)

    def write_error(self, error: BaseException, command: str) -> None:
        """Write an error with its traceback, to the file alone."""
        handler = self._open_handler()
        if handler is not None:
            info = (type(error), error, error.__traceback__)
            record = logging.LogRecord(__name__, logging.ERROR, "", 0, "`%s` failed", (command,), info)
            handler.handle(record)

    def close(self) -> None:
        """Close the file."""
        if self._handler:
            self._handler.close()

    def _open_handler(self) -> logging.FileHandler | None:
        if self._handler is None and not self.problem:
            folder = self._project / FOLDER
            try:
                folder.mkdir(exist_ok=True)
                name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
                self._handler = logging.FileHandler(folder / name, encoding="utf-8")
            except OSError as error:
                self.problem = describe(error)
                return None
            self._handler.setFormatter(_FileLines())
            self._handler.addFilter(MisleadingRecords())
            _remove_old(folder)
        return self._handler


def _remove_old(folder: Path) -> None:
    """Remove the oldest log files, and no other file."""
    log_files = sorted(path for path in folder.iterdir() if _OURS.fullmatch(path.name))
    for path in log_files[:-MAX_LOG_FILES]:
        try:
            path.unlink()
        except OSError as error:
            logging.getLogger(__name__).debug("%s stays: %s", path, error)
