"""Settings of general abilities: presets of benchmarks and their sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any

from pydantic import NonNegativeInt, PositiveInt, ValidationError
from pydantic.dataclasses import dataclass

from edit_robustness.setting_types import STRICT, ListSetting
from edit_robustness.text.closest import did_you_mean


@dataclass(frozen=True, config={"extra": "forbid"})
class BenchmarkSettings:
    """Settings of one benchmark.

    Attributes:
        task: A task, group or tag of the harness.
        folder: Folder of its YAML file: `embedded` (part of this package), a folder of the harness's tasks, or a folder
            of your own. Empty to search all tasks of the harness, which takes 10 to 20 s.
        shots: Number of few-shot examples before each document.
        metric: The metric to report; empty for the task's first metric, and for perplexity.
        documents: Maximum number of documents, if less than the run's `documents`; 0 for no limit.
        shuffled: Field of a document whose options (`choices`, `labels`) are shuffled, because the right option comes
            first in the data set; empty for none.
        constant_answer: A text that is tried as the constant answer, instead of the right answers.
        ability: Kind of ability that the benchmark measures: one of `labels.ABILITIES`, or a name of your own. Ability
            retention is estimated per kind, and for all kinds together except `safety`. Empty for the benchmark's name.
        overrides: Settings of the harness's task to override.
    """

    task: str
    folder: str = ""
    shots: int = 0
    metric: str = ""
    documents: int = 0
    shuffled: str = ""
    constant_answer: str = ""
    ability: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class AbilityParameters:
    """Parameters `abilities`.

    Attributes:
        tasks: The benchmarks to measure: a preset, one benchmark of it (`paper2.gsm8k`), or a list of these.
        documents: Maximum number of documents per benchmark, drawn from its tasks in equal shares; 0 for all.
        seed: Seed of that draw, of few-shot examples that are drawn, and of the order of shuffled options.
        max_new_tokens: Maximum tokens of a generation, if the task has no lower limit.
        presets: Benchmarks by preset and name.

    Raises:
        ValueError: If a number is invalid, or a preset, benchmark or setting is unknown.
    """

    tasks: ListSetting[str]
    documents: NonNegativeInt
    seed: NonNegativeInt
    max_new_tokens: PositiveInt
    presets: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def __post_init__(self) -> None:
        for preset, benchmarks in self.presets.items():
            for name, settings in benchmarks.items():
                _benchmark(preset, name, settings)
        self.select_benchmarks()

    def select_benchmarks(self) -> dict[str, BenchmarkSettings]:
        """Return the settings of the selected benchmarks by name."""
        if not self.tasks:
            raise ValueError(f"abilities.tasks is empty; {self._describe_choice()}")
        entries = [entry for task in self.tasks for entry in self._entries(task)]
        duplicates = {
            name
            for name, preset in entries
            if (name, preset) != next(other_entry for other_entry in entries if other_entry[0] == name)
        }
        if duplicates:
            raise ValueError(
                f"abilities.tasks: {', '.join(sorted(duplicates))} is in several of these presets; name one"
            )
        return {name: _benchmark(preset, name, self.presets[preset][name]) for name, preset in entries}

    def _entries(self, task: str) -> list[tuple[str, str]]:
        preset, _, benchmark = task.partition(".")
        if preset not in self.presets or (benchmark and benchmark not in self.presets[preset]):
            raise ValueError(f"abilities.tasks: unknown preset or benchmark `{task}`; {self._describe_choice()}")
        return [(name, preset) for name in self.presets[preset] if benchmark in ("", name)]

    def _describe_choice(self) -> str:
        presets = "; ".join(f"{preset} ({', '.join(names)})" for preset, names in self.presets.items())
        return f"available presets: {presets}; write `preset.benchmark` for a single benchmark"


def _benchmark(preset: str, name: str, settings: Mapping[str, Any]) -> BenchmarkSettings:
    location = f"abilities.presets.{preset}.{name}"
    setting_names = [setting.name for setting in fields(BenchmarkSettings)]
    unknown_names = sorted(set(settings) - set(setting_names))
    if unknown_names or "task" not in settings:
        faults = (
            f"no setting `{unknown_names[0]}`; {did_you_mean(unknown_names[0], setting_names)}"
            if unknown_names
            else "`task` is missing"
        )
        raise ValueError(f"{location}: {faults}; a benchmark has {', '.join(setting_names)}")
    try:
        benchmark = BenchmarkSettings(**settings)
    except ValidationError as error:
        faults = "; ".join(
            f"{failure['loc'][0]}: {failure['msg']} (it is {failure['input']!r})" for failure in error.errors()
        )
        raise ValueError(f"{location}: {faults}") from error
    if benchmark.shots < 0 or benchmark.documents < 0:
        raise ValueError(
            f"{location}: shots ({benchmark.shots}) and documents ({benchmark.documents}) must be at least 0"
        )
    return benchmark
