"""From a path or an address to records: a remote file is copied once, and its form follows from its name."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import fsspec
import pandas as pd

from edit_robustness.datasets.readers.records import Record

logger = logging.getLogger(__name__)

_CHUNK = 1 << 20


class NotReadable(ValueError):
    """A file that is not there, or not what it should be; the message lacks the file's name."""


def local_copy(path: str, cache: Path) -> Path:
    """The path itself, or for an address (``https://``, ``s3://`` ...) its copy in `cache`, made the first time.

    Raises:
        NotReadable: Where the address cannot be read to its end; then nothing is left in `cache`.
    """
    if "://" not in path:
        return Path(path)
    copy = cache / f"{hashlib.sha256(path.encode()).hexdigest()[:12]}-{PurePosixPath(urlsplit(path).path).name}"
    if not copy.exists():
        cache.mkdir(parents=True, exist_ok=True)
        logger.info("copying %s to %s, once", path, copy)
        _download(path, copy)
    return copy


def _download(address: str, copy: Path) -> None:
    part = copy.with_name(f"{copy.name}.{os.getpid()}.part")
    try:
        with fsspec.open(address, "rb") as source, part.open("wb") as target:
            while chunk := source.read(_CHUNK):
                target.write(chunk)
        part.replace(copy)
    except Exception as failure:  # every file system has errors of its own
        raise NotReadable(f"it could not be copied ({type(failure).__name__}: {failure})") from failure
    finally:
        part.unlink(missing_ok=True)


def read_records(path: Path) -> list[Record]:
    """The records of a JSON, JSONL, CSV, TSV or Parquet file; cells of CSV and TSV are text.

    Raises:
        NotReadable: Where the file cannot be read, or has no records.
    """
    if path.suffix not in _READERS:
        raise NotReadable(f"its name ends in none of {', '.join(_READERS)}")
    try:
        records = _READERS[path.suffix](path)
    except (ValueError, UnicodeError) as failure:
        raise NotReadable(f"it is no {path.suffix} file in UTF-8 ({failure})") from failure
    if not records:
        raise NotReadable("it has no rows")
    if not all(isinstance(record, Mapping) for record in records):
        raise NotReadable("a list of records was expected, and some are none")
    return records


def _read_json(path: Path) -> list[Any]:
    """A list of records, or one record a line, whichever the name says: copies go by both names."""
    text = path.read_text(encoding="utf-8-sig").strip()
    if text.startswith("["):
        return json.loads(text)
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        return [json.loads(line) for line in lines]
    except json.JSONDecodeError:
        raise ValueError("neither a list nor one record a line") from None


def _read_separated(path: Path, separator: str) -> list[Any]:
    table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if "join" in table.columns:
        # an empty cell says nothing here, where an empty text in JSON says that nothing stands there
        table["join"] = table["join"].astype(object).mask(table["join"] == "", None)
    return table.to_dict(orient="records")


def _read_parquet(path: Path) -> list[Any]:
    table = pd.read_parquet(path)
    return table.astype(object).where(table.notna(), None).to_dict(orient="records")


_READERS: Mapping[str, Callable[[Path], list[Any]]] = {
    ".json": _read_json,
    ".jsonl": _read_json,
    ".csv": lambda path: _read_separated(path, ","),
    ".tsv": lambda path: _read_separated(path, "\t"),
    ".parquet": _read_parquet,
}

TABLES_WITH_HEADER = (".csv", ".tsv")
"""Files whose first record is their second line."""
