"""The plan of a run: what there is to make, who makes it, and how long that took before."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edit_robustness.labels import METHODS, in_order, label_of
from edit_robustness.prompts.kinds import select_kinds
from edit_robustness.setting_types import read_list
from edit_robustness.workers import WorkerParameters

_EDIT, _ASK = "edit", "evaluate"
"""Last parts of the names of nodes that make edits and answers: `<model>.<method>.edit`."""

_WORTH_SECONDS = 180.0
"""Workers take some ten seconds to start and to load their models, so they pay from about here on."""

_PER_FACT = {
    "paraphrase": "paraphrases_per_fact",
    "neighbourhood": "neighbours_per_fact",
    "relation_specificity": "relation_specificity_per_fact",
    "unrelated": "unrelated_per_fact",
}
"""The settings of `probes` that say how many prompts of a kind a fact has; it has one of every other kind."""


def plan_lines(
    nodes: Iterable[str], parameters: Mapping[str, Any], workers: WorkerParameters, models_folder: Path
) -> list[str]:
    """Return lines for the log of a run that makes single edits; none for other runs.

    What is stored already is not subtracted, so that all numbers are upper limits.

    Args:
        nodes: Names of the nodes of the run.
        parameters: The parameters.
        workers: The workers.
        models_folder: The folder with a folder per model, where earlier runs left their rates.
    """
    cells = _list_cells(nodes)
    lines, seconds_of_all, is_complete = [], 0.0, True
    for model, stages in cells.items():
        record = _read(models_folder / model / "run.json")
        n_facts = (parameters.get("sample") or {}).get("size") or record.get("n_facts")
        n_facts = n_facts if isinstance(n_facts, int) else 0
        n_prompts = _count_prompts(parameters.get("probes") or {})
        methods = in_order([*stages[_EDIT], *stages[_ASK]], METHODS)
        facts = f"{n_facts} facts" if n_facts else "all facts"
        labels = ", ".join(label_of(method, METHODS) for method in methods)
        line = f"plan: {model}: {facts}, at most {n_prompts} prompts a fact and method; {labels}"
        seconds = _estimate(record, model, stages, n_facts, n_prompts)
        if seconds is None:
            is_complete = False
        else:
            seconds_of_all += seconds
            line += f"; {_minutes(seconds)} by the rates of its last run ({record.get('machine', 'unknown machine')})"
        lines.append(line)
    if cells:
        lines.append(_who(workers, seconds_of_all, is_complete))
    return lines


def _list_cells(nodes: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Return for each model the methods that are to edit and those that are to be asked."""
    cells: dict[str, dict[str, list[str]]] = {}
    for name in nodes:
        parts = name.split(".")
        if len(parts) == 3 and parts[2] in (_EDIT, _ASK):
            cells.setdefault(parts[0], {_EDIT: [], _ASK: []})[parts[2]].append(parts[1])
    return cells


def _count_prompts(probes: Mapping[str, Any]) -> int:
    kinds = select_kinds(read_list(probes.get("kinds") or ()))
    return sum(int(probes.get(_PER_FACT.get(kind, ""), 1)) for kind in kinds)


def _estimate(
    record: Mapping[str, Any], model: str, stages: Mapping[str, Sequence[str]], n_facts: int, n_prompts: int
) -> float | None:
    """Return the seconds of one worker; None if a method has no rate of an earlier run."""
    edit_seconds, ask_rates = (_rates(record, name, model) for name in ("seconds_per_edit", "probes_per_second"))
    if not n_facts or not edit_seconds.keys() >= {*stages[_EDIT]} or not all(map(ask_rates.get, stages[_ASK])):
        return None
    seconds = sum(edit_seconds[method] for method in stages[_EDIT])
    return float(n_facts * (seconds + sum(n_prompts / ask_rates[method] for method in stages[_ASK])))


def _rates(record: Mapping[str, Any], name: str, model: str) -> dict[str, float]:
    """Return a rate of each method that has one: a method whose edits all failed has none."""
    by_model = record.get(name)
    rates = by_model.get(model) if isinstance(by_model, Mapping) else None
    return {m: r for m, r in rates.items() if isinstance(r, int | float)} if isinstance(rates, Mapping) else {}


def _who(workers: WorkerParameters, seconds: float, is_complete: bool) -> str:
    """Return the line that says who makes the items, and how long that may take."""
    count = workers.count
    if count:
        place = f" of the cluster at {workers.address}" if workers.address else ""
        gpus = f", each with {workers.gpus:g} GPUs" if workers.gpus else ""
        time = f"; together {_minutes(seconds / count)}" if is_complete else ""
        return f"plan: {count} workers{place}{gpus}{time}"
    line = "plan: all in this process"
    if is_complete and seconds >= _WORTH_SECONDS and (os.cpu_count() or 1) > 1:
        line += "; with --params=workers.count=N, N processes share the work, each with a model of its own"
    return line


def _minutes(seconds: float) -> str:
    return f"about {seconds:.0f} s" if seconds < 60 else f"about {seconds / 60:.0f} min"


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
