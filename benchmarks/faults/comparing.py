"""Whether two folders of data hold the same tables and the same kept items."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import safe_open

from edit_robustness.runs.folders import LATEST, RECORD, REPORTING, RunFolders

TABLES = (".parquet", ".csv", ".json")
ITEMS = (".jsonl", ".safetensors")
PAGES = (".html",)
"""Pages are not compared: they show times, and all other figures on them come from tables."""

TIMES = frozenset(
    {
        *("finished", "seconds", "seconds_per_edit", "seconds_per_benchmark", "probes_per_second", "bytes_per_edit"),
        *("checksum", "failed_at", "cpu_seconds", "machine"),
    }
)
"""Fields of run records and of headers that differ between two equal runs. The size of an edit's file and the checksum
of an item are among them because its header contains seconds, written with as many digits as they have."""

RELATIVE, ABSOLUTE = 1e-3, 1e-5
"""Two values are equal but for rounding within these: a batch of another width adds the same numbers in another
order."""


@dataclass
class Comparison:
    """Result of the comparison of two folders.

    Attributes:
        equal: Files with the same content, times aside.
        rounding: Files whose numbers differ by rounding only, each with the largest difference.
        differing: Files that differ in another way, each with how.
    """

    equal: list[str] = field(default_factory=list)
    rounding: dict[str, float] = field(default_factory=dict)
    differing: dict[str, str] = field(default_factory=dict)

    @property
    def compared(self) -> int:
        """Return how many files were compared."""
        return len(self.equal) + len(self.rounding) + len(self.differing)

    @property
    def same(self) -> bool:
        """Return whether all files have the same content."""
        return not self.rounding and not self.differing

    def plain(self) -> dict[str, Any]:
        """Return plain values, with the number of equal files instead of their names."""
        return {**asdict(self), "equal": len(self.equal), "compared": self.compared}


class Different(Exception):
    """Two values that are not the same."""


def table_names(folder: Path) -> set[str]:
    """Return the tables in a folder of data, as paths relative to it.

    Manifests are no tables, nor is what lies in hidden folders: checksums of files that contain times differ, too.
    """
    names = _names(folder, TABLES)
    return {name for name in names if Path(name).name != "manifest.json" and not is_hidden(name)}


def is_hidden(name: str) -> bool:
    """Return whether a file, or a folder that it is in, has a name that begins with a dot."""
    return any(part.startswith(".") for part in Path(name).parts)


def item_names(folder: Path) -> set[str]:
    """Return the kept items in a folder of data (edits, answers, prepared tensors), as paths relative to it."""
    return _names(folder, ITEMS)


def part_names(folder: Path) -> set[str]:
    """Return what interrupted writes left behind, as paths relative to the folder."""
    return _names(folder, (".part",))


def compare(reference: Path, actual: Path, names: Set[str], extra: Set[str] = frozenset()) -> Comparison:
    """Compare files of two folders.

    Args:
        reference: The folder of the undisturbed run.
        actual: The other folder.
        names: Which files, relative to the folders.
        extra: Files of `actual` that the undisturbed run did not make.
    """
    comparison = Comparison(differing={name: "not in the undisturbed run" for name in sorted(extra)})
    for name in sorted(names):
        try:
            largest = difference(reference / name, actual / name)
        except Different as different:
            comparison.differing[name] = str(different)
        else:
            if largest:
                comparison.rounding[name] = largest
            else:
                comparison.equal.append(name)
    return comparison


def compare_tables(reference: Path, actual: Path, without: Set[str] = frozenset()) -> Comparison:
    """Compare all tables of two folders of data, but for some names."""
    names = table_names(reference)
    return compare(reference, actual, names - without, table_names(actual) - names - without)


def difference(reference: Path, actual: Path) -> float:
    """Return the largest difference between two files; 0 if they have the same content, times aside.

    Raises:
        Different: If they differ by more than rounding, saying how.
    """
    if not actual.is_file():
        raise Different("missing")
    if reference.read_bytes() == actual.read_bytes():
        return 0.0
    try:
        return _READERS[reference.suffix](reference, actual)
    except Different:
        raise
    # whatever a reader raises on a damaged file, the file is not what it should be
    except Exception as error:
        raise Different(f"unreadable ({type(error).__name__})") from error


def _names(folder: Path, suffixes: tuple[str, ...]) -> set[str]:
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in suffixes and path.is_file()}
    runs = RunFolders(folder / REPORTING)
    # two equal runs have other ids, which contain their start, and other records: the last of each is compared by name
    latest = f"{REPORTING}/{runs.latest()}/"
    names -= {f"{REPORTING}/{record['id']}/{RECORD}" for record in runs.records()}
    return {name.replace(latest, f"{REPORTING}/{LATEST}/") for name in names}


def _tables(reference: Path, actual: Path) -> float:
    read_table = pd.read_parquet if reference.suffix == ".parquet" else pd.read_csv
    reference_table, actual_table = read_table(reference), read_table(actual)
    if list(reference_table.columns) != list(actual_table.columns):
        raise Different(f"columns {sorted(set(reference_table.columns) ^ set(actual_table.columns))}")
    if len(reference_table) != len(actual_table):
        raise Different(f"{len(actual_table)} rows, expected {len(reference_table)}")
    largest = max(
        (_columns(reference_table[name], actual_table[name]) for name in reference_table.columns), default=0.0
    )
    # the same values in other bytes are not the same file
    return largest or math.ulp(0.0)


def _columns(first: pd.Series, second: pd.Series) -> float:
    if first.dtype != second.dtype:
        raise Different(f"column {first.name}: {second.dtype}, expected {first.dtype}")
    if first.dtype.kind == "f":
        return _numbers(first.to_numpy(), second.to_numpy(), f"column {first.name}")
    return max((_values(*pair, f"column {first.name}") for pair in zip(first, second, strict=True)), default=0.0)


def _json(reference: Path, actual: Path) -> float:
    return _values(json.loads(reference.read_text("utf-8")), json.loads(actual.read_text("utf-8")), "")


def _json_lines(reference: Path, actual: Path) -> float:
    first, second = (
        [json.loads(line) for line in path.read_text("utf-8").splitlines()] for path in (reference, actual)
    )
    return _values(first, second, "")


def _tensors(reference: Path, actual: Path) -> float:
    with safe_open(reference, "np") as first, safe_open(actual, "np") as second:
        largest = _values(_header(first), _header(second), "header")
        if set(first.keys()) != set(second.keys()):
            raise Different("other tensors")
        for key in first.keys():  # noqa: SIM118
            largest = max(largest, _numbers(first.get_tensor(key), second.get_tensor(key), f"tensor {key}"))
    return largest


def _header(file: Any) -> dict[str, Any]:
    """Return the metadata of a safetensors file; a text that is JSON is compared field by field."""
    header = {}
    for key, text in file.metadata().items():
        try:
            header[key] = json.loads(text)
        except json.JSONDecodeError:
            header[key] = text
    return header


def _numbers(first: np.ndarray, second: np.ndarray, place: str) -> float:
    if first.shape != second.shape or first.dtype != second.dtype:
        raise Different(f"{place}: {second.dtype} {second.shape}, expected {first.dtype} {first.shape}")
    if np.array_equal(first, second, equal_nan=first.dtype.kind == "f"):
        return 0.0
    if not np.allclose(first, second, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True):
        raise Different(f"{place}: numbers")
    return float(np.nanmax(np.abs(first.astype(float) - second.astype(float))))


def _values(first: Any, second: Any, place: str) -> float:
    """Return the largest difference of two plain values; `place` names them in an error."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        first, second = first.tolist(), second.tolist()
    if type(first) is not type(second):
        raise Different(f"{place}: {_short(second)}, expected {_short(first)}")
    if isinstance(first, float):
        return _numbers(np.array(first), np.array(second), place)
    if isinstance(first, dict):
        return max(_members(first, second, place), default=0.0)
    if isinstance(first, list | tuple):
        if len(first) != len(second):
            raise Different(f"{place}: {len(second)} values, expected {len(first)}")
        pairs = enumerate(zip(first, second, strict=True))
        return max((_values(*pair, f"{place}[{number}]") for number, pair in pairs), default=0.0)
    if first is not second and first != second:
        raise Different(f"{place}: {_short(second)}, expected {_short(first)}")
    return 0.0


def _members(first: dict[str, Any], second: dict[str, Any], place: str) -> Iterator[float]:
    # a boolean `finished` is whether an answer was finished, and no time
    times = {name for name in TIMES if not isinstance(first.get(name), bool)}
    if set(first) - times != set(second) - times:
        raise Different(f"{place}: fields {sorted((set(first) ^ set(second)) - times)}")
    for name in first:
        if name not in times:
            yield _values(first[name], second[name], f"{place}.{name}".lstrip("."))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else f"{text[:37]}..."


_READERS = {
    ".parquet": _tables,
    ".csv": _tables,
    ".json": _json,
    ".jsonl": _json_lines,
    ".safetensors": _tensors,
}
