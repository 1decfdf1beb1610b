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

TABLES = (".parquet", ".csv", ".json")
ITEMS = (".jsonl", ".safetensors")
PAGES = (".html",)
"""Pages are not compared: they show times, and all other figures on them come from tables."""

TIMES = frozenset(
    {
        *("finished", "seconds", "seconds_per_edit", "seconds_per_benchmark", "probes_per_second", "bytes_per_edit"),
        *("checksum", "failed_at"),
    }
)
"""Fields of run records and of headers that differ between two equal runs. The size of an edit's file and the checksum
of an item are among them because its header contains seconds, written with as many digits as they have."""

RELATIVE, ABSOLUTE = 1e-3, 1e-5
"""Two values are equal but for rounding within these: a batch of another width adds the same numbers in another
order."""


@dataclass
class Comparison:
    """What was found when two folders were compared.

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
        """How many files were compared."""
        return len(self.equal) + len(self.rounding) + len(self.differing)

    @property
    def same(self) -> bool:
        """Whether all files have the same content."""
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


def compare(expected: Path, actual: Path, names: Set[str], extra: Set[str] = frozenset()) -> Comparison:
    """Compare files of two folders.

    Args:
        expected: The folder of the undisturbed run.
        actual: The other folder.
        names: Which files, relative to the folders.
        extra: Files of `actual` that the undisturbed run did not make.
    """
    comparison = Comparison(differing={name: "not in the undisturbed run" for name in sorted(extra)})
    for name in sorted(names):
        try:
            largest = difference(expected / name, actual / name)
        except Different as different:
            comparison.differing[name] = str(different)
        else:
            if largest:
                comparison.rounding[name] = largest
            else:
                comparison.equal.append(name)
    return comparison


def compare_tables(expected: Path, actual: Path, without: Set[str] = frozenset()) -> Comparison:
    """Compare all tables of two folders of data, but for some names."""
    names = table_names(expected)
    return compare(expected, actual, names - without, table_names(actual) - names - without)


def difference(expected: Path, actual: Path) -> float:
    """Return the largest difference between two files; 0 if they have the same content, times aside.

    Raises:
        Different: If they differ by more than rounding, saying how.
    """
    if not actual.is_file():
        raise Different("missing")
    if expected.read_bytes() == actual.read_bytes():
        return 0.0
    try:
        return _READERS[expected.suffix](expected, actual)
    except Different:
        raise
    # whatever a reader raises on a damaged file, the file is not what it should be
    except Exception as error:
        raise Different(f"unreadable ({type(error).__name__})") from error


def _names(folder: Path, suffixes: tuple[str, ...]) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in suffixes and path.is_file()}


def _tables(expected: Path, actual: Path) -> float:
    read = pd.read_parquet if expected.suffix == ".parquet" else pd.read_csv
    one, other = read(expected), read(actual)
    if list(one.columns) != list(other.columns):
        raise Different(f"columns {sorted(set(one.columns) ^ set(other.columns))}")
    if len(one) != len(other):
        raise Different(f"{len(other)} rows, expected {len(one)}")
    largest = max((_columns(one[name], other[name]) for name in one.columns), default=0.0)
    # the same values in other bytes are not the same file
    return largest or math.ulp(0.0)


def _columns(one: pd.Series, other: pd.Series) -> float:
    if one.dtype != other.dtype:
        raise Different(f"column {one.name}: {other.dtype}, expected {one.dtype}")
    if one.dtype.kind == "f":
        return _numbers(one.to_numpy(), other.to_numpy(), f"column {one.name}")
    return max((_values(*pair, f"column {one.name}") for pair in zip(one, other, strict=True)), default=0.0)


def _json(expected: Path, actual: Path) -> float:
    return _values(json.loads(expected.read_text("utf-8")), json.loads(actual.read_text("utf-8")), "")


def _json_lines(expected: Path, actual: Path) -> float:
    one, other = ([json.loads(line) for line in path.read_text("utf-8").splitlines()] for path in (expected, actual))
    return _values(one, other, "")


def _tensors(expected: Path, actual: Path) -> float:
    with safe_open(expected, "np") as one, safe_open(actual, "np") as other:
        largest = _values(_header(one), _header(other), "header")
        if set(one.keys()) != set(other.keys()):
            raise Different("other tensors")
        for key in one.keys():  # noqa: SIM118
            largest = max(largest, _numbers(one.get_tensor(key), other.get_tensor(key), f"tensor {key}"))
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


def _numbers(one: np.ndarray, other: np.ndarray, place: str) -> float:
    if one.shape != other.shape or one.dtype != other.dtype:
        raise Different(f"{place}: {other.dtype} {other.shape}, expected {one.dtype} {one.shape}")
    if np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
        return 0.0
    if not np.allclose(one, other, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True):
        raise Different(f"{place}: numbers")
    return float(np.nanmax(np.abs(one.astype(float) - other.astype(float))))


def _values(one: Any, other: Any, place: str) -> float:
    """Return the largest difference of two plain values; `place` names them in an error."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        one, other = one.tolist(), other.tolist()
    if type(one) is not type(other):
        raise Different(f"{place}: {_short(other)}, expected {_short(one)}")
    if isinstance(one, float):
        return _numbers(np.array(one), np.array(other), place)
    if isinstance(one, dict):
        return max(_members(one, other, place), default=0.0)
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            raise Different(f"{place}: {len(other)} values, expected {len(one)}")
        pairs = enumerate(zip(one, other, strict=True))
        return max((_values(*pair, f"{place}[{number}]") for number, pair in pairs), default=0.0)
    if one is not other and one != other:
        raise Different(f"{place}: {_short(other)}, expected {_short(one)}")
    return 0.0


def _members(one: dict[str, Any], other: dict[str, Any], place: str) -> Iterator[float]:
    # a boolean `finished` is whether an answer was finished, and no time
    times = {name for name in TIMES if not isinstance(one.get(name), bool)}
    if set(one) - times != set(other) - times:
        raise Different(f"{place}: fields {sorted((set(one) ^ set(other)) - times)}")
    for name in one:
        if name not in times:
            yield _values(one[name], other[name], f"{place}.{name}".lstrip("."))


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
