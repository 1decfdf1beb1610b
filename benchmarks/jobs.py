"""Jobs for one process and its results: plain JSON, so that both sides read it.

It knows nothing of this project, for it also runs where only torch is installed.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Job:
    """Edits of one method on some facts, or the statistics of some sites.

    Attributes:
        folder: The model, in the format of transformers.
        name: What the model is called.
        method: Row of METHODS; `statistics` for the second moments of keys.
        settings: Its hyperparameters.
        facts: What is edited: the fields of a Fact, and under `probes` what is asked afterwards.
        pool: Facts that are not edited, for methods that learn from some.
        texts: Running text.
        contexts: What is put before the statements.
        moments: A file of the second moments of the keys, by site; empty where there is none.
        sites: For `statistics`, as `layer.part`.
        seed: Of torch's generator.
        clone: EasyEdit's folder; empty for our side.
    """

    folder: str
    name: str
    method: str
    settings: Mapping[str, Any]
    facts: list[dict[str, Any]]
    pool: list[dict[str, Any]]
    texts: list[str]
    contexts: list[str]
    moments: str = ""
    sites: Sequence[str] = ()
    seed: int = 0
    clone: str = ""

    @classmethod
    def read(cls, path: Path) -> Job:
        """Return the job in a file."""
        return cls(**json.loads(path.read_text("utf-8")))


class SideFailed(RuntimeError):
    """A process of the benchmark that ended with an error."""


def run(job: Job, work: Path, *, module: str, python: str = sys.executable, threads: int) -> dict[str, Any]:
    """Run a side in a process of its own with that many threads, and read its answer.

    Raises:
        SideFailed: If it fails, with the end of what it wrote.
    """
    place = work / f"{module.rpartition('.')[2]}.{job.method}.json"
    answer = place.with_suffix(".answer.json")
    answer.unlink(missing_ok=True)
    place.write_text(json.dumps(asdict(job), ensure_ascii=False), "utf-8")
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    # no outer PYTHONPATH: EasyEdit's environment has libraries of its own
    environment = {**os.environ, **counts, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [python, "-m", module, str(place), str(answer)]
    process = subprocess.run(command, cwd=work, env=environment, text=True, capture_output=True, check=False)
    if process.returncode or not answer.exists():
        raise SideFailed(f"{module} failed on {job.method}:\n{process.stderr[-3000:]}")
    results: dict[str, Any] = json.loads(answer.read_text("utf-8"))
    return results


def versions() -> dict[str, Any]:
    """Return the versions that the numbers depend on, besides the code."""
    import transformers  # EasyEdit's side has something to do before

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
    }
