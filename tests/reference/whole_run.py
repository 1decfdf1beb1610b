"""A copy of the project, and the main job of the test environment in it, as a user starts it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from filelock import FileLock

ROOT = Path(__file__).parents[2]
FACTS = 60
"""Rows of the table that the copies keep: recalling all facts is most of a tiny run."""

COMMAND = ("run", "--env=test", "--pipeline=edit_eval")


def copy_of_the_project(folder: Path) -> Path:
    """Copy the project's settings, configuration and raw data; the code is the one that is installed."""
    folder.mkdir(parents=True)
    (folder / "src").mkdir()
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(
        ROOT / "conf", folder / "conf", ignore=lambda where, names: names if where.endswith("local") else []
    )
    shutil.copytree(ROOT / "data" / "01_raw", folder / "data" / "01_raw")
    table = folder / "data" / "01_raw" / "facts.csv"
    facts = pd.read_csv(table, dtype=str, keep_default_na=False)
    facts.iloc[:: max(1, len(facts) // FACTS)].to_csv(table, index=False)
    return folder


def kedro(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Kedro in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "kedro", *words],
        cwd=folder,
        env={**os.environ, "DO_NOT_TRACK": "1", **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


class WholeRun(NamedTuple):
    """A project after the main job, and what the command printed."""

    folder: Path
    returncode: int
    stdout: str
    stderr: str


def run_once(shared_folder: Path) -> WholeRun:
    """Run the main job in a copy of the project; the first worker that needs it runs it for all.

    Tests that change anything, and tests that lock the data folder, need a copy of it.
    """
    folder, output = shared_folder / "whole_run" / "project", shared_folder / "whole_run.json"
    with FileLock(shared_folder / "whole_run.lock"):
        if not output.exists():
            process = kedro(copy_of_the_project(folder), *COMMAND)
            output.write_text(json.dumps([process.returncode, process.stdout, process.stderr]), encoding="utf-8")
        return WholeRun(folder, *json.loads(output.read_text(encoding="utf-8")))
