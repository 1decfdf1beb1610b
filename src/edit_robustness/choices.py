"""List of the choices for a run: methods, kinds of prompt, tables of facts, benchmarks and models.

`kedro list` prints it. Without Kedro's start, which imports torch, `python -m edit_robustness.choices methods` does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import yaml

_MODEL = ".language_model"
_DEFAULT_ENVIRONMENTS = ("base", "local")
"""Environments that every run reads."""

_WIDTH = 150


@dataclass(frozen=True)
class Section:
    """One kind of choice.

    Attributes:
        title: Its heading.
        use: How one of them is chosen.
        lines: From the folder of the configuration to name and description of each.
    """

    title: str
    use: str
    lines: Callable[[Path], Iterator[tuple[str, str]]]


def _methods(conf: Path) -> Iterator[tuple[str, str]]:
    from edit_robustness.editing.registry import ENTRIES

    for entry in ENTRIES.values():
        yield entry.name, f"{entry.label}: {entry.description}"


def _kinds(conf: Path) -> Iterator[tuple[str, str]]:
    from edit_robustness.prompts.kinds import KINDS

    for kind in KINDS.values():
        yield kind.name, f"{kind.label}: {kind.description}"


def _facts(conf: Path) -> Iterator[tuple[str, str]]:
    from edit_robustness.datasets.readers.formats import FORMATS

    for name, entry, environment in _entries(conf):
        if str(entry.get("type", "")).endswith("FactsDataset") and name != "raw_training_facts":
            form = FORMATS.get(str(entry.get("format")))
            default_text = "The project's own facts, or your table with facts_path=my_facts.csv."
            description = default_text if name == "raw_facts" else form.description if form else ""
            if sources := entry.get("sources"):
                description = f"Several data sets in one table: {', '.join(sources)}."
            yield name, f"{description}{environment}"


def _benchmarks(conf: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(conf.glob("*/parameters*.yml")):
        presets = ((_read(path).get("abilities") or {}).get("presets") or {}).items()
        for preset, benchmarks in presets:
            for name, settings in benchmarks.items():
                shots = settings.get("shots", 0)
                source = "embedded here, needs no network" if settings.get("folder") == "embedded" else "of lm-eval"
                examples = f"{shots} examples" if shots else "no examples"
                yield f"{preset}.{name}", f"Task {settings['task']}, {source}; {examples} before each document."


def _models(conf: Path) -> Iterator[tuple[str, str]]:
    for name, entry, environment in _entries(conf):
        if name.endswith(_MODEL):
            note = str(entry.get("note") or "")
            source = next((f"{source}: {entry[source]}" for source in _SOURCES if entry.get(source)), "")
            yield name.removesuffix(_MODEL), f"{note or source}{environment}"


_SOURCES = ("hub", "folder", "package", "random")

SECTIONS: Mapping[str, Section] = {
    "methods": Section("Methods of editing", "kedro run --params=grid.smollm2.memit=true", _methods),
    "kinds": Section("Kinds of prompt", '--params="probes.kinds=statement question", or probes.kinds=all', _kinds),
    "facts": Section("Tables of facts", "--params=facts=popqa,sample.size=100; docs/reference/data.md", _facts),
    "benchmarks": Section(
        "Benchmarks of sequences of edits",
        '--pipeline=sequential_eval --params="abilities.tasks=embedded paper2.gsm8k"',
        _benchmarks,
    ),
    "models": Section("Models", "--params=grid.pythia_1b.none=true,grid.pythia_1b.rome=true", _models),
}
"""The sorts of choices by their names on the command line."""


def describe(names: tuple[str, ...], conf: Path) -> Iterator[str]:
    """Yield the lines that list some sorts of choices.

    Args:
        names: Rows of `SECTIONS`; none for all.
        conf: The folder of the configuration.
    """
    for number, name in enumerate(names or SECTIONS):
        section = SECTIONS[name]
        rows = dict(section.lines(conf))
        width = max(map(len, rows), default=0)
        if number:
            yield ""
        yield f"{section.title} ({section.use})"
        for row, text in rows.items():
            yield f"  {row:<{width}}  {shorten(text, _WIDTH, placeholder=' ...')}"


def _entries(conf: Path) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Yield name, settings and, if another environment than the default has it, how to choose that, of each entry."""
    environments = sorted(
        (path for path in conf.iterdir() if path.is_dir()),
        key=lambda path: (path.name not in _DEFAULT_ENVIRONMENTS, path.name),
    )
    names: set[str] = set()
    for folder in environments:
        hint = "" if folder.name in _DEFAULT_ENVIRONMENTS else f" (--env={folder.name})"
        for path in sorted(folder.glob("catalog*.yml")):
            for name, entry in _read(path).items():
                if isinstance(entry, Mapping) and name not in names:
                    names.add(name)
                    yield str(name), entry, hint


def _read(path: Path) -> Mapping[str, Any]:
    """Return the blocks of a file as they are written, without Kedro's interpolation."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, Mapping) else {}


def main(names: tuple[str, ...] = ()) -> None:
    """Print the choices of the project in the working folder."""
    unknown_names = [name for name in names if name not in SECTIONS]
    if unknown_names:
        raise SystemExit(f"there is no list `{unknown_names[0]}`; there are {', '.join(SECTIONS)}")
    for line in describe(names, Path("conf")):
        print(line)  # noqa: T201


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
