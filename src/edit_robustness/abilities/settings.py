"""What a run asks of its models: named presets of benchmarks, and how much of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any

from pydantic import NonNegativeInt, PositiveInt, ValidationError
from pydantic.dataclasses import dataclass

from edit_robustness.setting_types import STRICT, Listed
from edit_robustness.text.closest import did_you_mean


@dataclass(frozen=True, config={"extra": "forbid"})
class BenchmarkSettings:
    """One benchmark.

    Attributes:
        task: A task, group or tag of the harness.
        folder: Where its YAML is: `embedded` (ours), a folder of the harness's tasks, or a folder of your own; empty to
            search all of the harness's, which takes it 10 to 20 s.
        shots: Examples before each document.
        metric: The metric that counts; empty for the task's first, and for the perplexity of a text.
        documents: Most documents, where that is less than the run's `documents`; 0 for no limit of its own.
        shuffled: Field of a document whose options (`choices`, `labels`) are put into an order of chance, because the
            data set has the right one first; empty for none.
        constant_answer: A text that is tried as the constant answer, beside those that are right.
        overrides: Settings of the harness's task that shall be others.
    """

    task: str
    folder: str = ""
    shots: int = 0
    metric: str = ""
    documents: int = 0
    shuffled: str = ""
    constant_answer: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class AbilityParameters:
    """Parameters `abilities`.

    Attributes:
        tasks: What is measured: a preset, one benchmark of it (`paper2.gsm8k`), or several of these.
        documents: Most documents of a benchmark, drawn across its tasks in equal shares; 0 for all.
        seed: Of that draw, of the harness's examples where they are drawn, and of the order of shuffled options.
        max_new_tokens: Most tokens of a free generation; a task's own limit holds where it is lower.
        presets: Benchmarks by preset and name.

    Raises:
        ValueError: For a number that makes no sense, a preset or benchmark that is not there, or an unknown setting.
    """

    tasks: Listed[str]
    documents: NonNegativeInt
    seed: NonNegativeInt
    max_new_tokens: PositiveInt
    presets: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def __post_init__(self) -> None:
        for preset, benchmarks in self.presets.items():
            for name, settings in benchmarks.items():
                _benchmark(preset, name, settings)
        self.chosen()

    def chosen(self) -> dict[str, BenchmarkSettings]:
        """The benchmarks that are measured, by name."""
        if not self.tasks:
            raise ValueError(f"abilities.tasks is empty; {self._choice()}")
        picked = [entry for task in self.tasks for entry in self._picked(task)]
        twice = {name for name, preset in picked if (name, preset) != next(e for e in picked if e[0] == name)}
        if twice:
            raise ValueError(f"abilities.tasks: {', '.join(sorted(twice))} is in several of these presets; name one")
        return {name: _benchmark(preset, name, self.presets[preset][name]) for name, preset in picked}

    def _picked(self, task: str) -> list[tuple[str, str]]:
        preset, _, one = task.partition(".")
        if preset not in self.presets or (one and one not in self.presets[preset]):
            raise ValueError(f"abilities.tasks: there is no `{task}`; {self._choice()}")
        return [(name, preset) for name in self.presets[preset] if one in ("", name)]

    def _choice(self) -> str:
        there = "; ".join(f"{preset} ({', '.join(names)})" for preset, names in self.presets.items())
        return f"there are the presets {there}, and single benchmarks by `preset.benchmark`"


def _benchmark(preset: str, name: str, settings: Mapping[str, Any]) -> BenchmarkSettings:
    where = f"abilities.presets.{preset}.{name}"
    known = [one.name for one in fields(BenchmarkSettings)]
    unknown = sorted(set(settings) - set(known))
    if unknown or "task" not in settings:
        wrong = f"no setting `{unknown[0]}`; {did_you_mean(unknown[0], known)}" if unknown else "`task` is missing"
        raise ValueError(f"{where}: {wrong}; a benchmark has {', '.join(known)}")
    try:
        made = BenchmarkSettings(**settings)
    except ValidationError as error:
        wrong = "; ".join(f"{each['loc'][0]}: {each['msg']} (it is {each['input']!r})" for each in error.errors())
        raise ValueError(f"{where}: {wrong}") from error
    if made.shots < 0 or made.documents < 0:
        raise ValueError(f"{where}: shots ({made.shots}) and documents ({made.documents}) are at least 0")
    return made
