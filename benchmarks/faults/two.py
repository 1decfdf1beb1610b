"""Two runs in one folder at once: one must be refused in one line, and the tables of the other must be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.faults.comparing import Comparison, compare_tables
from benchmarks.faults.flips import is_clear
from benchmarks.faults.launching import DATA, Launcher, Outcome, copy_project
from edit_robustness.progress import track

SETTINGS = "methods.rome.tiny.v_lr=0.02"
"""Settings of another run of the same pipeline: ROME's learning rate."""

Command = tuple[str, str]
"""A pipeline and its parameters."""

MAIN: Command = ("edit_eval", "")
PAIRS: Mapping[str, tuple[Command, Command]] = {
    "same settings": (MAIN, MAIN),
    "other settings": (MAIN, ("edit_eval", SETTINGS)),
    "edit_eval, conversation": (MAIN, ("conversation", "")),
    "sequential_eval, edit_eval": (("sequential_eval", ""), MAIN),
}
"""The runs that start together."""


@dataclass
class Pair:
    """Two runs in one folder.

    Attributes:
        case: One of `PAIRS`.
        delay: Seconds between the two starts. If there are any, the second run must be the one that is refused.
        exit_codes: Of both runs.
        refusals: How many lines each run's error has.
        lines: The error of the run that was refused.
        right: Whether exactly one run was refused clearly, and the tables are those of the other one by itself.
        differing: Tables that differ from those of the run that was not refused, each with how.
    """

    case: str
    delay: float
    exit_codes: list[int] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    right: bool = False
    differing: dict[str, str] = field(default_factory=dict)


def measure_two(launcher: Launcher, work: Path, times: int, seed: int) -> list[dict[str, Any]]:
    """Start two runs in one folder, so many times, going through `PAIRS`.

    Args:
        launcher: Starts the runs.
        work: An empty folder for the copies of the project.
        times: How often.
        seed: Of the delays between the two starts; in half of the cases there is none.
    """
    references: dict[Command, Path] = {}
    lengths: dict[Command, float] = {}
    for command in dict.fromkeys(command for pair in PAIRS.values() for command in pair):
        references[command] = work / f"undisturbed-{len(references)}"
        lengths[command] = launcher.run_undisturbed(references[command], *command).seconds
    generator, pairs = Random(f"{seed} two"), []
    for number in track(range(times), "two runs at once", times):
        case = list(PAIRS)[number % len(PAIRS)]
        # every case comes without a delay in one round, and with one in the next
        length = lengths[PAIRS[case][0]] * (number // len(PAIRS) % 2)
        delay = round(generator.uniform(length / 4, length / 2), 2)
        folder = copy_project(work / f"pair-{number}")
        pairs.append(vars(run_pair(launcher, folder, Pair(case, delay), references)))
    return pairs


def run_pair(launcher: Launcher, folder: Path, pair: Pair, references: Mapping[Command, Path]) -> Pair:
    """Start both runs, wait for both, and compare the tables with those of the run that was not refused."""
    commands = PAIRS[pair.case]
    first = launcher.start(folder, *commands[0])
    first.wait(pair.delay)
    outcomes = [first.outcome, launcher.start(folder, *commands[1]).outcome]
    ends = [outcome() for outcome in outcomes]
    winner = 0 if ends[0].exit_code == 0 else 1
    comparison = compare_tables(references[commands[winner]] / DATA, folder / DATA)
    return judge_pair(pair, ends, winner, comparison)


def judge_pair(pair: Pair, ends: Sequence[Outcome], winner: int, comparison: Comparison) -> Pair:
    """Fill in how the two runs ended."""
    loser = ends[1 - winner]
    pair.exit_codes = [end.exit_code for end in ends]
    pair.refusals = [len(end.refusal) if end.exit_code else 0 for end in ends]
    pair.lines = loser.refusal[-5:] if loser.exit_code else []
    pair.differing = {**comparison.differing, **{name: "rounding" for name in comparison.rounding}}
    in_order = winner == 0 or pair.delay == 0
    pair.right = ends[winner].exit_code == 0 and is_clear(loser) and comparison.same and in_order
    return pair


def summarize_two(pairs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the table: one for each of `PAIRS`."""
    rows = []
    for case in PAIRS:
        case_pairs = [pair for pair in pairs if pair["case"] == case]
        refusals = [pair for pair in case_pairs if sorted(map(bool, pair["exit_codes"])) == [False, True]]
        rows.append(
            {
                "case": case,
                "pairs": len(case_pairs),
                "refused": len(refusals),
                "lines": max((max(pair["refusals"]) for pair in refusals), default=0),
                "wrong": sum(bool(pair["differing"]) for pair in case_pairs),
                "right": sum(pair["right"] for pair in case_pairs),
            }
        )
    return rows
