"""What was run, from what the run recorded of itself; whatever it did not record is not shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from edit_robustness.labels import METHODS, in_order, spoken

KIBI = 1024


def collect_runs(*runs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What each model's run recorded of itself."""
    return list(runs)


def models_run(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """A row for each model: its name and what is recorded of it (source, dtype, device, fingerprint, note ...)."""
    rows: dict[str, dict[str, str]] = {}
    for run in runs:
        for name, about in (run.get("models") or {}).items():
            rows[name] = {"model": str(name), **{key: str(value) for key, value in about.items() if value is not None}}
    return list(rows.values())


def methods_run(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """A row for each model and method: hyperparameters and figures as text, and its cost where that was measured."""
    return [row for run in runs for row in _methods(run)]


def facts_run(runs: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many facts each model's run edits."""
    return {str(model): int(run["n_facts"]) for run in runs if "n_facts" in run for model in run.get("models") or {}}


def failures_run(failed_items: pd.DataFrame) -> list[dict[str, Any]]:
    """Items that could not be made, those of one model, method, stage and reason as one row with their number."""
    if failed_items.empty:
        return []
    by = ["model", "method", "stage", "reason"]
    groups = failed_items.groupby(by, sort=False)["key"]
    table = groups.agg(number="size", first="first").reset_index().sort_values(by[:3], kind="stable")
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _methods(run: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for model, methods in (run.get("methods") or {}).items():
        for method in in_order(methods, METHODS):
            settings = methods[method] or {}
            seconds = _measured(run.get("seconds_per_edit"), model, method)
            size = _measured(run.get("bytes_per_edit"), model, method)
            speed = _measured(run.get("probes_per_second"), model, method)
            yield {
                "model": str(model),
                "method": spoken(method, METHODS),
                "settings": ", ".join(f"{key}: {value}" for key, value in settings.items()),
                "note": _note(
                    (run.get("used_defaults") or {}).get(model, {}).get(method, ""),
                    (run.get("figures") or {}).get(model, {}).get(method, {}),
                ),
                "seconds": "" if seconds is None else f"{seconds:,.2f} s",
                "size": "" if size is None else in_bytes(size),
                "speed": "" if speed is None else f"{speed:,.1f}",
            }


def _note(default: str, figures: Mapping[str, Any]) -> str:
    """Whether the hyperparameters are defaults, and what was measured when a method was prepared."""
    dead = "; ".join(
        f"{number:,} of {width:,} key coordinates at {site} never fire: left out of the solve"
        for site, (number, width) in (figures.get("dead_coordinates") or {}).items()
    )
    untuned = f"{default}; not tuned for this model." if default else ""
    return " ".join(part for part in (untuned, _held_out(figures), f"{dead}." if dead else "") if part)


def _held_out(figures: Mapping[str, Any]) -> str:
    """What AlphaEdit's changes touch, as measured on text that its null space was not taken from."""
    if "held_out_energy" not in figures:
        return ""
    shares = list(figures["held_out_energy"].values())
    if not shares:
        return "How much its changes touch was not measured: no text was left to hold out."
    return (
        f"Of the key energy of held-out text ({figures['held_out_tokens']:,} tokens) {min(shares):.1%} to "
        f"{max(shares):.1%} lies inside the null space, by layer: its changes touch that share."
    )


def contexts_run(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each model and method that edits with contexts: whether all of them could be used."""
    return [
        f"{model}, {spoken(method, METHODS)}: {_contexts(used[method])}"
        for run in runs
        for model, used in (run.get("contexts") or {}).items()
        for method in in_order([name for name, counts in used.items() if counts], METHODS)
    ]


def mixed_run(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a warning for each model whose figures mix environments, or rest on files of another version."""
    return [line for run in runs for line in (*_environments(run), *_stale(run))]


def _environments(run: Mapping[str, Any]) -> Iterator[str]:
    for model, several in (run.get("environments") or {}).items():
        if len(several) < 2:
            continue
        names = dict.fromkeys(name for each in several for name in each if name != "items")
        differing = [name for name in names if len({each.get(name) for each in several}) > 1]
        described = [", ".join(f"{name} {each.get(name, 'unknown')}" for name in differing) for each in several]
        parts = (f"{each['items']:,} files with {text}" for each, text in zip(several, described, strict=True))
        yield (
            f"{model}: the figures mix environments: {'; '.join(parts)}. Differences between methods or facts may come "
            "from them; remove the older files to compute all in one environment."
        )


def _stale(run: Mapping[str, Any]) -> Iterator[str]:
    for model, counts in (run.get("stale") or {}).items():
        if counts["stale"]:
            yield (
                f"{model}: {counts['stale']:,} of {counts['items']:,} files were made by another version of this "
                "project and used as they are (keep_stale)."
            )


def _contexts(counts: Mapping[str, int]) -> str:
    total, facts = f"{counts['contexts']:,} contexts", f"{counts['facts']:,} facts"
    if not counts["unused"]:
        return f"all {total} of {facts} were used"
    return f"{counts['unused']:,} of {total} could not be used, in {counts['facts_short']:,} of {facts}"


def _measured(costs: Mapping[str, Any] | None, model: str, method: str) -> float | None:
    """A cost written as ``{method: x}`` or ``{model: {method: x}}``."""
    costs = costs or {}
    inner = costs.get(model)
    found = inner.get(method) if isinstance(inner, Mapping) else costs.get(method)
    return None if found is None or isinstance(found, Mapping) else float(found)


def in_bytes(size: float) -> str:
    """A size in the unit that suits it."""
    for unit in ("B", "KiB", "MiB"):
        if size < KIBI:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= KIBI
    return f"{size:,.1f} GiB"


def summary(runs: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Short facts about the runs together: when, how long, seed, facts, versions."""
    runs = list(runs)
    facts = {
        "Started": _joined(runs, "started"),
        "Time": " + ".join(_time(run) for run in runs if run.get("seconds") is not None),
        "Machine": _joined(runs, "machine"),
        "Seed": _joined(runs, "seed"),
        "Facts edited": _joined(runs, "n_facts"),
        "Versions": ", ".join(
            f"{name} {version}"
            for name, version in {k: v for r in runs for k, v in (r.get("versions") or {}).items()}.items()
        ),
    }
    return [(name, text) for name, text in facts.items() if text]


def _joined(runs: list[Mapping[str, Any]], key: str) -> str:
    return ", ".join(dict.fromkeys(str(run[key]) for run in runs if run.get(key) is not None))


def _time(run: Mapping[str, Any]) -> str:
    """The time of a run by the clock, and CPU seconds of all threads if they were taken."""
    processor_time = run.get("cpu_seconds")
    return _duration(run["seconds"]) + ("" if processor_time is None else f" ({processor_time:,.0f} CPU s)")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(float(seconds)), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
