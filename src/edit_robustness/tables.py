"""Conversion of records to tables and back. Facts, probes and answers are passed between nodes in this form.

The columns follow from the annotations of a record's fields (`RecordTable`), so that a field stands in one place: its
dataclass. Whatever is not one plain value (aliases, turns of a conversation) is kept as JSON text, so that Parquet and
CSV hold the same thing and a table read back gives the very records that were written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd

from edit_robustness.json_form import JsonForm
from edit_robustness.records import Answer, Document, Fact, Probe, Turn
from edit_robustness.text.joining import JOINS

R = TypeVar("R")

_JOIN_WORDS: dict[str | None, str] = {None: "", **{join: word for word, join in JOINS.items()}}
_TEXT, _WHOLE = "str", "int64"
_PLAIN: dict[Any, str] = {str: _TEXT, int: _WHOLE, float: "float64", bool: "bool"}
_OPTIONAL: dict[Any, str] = {str: _TEXT, int: "Int64", float: "float64", bool: "boolean"}
"""Column types for values that may be None, which is a missing cell there."""


@dataclass(frozen=True)
class Cell:
    """How the values of one field stand in a table.

    Attributes:
        dtype: Type of the column.
        write: Turns a value into a cell.
        read: Turns a cell into a value.
        json: Whether the cell is JSON text.
    """

    dtype: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    json: bool = False

    @classmethod
    def of(cls, annotation: Any) -> Cell:
        """Return the cell for a field's annotation.

        A plain type is a column of its own type, also if it may be None. Anything else is JSON text.
        """
        if annotation in _PLAIN:
            # texts and numbers come out of a table as Python's own; a truth may come as a number
            return cls(_PLAIN[annotation], _identity, bool if annotation is bool else _identity)
        kinds = set(get_args(annotation)) - {type(None)} if get_origin(annotation) in (Union, UnionType) else set()
        if len(kinds) == 1 and (kind := kinds.pop()) in _OPTIONAL:
            return cls(_OPTIONAL[kind], _identity, lambda cell: None if pd.isna(cell) else kind(cell))
        if annotation == tuple[str, ...]:
            return cls(_TEXT, _json, read_names, json=True)
        if annotation == tuple[Turn, ...]:
            return cls(_TEXT, _write_turns, _read_turns, json=True)
        form: JsonForm[Any] = JsonForm(annotation)
        return cls(_TEXT, form.cell, form.value, json=True)


class RecordTable(Generic[R]):
    """A table of records of one dataclass: a column for each field, in the order of the fields.

    The fields of a nested dataclass are columns of the same table.

    Args:
        kind: The dataclass.
        name: What the records are called in errors.
        cells: Cells of fields whose form in tables does not follow from their annotation.
        column_names: Names of columns for fields of nested dataclasses that have the name of another field.

    Raises:
        ValueError: If two fields have the same column.
    """

    def __init__(
        self,
        kind: type[R],
        name: str,
        *,
        cells: Mapping[str, Cell] | None = None,
        column_names: Mapping[str, str] | None = None,
    ):
        self._kind, self._name = kind, name
        self._cells: dict[str, Cell] = {}
        self._nested: dict[str, tuple[RecordTable[Any], dict[str, str]]] = {}
        self.columns: dict[str, str] = {}
        self.json_columns: list[str] = []
        annotations = get_type_hints(kind)
        for field in fields(kind):  # type: ignore[arg-type]
            annotation = annotations[field.name]
            if isinstance(annotation, type) and is_dataclass(annotation):
                inner: RecordTable[Any] = RecordTable(annotation, name, cells=cells)
                names = {column: (column_names or {}).get(column, column) for column in inner.columns}
                self._nested[field.name] = inner, names
                self._add({names[column]: dtype for column, dtype in inner.columns.items()})
                self.json_columns += [names[column] for column in inner.json_columns]
            else:
                cell = (cells or {}).get(field.name) or Cell.of(annotation)
                self._cells[field.name] = cell
                self._add({field.name: cell.dtype})
                self.json_columns += [field.name] if cell.json else []

    def row(self, record: R) -> dict[str, Any]:
        """Return the cells of a record by column."""
        row: dict[str, Any] = {}
        for name, (inner, names) in self._nested.items():
            row |= {names[column]: cell for column, cell in inner.row(getattr(record, name)).items()}
        return row | {name: cell.write(getattr(record, name)) for name, cell in self._cells.items()}

    def record(self, row: Mapping[str, Any]) -> R:
        """Return the record in a row; the inverse of `row`.

        Raises:
            ValueError: Naming a column whose cell is not what its field takes.
        """
        values: dict[str, Any] = {}
        for name, (inner, names) in self._nested.items():
            values[name] = inner.record({column: row[names[column]] for column in inner.columns})
        for name, cell in self._cells.items():
            try:
                values[name] = cell.read(row[name])
            except ValueError as error:
                raise ValueError(f"the table of {self._name}: column {name}: {error}") from error
        return self._kind(**values)

    def table(self, records: Iterable[R]) -> pd.DataFrame:
        """Return a table with a row for each record."""
        return _table(map(self.row, records), self.columns)

    def records(self, table: pd.DataFrame) -> list[R]:
        """Return the records of a table in its order; columns that are no fields are ignored.

        Raises:
            ValueError: If columns are missing, or a cell is not what its field takes.
        """
        _require(table, self.columns, self._name)
        # to_dict gives Python's own numbers and truths, where iterrows would give numpy's
        rows: list[dict[Any, Any]] = table[list(self.columns)].to_dict(orient="records")
        return [self.record(row) for row in rows]

    def _add(self, columns: Mapping[str, str]) -> None:
        if duplicates := self.columns.keys() & columns.keys():
            names = ", ".join(sorted(duplicates))
            raise ValueError(
                f"{self._kind.__name__}: two fields have the column {names}; rename one with `column_names`"
            )
        self.columns.update(columns)


def read_names(cell: Any) -> tuple[str, ...]:
    """Return the aliases in a cell: JSON text, or a list (Parquet gives numpy arrays); none if it is missing.

    Raises:
        ValueError: If the cell holds text that is not a JSON list.
    """
    if isinstance(cell, str):
        names = json.loads(cell) if cell.strip() else []
        if not isinstance(names, list):
            raise ValueError(f'aliases must be a JSON list of names, such as ["Lyon"], not {cell[:40]!r}')
        return tuple(str(name) for name in names)
    if cell is None or pd.api.types.is_scalar(cell):
        return ()
    return tuple(str(name) for name in cell)


def read_objects(cell: str) -> tuple[tuple[str, ...], ...]:
    """Return the objects in a cell of `relation_objects`, each with all its names."""
    return tuple(tuple(names) for names in json.loads(cell))


def _identity(value: Any) -> Any:
    return value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _write_turns(turns: Iterable[Turn]) -> str:
    return _json([[turn.role, turn.text] for turn in turns])


def _read_turns(cell: str) -> tuple[Turn, ...]:
    return tuple(Turn(role, text) for role, text in json.loads(cell))


def _write_join(join: str | None) -> str:
    return _JOIN_WORDS.get(join, join or "")


def _read_join(cell: Any) -> str | None:
    """Return what stands between prompt and object; None for an empty or missing cell, which leaves it to the rule."""
    return JOINS.get(cell, cell) if isinstance(cell, str) and cell else None


_CELLS = {"join": Cell(_TEXT, _write_join, _read_join)}
"""Words for what stands between prompt and object, since a CSV file cannot tell a space from an empty cell."""

FACTS = RecordTable(Fact, "facts", cells=_CELLS)
PROBES = RecordTable(Probe, "probes", cells=_CELLS)
ANSWERS = RecordTable(Answer, "answers", cells=_CELLS, column_names={"id": "probe_id", "text": "prompt"})
DOCUMENTS = RecordTable(Document, "documents")

FACT_COLUMNS = FACTS.columns
"""Columns of a table of facts, and their types; unknown page views are missing, several texts are JSON."""

FACT_NOTES = ("dataset", "page_views_source", "weight", "fact_role", "model")
"""Columns of tables of facts that describe a fact and its choice, and are no part of the fact that is edited.

`dataset`: the data set that the fact is from. `page_views_source`: what its page views measure. `weight`: the number of
facts of the table that a fact of the sample stands for.
"""

PROBE_COLUMNS = PROBES.columns
"""Columns of a table of probes, and their types; `previous_turns`, `relation_objects` and the aliases are JSON text."""

ANSWER_SCHEMA = 3
"""Version of the table of answers, raised when a column changes its meaning (docs/reference/answers.md)."""

ANSWER_COLUMNS = {
    "model": _TEXT,
    "method": _TEXT,
    **ANSWERS.columns,
    "decoding": _TEXT,
    "schema_version": _WHOLE,
}
"""Columns of a table of answers: the probe's (its text as `prompt`), what the model said, and how it was asked."""

DOCUMENT_COLUMNS = {
    "model": _TEXT,
    "method": _TEXT,
    "order": _WHOLE,
    "edits": _WHOLE,
    **DOCUMENTS.columns,
}
"""Columns of a table of documents of benchmarks; `metrics`, `logprobs` and `flags` are JSON text."""


def facts_to_table(facts: Iterable[Fact]) -> pd.DataFrame:
    """Return a table with a row per fact and `FACT_COLUMNS`."""
    return FACTS.table(facts)


def facts_from_table(table: pd.DataFrame) -> list[Fact]:
    """Return the facts of a table in its order; what holds several texts may be JSON text or lists."""
    return FACTS.records(table)


def user_columns(facts: pd.DataFrame) -> list[str]:
    """Return the names of the columns that the user added to a table of facts; each is a feature.

    They are beside the facts, not in them, so they enter no fingerprint of an edit or an answer.
    """
    return [str(name) for name in facts.columns if name not in FACT_COLUMNS and name not in FACT_NOTES]


def with_notes(facts: pd.DataFrame, source: pd.DataFrame) -> pd.DataFrame:
    """Add to a table of facts the columns that are no part of a fact, from another table that has these facts."""
    names = [name for name in source.columns if name not in FACT_COLUMNS]
    return facts.merge(source[["id", *names]], on="id", how="left", validate="one_to_one")


def probes_to_table(probes: Iterable[Probe]) -> pd.DataFrame:
    """Return a table with a row per probe and `PROBE_COLUMNS`."""
    return PROBES.table(probes)


def probes_from_table(table: pd.DataFrame) -> list[Probe]:
    """Return the probes of a table in its order."""
    return PROBES.records(table)


def answers_to_table(answers: Iterable[Answer], *, model: str, method: str, decoding: str = "") -> pd.DataFrame:
    """Return a table with a row per answer and `ANSWER_COLUMNS`."""
    constants = {"model": model, "method": method, "decoding": decoding, "schema_version": ANSWER_SCHEMA}
    return _table((ANSWERS.row(answer) | constants for answer in answers), ANSWER_COLUMNS)


def check_answers(table: pd.DataFrame) -> None:
    """Refuse a table of answers of another form.

    Raises:
        ValueError: Naming the columns that it lacks, or its version and the way out.
    """
    # first the version: a table of another one may lack columns for no other reason
    versions = set(table["schema_version"]) - {ANSWER_SCHEMA} if "schema_version" in table else ()
    if versions:
        raise ValueError(
            f"the table of answers has schema_version {', '.join(map(str, sorted(versions)))}, and this release reads "
            f"{ANSWER_SCHEMA}: run edit_eval again, or read it with the release that wrote it"
        )
    _require(table, ANSWER_COLUMNS, "answers")


def answers_from_table(table: pd.DataFrame) -> list[Answer]:
    """Return the answers of a table in its order; model and method are left behind."""
    _require(table, ANSWER_COLUMNS, "answers")
    return ANSWERS.records(table)


def documents_to_table(
    documents: Iterable[Document], *, model: str, method: str, order: int, edits: int
) -> pd.DataFrame:
    """Return a table with a row per document and `DOCUMENT_COLUMNS`.

    Args:
        documents: What the model did with each document.
        model: The model.
        method: Row of METHODS that edited it.
        order: Of the edits.
        edits: How many facts were edited before.
    """
    constants = {"model": model, "method": method, "order": order, "edits": edits}
    return _table((DOCUMENTS.row(document) | constants for document in documents), DOCUMENT_COLUMNS)


def collect(*tables: pd.DataFrame) -> pd.DataFrame:
    """Return one table of several; an empty one keeps the columns and lends no types."""
    full_tables = [table for table in tables if len(table)]
    return pd.concat(full_tables or tables[:1], ignore_index=True)


def select_rows(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """Return the rows that have these values in the columns of these names; an empty table as it is."""
    if table.empty:
        return table
    return table[np.logical_and.reduce([table[name] == value for name, value in values.items()])]


def _table(rows: Iterable[dict[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    # column by column: a frame made of rows would take whole numbers beside missing ones through floats
    row_list = list(rows)
    return pd.DataFrame(
        {name: pd.Series([row[name] for row in row_list], dtype=kind) for name, kind in columns.items()}
    )


def _require(table: pd.DataFrame, columns: Mapping[str, str], name: str) -> None:
    absences = [column for column in columns if column not in table.columns]
    if absences:
        present = ", ".join(map(str, table.columns)) or "no columns"
        raise ValueError(f"the table of {name} lacks {', '.join(absences)}; it has {present}")
