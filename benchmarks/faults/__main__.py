"""The command: see the package's own text, and `python -m benchmarks.faults --help`."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.faults.damage import KINDS
from benchmarks.faults.flips import (
    SILENT,
    VERDICTS,
    WRONG,
    group_errors,
    measure_flips,
    summarize_flips,
    summarize_rescore,
)
from benchmarks.faults.kills import measure_kills, summarize_kills
from benchmarks.faults.launching import PIPELINES, Launcher
from benchmarks.faults.two import measure_two, summarize_two
from benchmarks.tables import deliver, markdown

TIMES: Mapping[str, int] = {"kills": 24, "flips": 200, "two": 8}
"""How often, by default; for `kills`, how often each pipeline."""

Columns = Mapping[str, tuple[str, Callable[[Any], str]]]
KILL_COLUMNS: Columns = {
    "pipeline": ("pipeline", str),
    "kills": ("kills", str),
    "copies": ("copies", str),
    "nodes": ("after different nodes", str),
    "failed": ("failed at the end", str),
    "compared": ("files compared", str),
    "equal": ("equal", str),
    "rounding": ("equal but for rounding", str),
    "differing": ("other", str),
    "made_twice": ("items made twice", str),
    "parts": (".part files left", str),
}
FLIP_COLUMNS: Columns = {
    "kind": ("damaged file", str),
    "flips": ("runs", str),
    **{verdict: (title, str) for verdict, title in VERDICTS.items()},
}
PAIR_COLUMNS: Columns = {
    "case": ("started together", str),
    "pairs": ("pairs", str),
    "refused": ("exactly one failed", str),
    "lines": ("lines of the error, at most", str),
    "wrong": ("other tables", str),
    "right": ("one clear refusal, the other right", str),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the table."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    times, start = options.times or TIMES[options.what], time.monotonic()
    with ExitStack() as stack:
        work = Path(options.work or stack.enter_context(tempfile.TemporaryDirectory())).resolve()
        if work.exists() and any(work.iterdir()):
            raise SystemExit(f"--work {work} is not empty: name a folder that is, or one that does not exist")
        work.mkdir(parents=True, exist_ok=True)
        outcome = measure(options.what, Launcher(), work, options.pipelines, times, options.seed)
    result = {"what": options.what, "seed": options.seed, "times": times, "measured": outcome,
              "seconds": round(time.monotonic() - start)}  # fmt: skip
    deliver(result, describe, options)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description=sys.modules["benchmarks.faults"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("what", choices=TIMES, help="what is measured")
    options.add_argument("--times", type=int, help="kills per pipeline (24), damages (200) or pairs of runs (8)")
    options.add_argument("--pipelines", nargs="+", choices=PIPELINES, default=PIPELINES, help="for kills and flips")
    options.add_argument("--seed", type=int, default=0, help="of moments, files and damages")
    options.add_argument("--json", action="store_true", help="everything as JSON, not the tables")
    options.add_argument("--output", type=Path, help="a file, instead of the terminal")
    options.add_argument("--work", type=Path, help="a folder in which copies of the project and logs stay")
    return options


def measure(
    experiment: str, launcher: Launcher, work: Path, pipelines: Sequence[str], times: int, seed: int
) -> list[dict[str, Any]]:
    """Return what was measured, as plain values."""
    if experiment == "kills":
        return [measure_kills(launcher, work / name, name, times, seed) for name in pipelines]
    if experiment == "flips":
        return measure_flips(launcher, work, pipelines, times, seed)
    return measure_two(launcher, work, times, seed)


def describe(result: Mapping[str, Any]) -> str:
    """Return the tables of a result, and what went wrong by name."""
    description = {"kills": describe_kills, "flips": describe_flips, "two": describe_two}[result["what"]]
    return "\n".join([f"seed {result['seed']}, {result['seconds']} s", "", *description(result["measured"])])


def describe_kills(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of kills, then each file that was not equal."""
    lines = [markdown([summarize_kills(pipeline) for pipeline in rows], KILL_COLUMNS), ""]
    for pipeline in rows:
        for number, chain in enumerate(pipeline["chains"], 1):
            place = f"{pipeline['pipeline']}, copy {number}"
            lines += [f"- {place}: error: {line}" for line in chain["errors"][-3:]]
            lines += [f"- {place}: {name}: {how}" for name, how in chain["comparison"]["differing"].items()]
            lines += [f"- {place}: {name}: rounding, {largest:.1e}" for name, largest in
                      chain["comparison"]["rounding"].items()]  # fmt: skip
            lines += [f"- {place}: {name} was made twice" for name in chain["made_twice"]]
    return lines


def describe_flips(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of flips, then the errors and each damage that went into tables."""
    lines = [markdown(summarize_flips(rows), FLIP_COLUMNS), ""]
    ways = summarize_rescore(rows)
    if ways:
        lines += ["rescore: " + ", ".join(f"{number} {way}" for way, number in ways.items()), ""]
    absent = set(KINDS) - {flip["kind"] for flip in rows}
    lines += [f"No file was damaged of these kinds: {', '.join(sorted(absent))}", ""] * bool(absent)
    lines += [f"- error, {number} times: {line}" for line, number in group_errors(rows).items()]
    for flip in rows:
        if flip["verdict"] in (SILENT, WRONG):
            tables = ", ".join([*flip["differing"], *flip["rounding"]][:3])
            lines.append(f"- {flip['verdict']}: {flip['name']} {flip['way']}: {tables}")
        if flip["rescore"] not in ("", "equal", "refused"):
            lines.append(f"- rescore, {flip['rescore']}: {flip['name']} {flip['way']}: {flip['rescore_lines'][-1:]}")
    return lines


def describe_two(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of pairs, then each pair that was not right."""
    lines = [markdown(summarize_two(rows), PAIR_COLUMNS), ""]
    for pair in rows:
        if not pair["right"]:
            how = f"exit codes {pair['exit_codes']}, {len(pair['differing'])} tables differ"
            lines.append(f"- {pair['case']}, {pair['delay']} s apart: {how}; {' / '.join(pair['lines'][-2:])}")
    return lines


if __name__ == "__main__":
    main()
