"""Origins of data sets: every parameter and every source (raw data, language models) that one follows from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets import CheckRecord
from edit_robustness.runs.commands import flatten
from edit_robustness.storage import checksum, file_checksum
from edit_robustness.text.secrets import without_secrets

CHANGES_NO_CONTENT = ("decoding.batch_rows", "conversation.batch_rows", "probes.reviewed", "web", "workers")
"""Parameters and sources that may differ between the run that made a data set and the run that reads it.

The batch sizes change memory and speed only, as in the fingerprints of answers. `probes.reviewed` changes a sample for
people, which no node reads. The web's answers are cached, and its settings say how to ask for them.
"""

_NOT_CONTENT = ("metadata", "credentials", "device", "converted", "note", "cache", "offline", "manners", "batch_rows")
"""Settings in a catalog entry of a source that do not change what is read."""

_LOCATIONS = ("path", "filepath", "folder", "files", "relations")
"""Settings in a catalog entry whose value is a file or a folder, or a mapping of these."""

_HASHED = 64 * 2**20
"""Larger files, and files in folders, are described by size and time instead of a checksum."""

_LONG = 200
"""Characters from which a value is stored as its checksum."""

Leaves = dict[str, Any]
"""Single settings by dotted name, with their values."""


@dataclass(frozen=True)
class Settings:
    """The settings of a run, as written in the configuration.

    Attributes:
        parameters: All parameters, with those of the command line.
        entry: From the name of a source to its catalog entry.
    """

    parameters: Mapping[str, Any]
    entry: Callable[[str], Mapping[str, Any]]


@dataclass
class Origins:
    """Which parameters and sources the data sets of the registered pipelines follow from.

    Args:
        pipelines: The registered pipelines by name.
        decides_nothing: Whether a data set only tells a node what is checked already.
        settings: The settings of this run.
    """

    pipelines: Mapping[str, Pipeline]
    decides_nothing: Callable[[str], bool]
    settings: Settings
    _producers: dict[str, dict[str, Node]] = field(init=False)
    _known_roots: dict[tuple[str, str], frozenset[str]] = field(init=False, default_factory=dict)
    _flat: dict[str, Leaves] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._producers = {
            name: {output: node for node in pipeline.nodes for output in node.outputs}
            for name, pipeline in self.pipelines.items()
        }

    def makers(self, dataset: str) -> list[str]:
        """Return the names of the pipelines with a node that writes a data set."""
        return [name for name, nodes in self._producers.items() if dataset in nodes]

    def maker(self, dataset: str, pipeline: str) -> Node:
        """Return the node of a pipeline that writes a data set."""
        return self._producers[pipeline][dataset]

    def follows(self, dataset: str, pipeline: str) -> Leaves:
        """Return each setting that a data set follows from when this pipeline makes it, with its value in this run."""
        leaves: Leaves = {}
        for root in sorted(self._roots(dataset, pipeline)):
            if root not in self._flat:
                self._flat[root] = dict(self._leaves(root))
            leaves |= self._flat[root]
        return leaves

    def _roots(self, dataset: str, pipeline: str) -> frozenset[str]:
        """Return the parameters and sources among the ancestors of a data set."""
        if dataset.startswith("params:"):
            return frozenset([dataset])
        if self.decides_nothing(dataset):
            return frozenset()
        key = (dataset, pipeline)
        if key not in self._known_roots:
            makers = [pipeline] if dataset in self._producers[pipeline] else self.makers(dataset)
            if makers:
                parts = [self._roots(name, makers[0]) for name in self.maker(dataset, makers[0]).inputs]
                self._known_roots[key] = frozenset().union(*parts)
            else:
                self._known_roots[key] = frozenset([dataset])
        return self._known_roots[key]

    def _leaves(self, root: str) -> Iterator[tuple[str, Any]]:
        if root.startswith("params:"):
            name = root.removeprefix("params:")
            value: Any = self.settings.parameters
            for part in name.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
        else:
            name, value = root, _describe(self.settings.entry(root))
        for leaf, plain in flatten({name: value}):
            if not any(leaf == prefix or leaf.startswith(f"{prefix}.") for prefix in CHANGES_NO_CONTENT):
                yield leaf, _plain(without_secrets(plain))


def decides_nothing(dataset: AbstractDataset[Any, Any] | None) -> bool:
    """Return whether a data set only tells a node what is checked already."""
    return isinstance(dataset, CheckRecord)


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back, comparable with a stored one; a long value becomes its checksum."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return f"checksum {checksum(text.encode())}" if len(text) > _LONG else json.loads(text)


def _describe(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a catalog entry of a source, with what lies at its locations in place of their names."""
    descriptions = {}
    for key, value in entry.items():
        if key in _NOT_CONTENT:
            continue
        if key in _LOCATIONS:
            descriptions[key] = (
                {k: _content(v) for k, v in value.items()} if isinstance(value, Mapping) else _content(value)
            )
        else:
            descriptions[key] = _describe(value) if isinstance(value, Mapping) else value
    return descriptions


def _content(location: Any) -> Any:
    """Describe a file, a folder or a list of these; an address, or what does not exist, is described by its name."""
    if isinstance(location, list):
        return [_content(part) for part in location]
    path = Path(str(location)) if location else None
    if path is None or not path.exists():
        return location
    if path.is_file():
        return f"content {file_checksum(path)}" if path.stat().st_size <= _HASHED else _stamp(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    stamps = [f"{file.relative_to(path).as_posix()} {_stamp(file)}" for file in files]
    return f"folder {checksum(*(stamp.encode() for stamp in stamps))}"


def _stamp(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size} bytes of {stat.st_mtime_ns}"
