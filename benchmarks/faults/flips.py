"""One kept file is damaged, the pipeline runs again, and its tables are compared with those of an undisturbed run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from random import Random
from typing import Any

from benchmarks.faults.comparing import Comparison, compare_tables
from benchmarks.faults.damage import (
    KINDS,
    READ_BY_RESCORE,
    clear_later,
    damage,
    draw_file,
    draw_way,
    kept_files,
    kind_of,
)
from benchmarks.faults.launching import DATA, PIPELINES, Launcher, Outcome, copy_project, restore
from edit_robustness.progress import track

SHARES = (9, 4, 7)
"""How often each of `PIPELINES` is run, relative to the others: `sequential_eval` takes the most time."""

PARTIAL = 0.3
"""The share of the damages to `edit_eval` after which `rescore` is run first."""

CLEARED = 0.5
"""The share of the other damages after which the items that are made from the damaged one are removed."""

LINES = 2
"""A clear refusal has so many lines at most."""

NAMED, UNREAD, ROUNDING, SILENT, WRONG, FAILED = "named", "unread", "rounding", "silent", "wrong", "failed"
VERDICTS: Mapping[str, str] = {
    NAMED: "equal tables, and a line names the file",
    UNREAD: "equal tables, no line",
    ROUNDING: "equal but for rounding, and a line names the file",
    WRONG: "other tables, and a line names the file",
    SILENT: "other tables, no line",
    FAILED: "error",
}
"""How a run after a damage can end. A table of other bytes counts as another table where no line names the file, for
then nothing was made again that could round differently."""

EQUAL, REFUSED, TRACEBACK, OTHER = "equal", "refused", "long error", "other tables"


@dataclass
class Flip:
    """One damage and what became of it.

    Attributes:
        pipeline: Which pipeline ran before and after.
        name: The damaged file, relative to the folder of data.
        kind: Its kind, one of `KINDS`.
        way: How it was damaged, one of `WAYS`.
        cleared: Whether the items that are made from the damaged one were removed, so that it has to be read.
        verdict: How the run ended, one of `VERDICTS`.
        lines: Lines that name the file, or those of the error.
        seconds: How long the run took.
        differing: Tables that differ, each with how.
        rounding: Tables that differ by rounding, each with the largest difference.
        rescore: How `rescore` ended, where it ran before the pipeline.
        rescore_lines: Its error, or how its tables differ.
    """

    pipeline: str
    name: str
    kind: str
    way: str
    cleared: bool = False
    verdict: str = ""
    lines: list[str] = field(default_factory=list)
    seconds: float = 0.0
    differing: dict[str, str] = field(default_factory=dict)
    rounding: dict[str, float] = field(default_factory=dict)
    rescore: str = ""
    rescore_lines: list[str] = field(default_factory=list)


def measure_flips(
    launcher: Launcher, work: Path, pipelines: Sequence[str], times: int, seed: int
) -> list[dict[str, Any]]:
    """Damage files so many times, one at a time.

    Args:
        launcher: Starts the runs.
        work: An empty folder for the copies of the project.
        pipelines: Which pipelines.
        times: How many damages.
        seed: Of files and damages.
    """
    for pipeline in pipelines:
        prepare(launcher, work / pipeline / "pristine", work / pipeline / "damaged", pipeline)

    def flips() -> Iterator[Flip]:
        for number in range(times):
            generator = Random(f"{seed} {number}")
            (pipeline,) = generator.choices(pipelines, [SHARES[PIPELINES.index(name)] for name in pipelines])
            pristine, folder = work / pipeline / "pristine", work / pipeline / "damaged"
            restore(folder, pristine)
            yield run_damaged(launcher, folder, pristine, pipeline, generator)

    return [vars(flip) for flip in track(flips(), "flips", times)]


def prepare(launcher: Launcher, pristine: Path, folder: Path, pipeline: str) -> None:
    """Make the undisturbed run, and the copy in which files are damaged.

    Raises:
        RuntimeError: If a second run that nothing disturbed makes other tables, for then nothing can be compared.
    """
    launcher.run_undisturbed(pristine, pipeline)
    (copy_project(folder) / DATA).mkdir(parents=True)
    restore(folder, pristine)
    launcher.run(folder, pipeline)
    comparison = compare_tables(pristine / DATA, folder / DATA)
    if not comparison.same:
        raise RuntimeError(
            f"{pipeline}: two undisturbed runs differ: {comparison.differing or comparison.rounding}; a field that is "
            "a time by nature belongs into TIMES in benchmarks/faults/comparing.py"
        )


def run_damaged(launcher: Launcher, folder: Path, pristine: Path, pipeline: str, generator: Random) -> Flip:
    """Damage one file of a finished run, and run again."""
    partial = pipeline == "edit_eval" and generator.random() < PARTIAL
    kinds = READ_BY_RESCORE if partial else tuple(KINDS)
    name = draw_file(kept_files(folder / DATA), generator, kinds)
    flip = Flip(pipeline, name, kind_of(name), draw_way(generator))
    damage(folder / DATA / name, flip.way, generator)
    if partial:
        outcome = launcher.run(folder, "rescore")
        # rescore does not write every table, and is not to blame for the damage itself
        comparison = compare_tables(pristine / DATA, folder / DATA, without={name})
        flip.rescore, flip.rescore_lines = judge_rescore(outcome, comparison)
    elif generator.random() < CLEARED:
        flip.cleared = clear_later(folder / DATA, name)
    outcome = launcher.run(folder, pipeline)
    comparison = compare_tables(pristine / DATA, folder / DATA)
    name_lines = naming_lines(outcome.warnings, name)
    flip.verdict = judge(outcome.exit_code, comparison, bool(name_lines))
    flip.lines = outcome.refusal[-5:] if flip.verdict == FAILED else name_lines
    flip.seconds = round(outcome.seconds, 1)
    flip.differing, flip.rounding = comparison.differing, comparison.rounding
    return flip


def judge(exit_code: int, comparison: Comparison, is_named: bool) -> str:
    """Return the verdict on a run: one of `VERDICTS`."""
    if exit_code:
        return FAILED
    if comparison.same:
        return NAMED if is_named else UNREAD
    if not is_named:
        return SILENT
    return WRONG if comparison.differing else ROUNDING


def judge_rescore(outcome: Outcome, comparison: Comparison) -> tuple[str, list[str]]:
    """Return how `rescore` ended, and the lines that show it."""
    if outcome.exit_code == 0:
        return (EQUAL, []) if comparison.same else (OTHER, [*comparison.differing, *comparison.rounding])
    return (REFUSED if is_clear(outcome) else TRACEBACK), outcome.refusal[-5:]


def is_clear(outcome: Outcome) -> bool:
    """Return whether a run was refused in a line or two."""
    return outcome.exit_code == 1 and 0 < len(outcome.refusal) <= LINES


def naming_lines(lines: Sequence[str], name: str) -> list[str]:
    """Return the lines that name a file; for a manifest, which many folders have, those that name its folder."""
    path = PurePath(name)
    needle = f"{path.parent.parent.name}/{path.parent.name}" if path.name == "manifest.json" else path.name
    return [line for line in lines if needle in line]


def summarize_flips(flips: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the table of flips: one for each kind of file, one for all."""
    kinds = [*(kind for kind in KINDS if any(flip["kind"] == kind for flip in flips)), "all"]
    rows = []
    for kind in kinds:
        verdicts = Counter(flip["verdict"] for flip in flips if kind in (flip["kind"], "all"))
        rows.append({"kind": kind, "flips": verdicts.total(), **{verdict: verdicts[verdict] for verdict in VERDICTS}})
    return rows


def summarize_rescore(flips: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how often `rescore` ended in each way."""
    return dict(Counter(flip["rescore"] for flip in flips if flip["rescore"]))


def group_errors(flips: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count the runs that failed by the last line of their error, without names and numbers."""
    errors = Counter(
        generalize(flip["lines"][-1] if flip["lines"] else "no line") for flip in flips if flip["verdict"] == FAILED
    )
    return dict(errors.most_common())


def generalize(line: str) -> str:
    """Return an error line without paths and numbers, so that errors of one cause are counted together."""
    line = re.sub(r"'[^']*'|\S*/\S*|\S+\.(jsonl?|safetensors|parquet|csv)\b", "FILE", line)
    return re.sub(r"\S*\d\S*", "N", line)[:200]
