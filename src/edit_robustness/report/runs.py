"""Summary of runs from their records; entries that a run did not record are left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from edit_robustness.labels import METHODS, in_order, label_of
from edit_robustness.report.rows import records

KIBI = 1024


def collect_runs(*runs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the records of each model's run."""
    return list(runs)


def list_models(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return a row per model: its name and its record (source, dtype, device, fingerprint, note ...)."""
    rows: dict[str, dict[str, str]] = {}
    for record in runs:
        for name, about in (record.get("models") or {}).items():
            rows[name] = {"model": str(name), **{key: str(value) for key, value in about.items() if value is not None}}
    return list(rows.values())


def list_methods(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return a row per model and method: hyperparameters and figures as text, and its cost if it was measured."""
    return [row for record in runs for row in _methods(record)]


def count_facts(runs: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return the number of facts that each model's run edits."""
    return {
        str(model): int(record["n_facts"])
        for record in runs
        if "n_facts" in record
        for model in record.get("models") or {}
    }


def list_failures(failed_items: pd.DataFrame) -> list[dict[str, Any]]:
    """Group failed items by model, method, stage and reason, with their number."""
    if failed_items.empty:
        return []
    by = ["model", "method", "stage", "reason"]
    groups = failed_items.groupby(by, sort=False)["key"]
    table = groups.agg(number="size", first="first").reset_index().sort_values(by[:3], kind="stable")
    return records(table)


def _methods(record: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for model, methods in (record.get("methods") or {}).items():
        for method in in_order(methods, METHODS):
            settings = methods[method] or {}
            seconds = _read_cost(record.get("seconds_per_edit"), model, method)
            size = _read_cost(record.get("bytes_per_edit"), model, method)
            speed = _read_cost(record.get("probes_per_second"), model, method)
            yield {
                "model": str(model),
                "method": label_of(method, METHODS),
                "settings": ", ".join(f"{key}: {value}" for key, value in settings.items()),
                "note": _note(
                    (record.get("used_defaults") or {}).get(model, {}).get(method, ""),
                    (record.get("figures") or {}).get(model, {}).get(method, {}),
                ),
                "seconds": "" if seconds is None else f"{seconds:,.2f} s",
                "size": "" if size is None else in_bytes(size),
                "speed": "" if speed is None else f"{speed:,.1f}",
            }


def _note(default: str, figures: Mapping[str, Any]) -> str:
    """Describe whether the hyperparameters are defaults, and the measurements from a method's preparation."""
    dead = "; ".join(
        f"{number:,} of {width:,} key coordinates at {site} are always 0 and left out of the solve"
        for site, (number, width) in (figures.get("dead_coordinates") or {}).items()
    )
    default_note = f"{default}; not tuned for this model." if default else ""
    return " ".join(part for part in (default_note, _describe_null_space(figures), f"{dead}." if dead else "") if part)


def _describe_null_space(figures: Mapping[str, Any]) -> str:
    """Describe the share of held-out text that AlphaEdit's updates affect."""
    if "held_out_energy" not in figures:
        return ""
    shares = list(figures["held_out_energy"].values())
    if not shares:
        return "The effect of its updates on other text was not measured: no text was left to hold out."
    return (
        f"Of the key energy of held-out text ({figures['held_out_tokens']:,} tokens) {min(shares):.1%} to "
        f"{max(shares):.1%}, depending on the layer, is inside the null space and so affected by its updates."
    )


def list_contexts(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line per model and method that edits with contexts: whether all of them could be used."""
    return [f"{name}: {_contexts(counts)}" for name, counts in _counts_of_methods(runs, "contexts")]


def list_unmet(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line per model and method with a stop: how many optimisations ended above it."""
    return [
        f"{name}: {counts['unmet']:,} of {counts['facts']:,} (at {counts['stop_loss']:g})"
        for name, counts in _counts_of_methods(runs, "unmet")
    ]


def _counts_of_methods(runs: Iterable[Mapping[str, Any]], field: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the counts in one field of the records, after the names of model and method, for methods that have any."""
    for record in runs:
        for model, counts_by_method in (record.get(field) or {}).items():
            for method in in_order([name for name, counts in counts_by_method.items() if counts], METHODS):
                yield f"{model}, {label_of(method, METHODS)}", counts_by_method[method]


def list_mixed(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a warning for each model whose figures mix environments, or use files of another version."""
    return [line for record in runs for line in (*_environments(record), *_stale(record))]


def _environments(record: Mapping[str, Any]) -> Iterator[str]:
    for model, environments in (record.get("environments") or {}).items():
        if len(environments) < 2:
            continue
        names = dict.fromkeys(name for environment in environments for name in environment if name != "items")
        differences = [name for name in names if len({environment.get(name) for environment in environments}) > 1]
        descriptions = [
            ", ".join(f"{name} {environment.get(name, 'unknown')}" for name in differences)
            for environment in environments
        ]
        parts = (
            f"{environment['items']:,} files with {text}"
            for environment, text in zip(environments, descriptions, strict=True)
        )
        yield (
            f"{model}: the figures mix environments: {'; '.join(parts)}. Differences between methods or facts may be "
            "due to them. Remove the older files to recompute all in one environment."
        )


def _stale(record: Mapping[str, Any]) -> Iterator[str]:
    for model, counts in (record.get("stale") or {}).items():
        if counts["stale"]:
            yield (
                f"{model}: {counts['stale']:,} of {counts['items']:,} files were made by another version of this "
                "project and used unchanged (keep_stale)."
            )


def _contexts(counts: Mapping[str, int]) -> str:
    total, facts = f"{counts['contexts']:,} contexts", f"{counts['facts']:,} facts"
    if not counts["unused"]:
        return f"all {total} of {facts} were used"
    return f"{counts['unused']:,} of {total} could not be used, in {counts['facts_short']:,} of {facts}"


def _read_cost(costs: Mapping[str, Any] | None, model: str, method: str) -> float | None:
    """Return a cost stored as ``{method: x}`` or ``{model: {method: x}}``."""
    costs = costs or {}
    inner = costs.get(model)
    cost = inner.get(method) if isinstance(inner, Mapping) else costs.get(method)
    return None if cost is None or isinstance(cost, Mapping) else float(cost)


def in_bytes(size: float) -> str:
    """Format a size with a suitable unit."""
    for unit in ("B", "KiB", "MiB"):
        if size < KIBI:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= KIBI
    return f"{size:,.1f} GiB"


def summary(runs: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return short entries about the runs together: start, time, seed, facts, versions."""
    runs = list(runs)
    facts = {
        "Started": _join_values(runs, "started"),
        "Time": " + ".join(_time(record) for record in runs if record.get("seconds") is not None),
        "Machine": _join_values(runs, "machine"),
        "Seed": _join_values(runs, "seed"),
        "Facts edited": _join_values(runs, "n_facts"),
        "Versions": ", ".join(
            f"{name} {version}"
            for name, version in {k: v for r in runs for k, v in (r.get("versions") or {}).items()}.items()
        ),
    }
    return [(name, text) for name, text in facts.items() if text]


def _join_values(runs: list[Mapping[str, Any]], key: str) -> str:
    return ", ".join(dict.fromkeys(str(record[key]) for record in runs if record.get(key) is not None))


def _time(run: Mapping[str, Any]) -> str:
    """Return the time of a run by the clock, and CPU seconds of all threads if they were taken."""
    processor_time = run.get("cpu_seconds")
    return _duration(run["seconds"]) + ("" if processor_time is None else f" ({processor_time:,.0f} CPU s)")


def _duration(seconds: float) -> str:
    minutes, remainder = divmod(round(float(seconds)), 60)
    return f"{minutes} min {remainder} s" if minutes else f"{remainder} s"
