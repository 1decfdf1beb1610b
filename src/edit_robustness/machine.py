"""Cost of a run and its machine: CPU seconds, seconds, processor and threads.

Seconds alone compare badly: they depend on the number of threads and on what else the machine does.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

_INFO = Path("/proc/cpuinfo")
_MODEL = re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Cost:
    """Time that was spent.

    Attributes:
        seconds: By the clock.
        cpu_seconds: By all threads of this process, by processes that it started and that have ended, and by workers.
    """

    seconds: float
    cpu_seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s, {self.cpu_seconds:.0f} CPU s"


class Meter:
    """Stopwatch that measures from one lap to the next."""

    def __init__(self) -> None:
        self._before = _read_clocks()

    def lap(self) -> Cost:
        """Return what was spent since the last look, or since the meter was made."""
        before, self._before = self._before, _read_clocks()
        return Cost(*(later - earlier for earlier, later in zip(before, self._before, strict=True)))


class RunMeter:
    """Meter of the run in this process. The records of its models share the run's time among them."""

    meter: Meter | None = None
    lock: Lock = Lock()

    @classmethod
    def start(cls) -> None:
        """Start the meter of a run."""
        cls.meter = Meter()

    @classmethod
    def lap(cls) -> Cost:
        """Return what was spent since the run began or the last record was made."""
        with cls.lock:
            cls.meter = cls.meter or Meter()
            return cls.meter.lap()


def _read_clocks() -> tuple[float, float]:
    return time.monotonic(), cpu_seconds()


class _Workers:
    """CPU seconds that workers have reported."""

    cpu_seconds: float = 0.0
    lock = Lock()


def add_cpu_seconds(seconds: float) -> None:
    """Count CPU seconds that a worker has spent for this process."""
    with _Workers.lock:
        _Workers.cpu_seconds += seconds


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, of those that it started and that ended, and what workers told."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system + _Workers.cpu_seconds


def processor() -> str:
    """Return the processor's name, as the system has it."""
    if _INFO.is_file() and (match := _MODEL.search(_INFO.read_text("utf-8", errors="replace"))):
        return " ".join(match[1].split())
    return platform.processor() or platform.machine() or "unknown processor"


def threads() -> int:
    """Return the number of compute threads: torch's if it is loaded, or the number of processors."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch is not None else os.cpu_count() or 1


def products() -> str:
    """Return the CPU backend of float32 matrix products: `oneDNN`, or an empty string if it is not used."""
    torch = sys.modules.get("torch")
    uses_onednn = torch is not None and torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    return "oneDNN" if uses_onednn else ""


def machine() -> str:
    """Return processor, threads and what multiplies, ``AMD EPYC 9B45, 2 threads, oneDNN``."""
    number = threads()
    parts = [processor(), f"{number} thread{'' if number == 1 else 's'}", products()]
    return ", ".join(part for part in parts if part)
