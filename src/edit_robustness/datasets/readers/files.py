"""From a path or an address to records: a remote file is copied once, and its form follows from its name."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from edit_robustness.datasets.readers.records import Record
from edit_robustness.prompts.cells import preview
from edit_robustness.prompts.schema import UNREADABLE
from edit_robustness.text.secrets import redact
from edit_robustness.web.download import Transfer, download
from edit_robustness.web.transport import RequestFailed

logger = logging.getLogger(__name__)

_QUOTED = 40


class NotReadable(ValueError):
    """A file that is not there, or not what it should be; the message lacks the file's name."""


def local_copy(
    path: str, cache: Path, transfer: Transfer | None = None, credentials: Mapping[str, Any] | None = None
) -> Path:
    """Return the path itself, or for an address (``https://``, ``s3://`` ...) its copy in `cache`, made the first time.

    The copy's name depends on no credential in the address: a signed address may be signed anew.

    Args:
        path: The path or the address.
        cache: Folder of the copies.
        transfer: Limits of copying.
        credentials: Arguments of fsspec's file system; without them it looks in the environment.

    Raises:
        NotReadable: Where the address cannot be read to its end; then nothing is left in `cache`.
    """
    if "://" not in path:
        return Path(path)
    address = redact(path)
    copy = cache / f"{hashlib.sha256(address.encode()).hexdigest()[:12]}-{PurePosixPath(urlsplit(path).path).name}"
    if not copy.exists():
        cache.mkdir(parents=True, exist_ok=True)
        logger.info("copying %s to %s, once", address, copy)
        try:
            download(path, copy, transfer or Transfer(), credentials)
        except RequestFailed as failure:
            raise NotReadable(f"it could not be copied ({failure})") from None
    return copy


class Records(list[Record]):
    """The records of a file, and the place of each.

    Attributes:
        numbers: The line on which a record of CSV, TSV or JSONL begins, and else its number, from 1.
    """

    numbers: Sequence[int]

    def __init__(self, records: Iterable[Record], numbers: Sequence[int] | None = None):
        super().__init__(records)
        self.numbers = range(1, len(self) + 1) if numbers is None else numbers


def read_records(path: Path) -> Records:
    """Read the records of a JSON, JSONL, CSV, TSV or Parquet file; cells of CSV and TSV are text.

    Names of fields lose capitals and outer spaces. A record that cannot be read has nothing but the reason, under
    `prompts.schema.UNREADABLE`.

    Raises:
        NotReadable: If the file cannot be read, has no records, names a field twice, or has lines of another length.
    """
    if path.suffix not in _READERS:
        raise NotReadable(f"its name ends in none of {', '.join(_READERS)}")
    try:
        records = _READERS[path.suffix](path)
    except NotReadable:
        raise
    except (ValueError, UnicodeError, OSError) as failure:
        raise NotReadable(f"it is no {path.suffix} file in UTF-8 ({failure})") from failure
    if not records:
        raise NotReadable("it has no rows")
    if all(UNREADABLE in record for record in records):
        raise NotReadable(f"a list of records was expected, and there are none: {records[0][UNREADABLE]}")
    return records


def field_name(name: Any) -> str:
    """Return the name of a field or a column as it is compared: without capitals, outer spaces and byte order mark."""
    return str(name).strip().strip("\ufeff").strip().casefold()


def field_names(names: Iterable[Any]) -> list[str]:
    """Return the names of columns as they are compared; several may be empty.

    Raises:
        NotReadable: If two are the same.
    """
    folded_names = list(map(field_name, names))
    for name, number in Counter(folded_names).items():
        if number > 1 and name:
            raise NotReadable(
                f"{number} columns are called {preview(name)} (capitals and outer spaces aside); rename one"
            )
    return folded_names


def _read_json(path: Path) -> Records:
    """Read a list of records, or one record per line, whichever the name says: copies go by both names."""
    text = path.read_text(encoding="utf-8-sig")
    if text.lstrip().startswith("["):
        return Records(_elements(text))
    lines = {number: line for number, line in enumerate(text.split("\n"), 1) if line.strip()}
    records = Records(map(_json_line, lines.values()), list(lines))
    if records and all(UNREADABLE in record for record in records):
        raise ValueError(f"neither a list nor one record a line: {records[0][UNREADABLE]}")
    return records


def _elements(text: str) -> list[Record]:
    """Return the records of a JSON list; where no parser takes it whole, each element on its own."""
    try:
        return [_json_record(value) for value in json.loads(text, object_pairs_hook=_pairs)]
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError):  # a number of thousands of digits, or brackets thousands deep
        return [_json_line(element) for element in _split(text)]


def _split(text: str) -> Iterator[str]:
    depth, start = 0, text.index("[") + 1
    for token in _STRUCTURE.finditer(text):
        mark = token.group()
        if mark in "[{":
            depth += 1
        elif mark in "]}":
            depth -= 1
        if (depth == 1 and mark == ",") or (depth == 0 and mark == "]"):
            if element := text[start : token.start()].strip():
                yield element
            start = token.end()


def _json_line(line: str) -> Record:
    try:
        return _json_record(json.loads(line, object_pairs_hook=_pairs))
    except ValueError as failure:
        return {UNREADABLE: f"is no record in JSON: {failure}"}
    except RecursionError:
        return {UNREADABLE: f"is no record in JSON: nested too deep: {line[:_QUOTED]!r}..."}


def _pairs(pairs: list[tuple[str, Any]]) -> Any:
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    twice = next(name for name, number in Counter(name for name, _ in pairs).items() if number > 1)
    return _Twice(twice)


class _Twice(str):
    """A record of JSON with this name twice, of which a parser would take the last without a word."""


def _json_record(value: Any) -> Record:
    if isinstance(value, _Twice):
        return {UNREADABLE: f"field twice: the record has {preview(str(value))} more than once"}
    if not isinstance(value, Mapping):
        return {UNREADABLE: f"not a record: {preview(value)}"}
    try:
        return dict(zip(field_names(value), value.values(), strict=True))
    except NotReadable as failure:
        return {UNREADABLE: f"field twice: {failure}"}


def _read_separated(path: Path, separator: str) -> Records:
    text = path.read_bytes().decode("utf-8-sig")
    # a long cell is refused with its row later, where the limit of the module would refuse the file
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] = []
    records, numbers, line = [], [], 1
    try:
        for cells in reader:
            if cells and not header:
                header = field_names(cells)
            elif cells:
                _check_length(cells, header, line)
                record = {name: cell for name, cell in zip(header, cells, strict=True) if name}
                if not record.get("join"):
                    # an empty cell leaves it to the rule, where an empty text in JSON says that nothing stands there
                    record.pop("join", None)
                records.append(record)
                numbers.append(line)
            line = reader.line_num + 1
    except csv.Error as failure:
        raise NotReadable(
            f"line {line}: {failure}; a quotation mark inside a cell in quotes is written twice"
        ) from failure
    return Records(records, numbers)


def _check_length(cells: Sequence[str], header: Sequence[str], line: int) -> None:
    if len(cells) != len(header):
        raise NotReadable(
            f"line {line} has {len(cells)} cells, and the header {len(header)}; put a cell that holds the separator in "
            f"quotation marks"
        )


def _read_parquet(path: Path) -> Records:
    table = pq.read_table(path, partitioning=None)  # folders called a=b add no columns
    names = field_names(table.column_names)
    columns = [_cells(table.column(place)) for place in range(len(names))]
    return Records(_parquet_record(names, cells) for cells in zip(*columns, strict=True))


def _cells(column: pa.ChunkedArray) -> list[Any]:
    try:
        cells: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    except (ValueError, OverflowError, KeyError):  # bytes that are no UTF-8, a date out of range: cell by cell
        cells = [_cell(scalar) for scalar in column]
    return cells


def _cell(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py(maps_as_pydicts="strict")
    except (ValueError, OverflowError, KeyError) as failure:
        return _Bad(str(failure))


class _Bad(str):
    """Why a cell cannot be read."""


def _parquet_record(names: Sequence[str], cells: Sequence[Any]) -> Record:
    bad = [f"{name} cannot be read: {cell}" for name, cell in zip(names, cells, strict=True) if isinstance(cell, _Bad)]
    return {UNREADABLE: "; ".join(bad)} if bad else dict(zip(names, cells, strict=True))


_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)

_READERS: Mapping[str, Callable[[Path], Records]] = {
    ".json": _read_json,
    ".jsonl": _read_json,
    ".csv": lambda path: _read_separated(path, ","),
    ".tsv": lambda path: _read_separated(path, "\t"),
    ".parquet": _read_parquet,
}
