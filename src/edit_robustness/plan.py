"""The plan of a run: what there is to make, who makes it, and how long that took before."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edit_robustness.abilities.settings import AbilityParameters
from edit_robustness.editing.edit_sequence import SequenceParameters
from edit_robustness.editing.methods.none import Unedited
from edit_robustness.labels import METHODS, in_order, label_of
from edit_robustness.prompts.kinds import select_kinds
from edit_robustness.setting_types import read_list
from edit_robustness.workers import WorkerParameters

_EDIT, _ASK = "edit", "evaluate"
"""Last parts of the names of nodes that make edits and answers: `<model>.<method>.edit`."""

_EDIT_SEQUENCE, _ASK_SEQUENCE, _MEASURE = "edit_in_sequence", "ask_checkpoints", "measure_abilities"
"""The same of nodes that edit in sequence, ask at checkpoints, and measure abilities there."""

_WORTH_SECONDS = 180.0
"""Workers take some ten seconds to start and to load their models, so they pay from about here on."""

_PER_FACT = {
    "paraphrase": "paraphrases_per_fact",
    "neighbourhood": "neighbours_per_fact",
    "relation_specificity": "relation_specificity_per_fact",
    "unrelated": "unrelated_per_fact",
}
"""The settings of `probes` that say how many prompts of a kind a fact has; it has one of every other kind."""


@dataclass(frozen=True)
class _Part:
    """The plan of one model.

    Attributes:
        text: What there is to make.
        record: The record of the model's last run; empty if there is none.
        seconds: How long that takes one worker; None if it is not known.
    """

    text: str
    record: Mapping[str, Any]
    seconds: float | None

    @property
    def line(self) -> str:
        """Return the line for the log."""
        if self.seconds is None:
            return f"plan: {self.text}"
        rates = f"by the rates of its last run ({self.record.get('machine', 'unknown machine')})"
        return f"plan: {self.text}; {_minutes(self.seconds)} {rates}"


def plan_lines(
    nodes: Iterable[str], parameters: Mapping[str, Any], workers: WorkerParameters, models_folder: Path
) -> list[str]:
    """Return lines for the log of a run that edits: one per model, and one on who does the work; none for other runs.

    What is stored already is not subtracted, so that all numbers are upper limits.

    Args:
        nodes: Names of the nodes of the run.
        parameters: The parameters.
        workers: The workers.
        models_folder: The folder with a folder per model, where earlier runs left their rates.
    """
    names = list(nodes)
    parts = [
        _plan_edits(model, stages, parameters, _read(models_folder / model / "run.json"))
        for model, stages in _list_cells(names, (_EDIT, _ASK)).items()
    ]
    parts += [
        _plan_sequences(model, stages, parameters, _read(models_folder / model / "sequence_run.json"))
        for model, stages in _list_cells(names, (_EDIT_SEQUENCE, _ASK_SEQUENCE, _MEASURE)).items()
    ]
    if not parts:
        return []
    seconds = [part.seconds for part in parts if part.seconds is not None]
    return [*(part.line for part in parts), _who(workers, sum(seconds), len(seconds) == len(parts))]


def _list_cells(nodes: Iterable[str], stages: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Return for each model the methods that have a node of each stage."""
    cells: dict[str, dict[str, list[str]]] = {}
    for name in nodes:
        parts = name.split(".")
        if len(parts) == 3 and parts[2] in stages:
            cells.setdefault(parts[0], {stage: [] for stage in stages})[parts[2]].append(parts[1])
    return cells


def _label_methods(stages: Mapping[str, Sequence[str]]) -> str:
    methods = in_order([method for names in stages.values() for method in names], METHODS)
    return ", ".join(label_of(method, METHODS) for method in methods)


def _plan_edits(
    model: str, stages: Mapping[str, Sequence[str]], parameters: Mapping[str, Any], record: Mapping[str, Any]
) -> _Part:
    """Return the plan of a model's single edits."""
    n_facts = (parameters.get("sample") or {}).get("size") or record.get("n_facts")
    n_facts = n_facts if isinstance(n_facts, int) else 0
    n_prompts = _count_prompts(parameters.get("probes") or {})
    facts = f"{n_facts} facts" if n_facts else "all facts"
    text = f"{model}: {facts}, at most {n_prompts} prompts per fact and method; {_label_methods(stages)}"
    return _Part(text, record, _estimate_edits(model, stages, n_facts, n_prompts, record))


def _count_prompts(probes: Mapping[str, Any]) -> int:
    kinds = select_kinds(read_list(probes.get("kinds") or ()))
    return sum(int(probes.get(_PER_FACT.get(kind, ""), 1)) for kind in kinds)


def _estimate_edits(
    model: str, stages: Mapping[str, Sequence[str]], n_facts: int, n_prompts: int, record: Mapping[str, Any]
) -> float | None:
    """Return the seconds of one worker; None if a method has no rate of an earlier run."""
    edit_seconds, ask_rates = (_rates(record, name, model) for name in ("seconds_per_edit", "probes_per_second"))
    if not n_facts or not edit_seconds.keys() >= {*stages[_EDIT]} or not all(map(ask_rates.get, stages[_ASK])):
        return None
    seconds = sum(edit_seconds[method] for method in stages[_EDIT])
    return float(n_facts * (seconds + sum(n_prompts / ask_rates[method] for method in stages[_ASK])))


def _plan_sequences(
    model: str, stages: Mapping[str, Sequence[str]], parameters: Mapping[str, Any], record: Mapping[str, Any]
) -> _Part:
    """Return the plan of a model's sequences of edits."""
    sequence = SequenceParameters(**parameters["sequence"])
    benchmarks = AbilityParameters(**parameters["abilities"]).select_benchmarks()
    orders = f"{sequence.orders} orders" if sequence.orders > 1 else "one order"
    text = (
        f"{model}: {sequence.length} facts in sequence, {orders}, checkpoints 0, "
        f"{', '.join(map(str, sequence.checkpoints))}; at most {_count_answers(sequence)} answers per method, and at "
        f"each checkpoint {len(benchmarks)} benchmarks; {_label_methods(stages)}"
    )
    return _Part(text, record, _estimate_sequences(model, stages, sequence, list(benchmarks), record))


def _count_answers(sequence: SequenceParameters, *, is_edited: bool = True) -> int:
    """Return the largest number of answers at all checkpoints of one method, or of the unedited model."""
    kinds = (sequence.paraphrases, sequence.neighbours, sequence.relation_specificity, sequence.unrelated)
    per_fact = 1 + sum(kinds)
    points = list(sequence.checkpoints) * sequence.orders if is_edited else [sequence.length]
    return sum(edits * per_fact + sequence.retention_facts for edits in points)


def _estimate_sequences(
    model: str,
    stages: Mapping[str, Sequence[str]],
    sequence: SequenceParameters,
    benchmarks: Sequence[str],
    record: Mapping[str, Any],
) -> float | None:
    """Return the seconds of one worker; None if a method has no rate of an earlier run for what it is to do."""
    edit_seconds, ask_rates = (_rates(record, name, model) for name in ("seconds_per_edit", "probes_per_second"))
    methods = (record.get("sequences") or {}).get(model) or {}
    benchmark_seconds = {name: _mean_benchmark_seconds(methods.get(name) or {}) for name in stages[_MEASURE]}
    if (
        not edit_seconds.keys() >= {*stages[_EDIT_SEQUENCE]}
        or not all(map(ask_rates.get, stages[_ASK_SEQUENCE]))
        or not all(seconds.keys() >= {*benchmarks} for seconds in benchmark_seconds.values())
    ):
        return None
    n_points = len(sequence.checkpoints) * sequence.orders
    edits = sum(edit_seconds[method] for method in stages[_EDIT_SEQUENCE]) * sequence.length * sequence.orders
    answers = sum(
        _count_answers(sequence, is_edited=method != Unedited.name) / ask_rates[method]
        for method in stages[_ASK_SEQUENCE]
    )
    abilities = sum(
        sum(seconds[name] for name in benchmarks) * (n_points if method != Unedited.name else 1)
        for method, seconds in benchmark_seconds.items()
    )
    return edits + answers + abilities


def _mean_benchmark_seconds(method_record: Mapping[str, Any]) -> dict[str, float]:
    """Return the seconds of each benchmark, on average over the checkpoints where it was measured."""
    seconds: dict[str, list[float]] = {}
    for point in (method_record.get("seconds_per_benchmark") or {}).values():
        for name, value in point.items():
            seconds.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in seconds.items()}


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
