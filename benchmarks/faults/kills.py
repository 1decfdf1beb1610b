"""Runs that are killed at random moments and started again, compared with a run that was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.faults.comparing import Comparison, compare, item_names, part_names, table_names
from benchmarks.faults.launching import DATA, Launcher, Outcome, copy_project
from edit_robustness.progress import track

CHAIN = 4
"""Kills in one copy of the project, at most. After some kills all items are made and only tables are left to be
written, so longer chains would hit the same stages again and again."""


@dataclass
class Chain:
    """Events in one copy of the project.

    Attributes:
        kills: For each kill the seconds since the start of its run, and the last node that the log names.
        exit_code: Of the last run, which was not killed.
        errors: Lines of its error.
        comparison: Of all tables and items at the end.
        made_twice: Items that were there after a kill and were written again later.
        parts: What interrupted writes left behind at the end.
    """

    kills: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int = 0
    errors: list[str] = field(default_factory=list)
    comparison: Comparison = field(default_factory=Comparison)
    made_twice: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        return {**vars(self), "comparison": self.comparison.plain()}


def measure_kills(launcher: Launcher, work: Path, pipeline: str, times: int, seed: int) -> dict[str, Any]:
    """Kill a pipeline so many times, let it end, and compare what it made with an undisturbed run.

    Args:
        launcher: Starts the runs.
        work: An empty folder for the copies of the project.
        pipeline: Which pipeline.
        times: How many kills.
        seed: Of the moments.
    """
    reference = work / "undisturbed"
    full_time = launcher.run_undisturbed(reference, pipeline).seconds
    # a run that finds everything made is what is left of a run at the least
    repeat_time = launcher.run(reference, pipeline).seconds
    shares, chains = draw_shares(times, Random(f"{seed} {pipeline}")), []

    def deliver() -> Iterator[None]:
        kill_number = 0
        while kill_number < times:
            chain = Chain()
            chains.append(chain)
            folder = copy_project(work / f"chain-{len(chains)}")
            kills = min(CHAIN, times - kill_number)
            for _ in run_chain(launcher, folder, pipeline, chain, shares, kills, full_time, repeat_time):
                kill_number += 1
                yield
            compare_chain(reference / DATA, folder / DATA, chain)

    for _ in track(deliver(), f"{pipeline}: kills", times):
        pass
    return {"pipeline": pipeline, "seconds": full_time, "chains": [chain.plain() for chain in chains]}


def draw_shares(times: int, generator: Random) -> Iterator[float]:
    """Yield when to kill, as shares of what is left of a run: in each round of `times` they cover the whole length."""
    while True:
        for stratum in generator.sample(range(times), times):
            yield (stratum + generator.random()) / times


def run_chain(
    launcher: Launcher,
    folder: Path,
    pipeline: str,
    chain: Chain,
    shares: Iterator[float],
    kills: int,
    full_time: float,
    repeat_time: float,
) -> Iterator[None]:
    """Kill run after run in one folder, then let one end; yield after each kill."""
    remaining_time, item_times = full_time, dict[str, int]()
    outcome: Outcome | None = None
    while outcome is None and len(chain.kills) < kills:
        moment = next(shares) * remaining_time
        process = launcher.start(folder, pipeline)
        if process.wait(moment):
            # this run was faster than was thought
            outcome = process.outcome()
        else:
            process.kill()
            remaining_time = max(repeat_time, remaining_time - moment)
            chain.kills.append({"after": round(moment, 2), "last_node": process.outcome().last_node})
            chain.made_twice += remember_items(folder / DATA, item_times)
            yield
    outcome = outcome or launcher.run(folder, pipeline)
    chain.made_twice += remember_items(folder / DATA, item_times)
    chain.exit_code = outcome.exit_code
    chain.errors = outcome.refusal if outcome.exit_code else []


def remember_items(folder: Path, item_times: dict[str, int]) -> list[str]:
    """Note when each item was written, and return the items that were written again since they were noted."""
    times = {name: (folder / name).stat().st_mtime_ns for name in item_names(folder)}
    again = sorted(name for name, time in times.items() if item_times.get(name, time) != time)
    item_times.update(times)
    return again


def compare_chain(reference: Path, actual: Path, chain: Chain) -> None:
    """Compare the tables and the items of a finished chain with those of the undisturbed run."""
    names = table_names(reference) | item_names(reference)
    chain.comparison = compare(reference, actual, names, (table_names(actual) | item_names(actual)) - names)
    chain.parts = sorted(part_names(actual))


def summarize_kills(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a pipeline in the table of kills."""
    chains = results["chains"]
    kills = [kill for chain in chains for kill in chain["kills"]]
    comparisons = [chain["comparison"] for chain in chains]
    return {
        "pipeline": results["pipeline"],
        "kills": len(kills),
        "copies": len(chains),
        "nodes": len(Counter(kill["last_node"] for kill in kills)),
        "failed": sum(chain["exit_code"] != 0 for chain in chains),
        "compared": sum(comparison["compared"] for comparison in comparisons),
        "equal": sum(comparison["equal"] for comparison in comparisons),
        "rounding": sum(len(comparison["rounding"]) for comparison in comparisons),
        "differing": sum(len(comparison["differing"]) for comparison in comparisons),
        "made_twice": sum(len(chain["made_twice"]) for chain in chains),
        "parts": sum(len(chain["parts"]) for chain in chains),
    }
