"""Scratch copies of the project, and runs in them that can be killed at any moment.

A run is the `kedro run` of a user in a process of its own. Only the imports are not its own: the process is forked
from a server that imported the libraries before, because they take longer than the run of a tiny model. Importing
reads and writes nothing in the project's folder, so a kill during the imports could not show anything.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.jobs import ROOT

PIPELINES = ("edit_eval", "sequential_eval", "conversation")
FACTS = 60
"""Rows of the table of facts that a copy keeps: recalling all facts is most of a tiny run."""

DATA = Path("data") / "test"
"""Where the test environment keeps its data."""

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "KEDRO_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    # log lines are searched for file names, so they must not be wrapped
    "COLUMNS": "1000",
}
_LOG_LINE = re.compile(r"^(\[[^\]]*\]|[\d-]+ [\d:]+)?\s*(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+(?P<text>.*)$")


def copy_project(folder: Path) -> Path:
    """Copy the settings, the configuration and a part of the facts into a new folder; the code is the installed one."""
    (folder / "src").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for environment in ("base", "test"):
        shutil.copytree(ROOT / "conf" / environment, folder / "conf" / environment)
    shutil.copy(ROOT / "conf" / "logging.yml", folder / "conf")
    shutil.copytree(ROOT / "data" / "01_raw", folder / "data" / "01_raw")
    table = folder / "data" / "01_raw" / "facts.csv"
    facts = pd.read_csv(table, dtype=str, keep_default_na=False)
    facts.iloc[:: max(1, len(facts) // FACTS)].to_csv(table, index=False)
    return folder


def restore(folder: Path, pristine: Path) -> None:
    """Make the data of a copy those of another one, times of change included."""
    shutil.rmtree(folder / DATA)
    shutil.copytree(pristine / DATA, folder / DATA)


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        exit_code: Of the process; negative for the signal that killed it.
        output: Everything it wrote to the terminal.
        seconds: How long it took, by the clock.
    """

    exit_code: int
    output: str
    seconds: float

    @property
    def warnings(self) -> list[str]:
        """Lines that a user should read: warnings and errors of the log, and lines outside the log."""
        return [text for level, text in _log_lines(self.output) if level not in ("DEBUG", "INFO")]

    @property
    def refusal(self) -> list[str]:
        """Return the lines of an error: from the first line that is neither information nor a warning of the log."""
        levels = _log_lines(self.output)
        return [text for level, text in levels if level not in ("DEBUG", "INFO", "WARNING")]

    @property
    def last_node(self) -> str:
        """Return the last node that the log names; empty before the first one."""
        nodes = re.findall(r"(?:Completed node:|INFO +\[\d+/\d+\]) (\S+)", self.output)
        return nodes[-1] if nodes else ""


def _log_lines(output: str) -> list[tuple[str, str]]:
    """Return the level and the text of each line; a line that continues a log line has the level of that line.

    The line that says where the report is does not count.
    """
    lines: list[tuple[str, str]] = []
    for line in output.splitlines():
        match = _LOG_LINE.match(line)
        if match:
            lines.append((match["level"], match["text"].strip()))
        elif line.strip() and not line.startswith("Report: "):
            # the log indents what belongs to the line above
            continues = line.startswith(" " * 10) and lines
            lines.append((lines[-1][0] if continues else "", line.strip()))
    return lines


class Run:
    """A run that was started."""

    def __init__(self, process: multiprocessing.process.BaseProcess, log: Path):
        self._process, self._log = process, log
        self._started = time.monotonic()
        process.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end, at most so long; return whether the run has ended."""
        self._process.join(seconds)
        return self._process.exitcode is not None

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()
        self._process.join()

    def outcome(self) -> Outcome:
        """Wait for the end and return how the run ended."""
        self._process.join()
        seconds = time.monotonic() - self._started
        exit_code = self._process.exitcode
        assert exit_code is not None
        text = self._log.read_text("utf-8", errors="replace") if self._log.exists() else ""
        return Outcome(exit_code, text, seconds)


class Launcher:
    """Starts runs."""

    def __init__(self) -> None:
        os.environ.update(_ENVIRONMENT)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["benchmarks.faults.preloaded"])
        self._runs = 0
        # the server imports the libraries before it forks the first process; no run's time should contain that
        first = self._context.Process(target=int)
        first.start()
        first.join()

    def start(self, folder: Path, pipeline: str, parameters: str = "") -> Run:
        """Start `kedro run` in a copy of the project."""
        self._runs += 1
        log = folder.with_name(f"{folder.name}.{self._runs}.log")
        arguments = ["run", "--env=test", f"--pipeline={pipeline}", *([f"--params={parameters}"] * bool(parameters))]
        return Run(self._context.Process(target=_kedro, args=(folder, log, arguments)), log)

    def run(self, folder: Path, pipeline: str, parameters: str = "") -> Outcome:
        """Start a run and wait for its end."""
        return self.start(folder, pipeline, parameters).outcome()

    def run_undisturbed(self, folder: Path, pipeline: str, parameters: str = "") -> Outcome:
        """Run in a new copy of the project.

        Raises:
            RuntimeError: If this run fails, for then nothing can be compared.
        """
        outcome = self.run(copy_project(folder), pipeline, parameters)
        if outcome.exit_code:
            raise RuntimeError(f"{pipeline}: the undisturbed run failed:\n" + "\n".join(outcome.refusal[-20:]))
        return outcome


def _kedro(folder: Path, log: Path, arguments: list[str]) -> None:
    """Be the process of a run: everything that it writes goes to the log."""
    descriptor = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    os.environ.update(_ENVIRONMENT)
    os.chdir(folder)
    sys.argv = ["kedro", *arguments]
    from kedro.framework.cli import main

    main()
