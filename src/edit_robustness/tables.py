"""Records to tables and back: the form in which facts, probes and answers travel between nodes.

Whatever is not one plain value (aliases, turns of a conversation) is kept as JSON text, so that Parquet and CSV
hold the same thing and a table read back gives the very records that were written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

import pandas as pd

from edit_robustness.records import Answer, Completion, Document, Fact, Probe, Turn
from edit_robustness.text.joining import JOINS

NAME_COLUMNS = ("target_true_aliases", "target_new_aliases", "subject_aliases", "paraphrases")
"""Columns that hold several texts."""

_COMPLETIONS = ("neighbours", "relation_specificity", "unrelated", "consequences")
_JOIN_WORDS: dict[str | None, str] = {None: "", **{join: word for word, join in JOINS.items()}}
_MAY_BE_UNMEASURED = ("margin", "kl", "top_unchanged")
_TEXT, _WHOLE, _REAL, _TRUTH, _MAYBE = "str", "int64", "float64", "bool", "boolean"

FACT_COLUMNS = {
    **{field.name: _TEXT for field in fields(Fact)},
    "page_views": "Int64",
}
"""Columns of a table of facts, and their types; unknown page views are missing, several texts are JSON."""

PROBE_COLUMNS = {
    **{field.name: _TEXT for field in fields(Probe)},
    "conversation": _TRUTH,
}
"""Columns of a table of probes, and their types; `history`, `relation_objects` and the aliases are JSON text."""

_ANSWER_ONLY = {
    "text": _TEXT,
    "thinking": _TEXT,
    "finished": _TRUTH,
    "tokens": _WHOLE,
    "logprob_new": _REAL,
    "logprob_true": _REAL,
    "tokens_new": _WHOLE,
    "tokens_true": _WHOLE,
    "match_new": _TRUTH,
    "match_true": _TRUTH,
    "margin": _REAL,
    "kl": _REAL,
    "top_unchanged": _MAYBE,
}
_RENAMED = {"id": "probe_id", "text": "prompt"}
ANSWER_SCHEMA = 2
"""Version of the table of answers, raised when a column changes its meaning (docs/reference/answers.md)."""

ANSWER_COLUMNS = {
    "model": _TEXT,
    "method": _TEXT,
    **{_RENAMED.get(name, name): kind for name, kind in PROBE_COLUMNS.items()},
    **_ANSWER_ONLY,
    "decoding": _TEXT,
    "schema_version": _WHOLE,
}
"""Columns of a table of answers: the probe's (its text as `prompt`), what the model said, and how it was asked."""

DOCUMENT_COLUMNS = {
    "model": _TEXT,
    "method": _TEXT,
    "order": _WHOLE,
    "edits": _WHOLE,
    **{field.name: _TEXT for field in fields(Document)},
    **dict.fromkeys(("number", "shots", "gold", "tokens"), _WHOLE),
    "score": _REAL,
    "capped": _TRUTH,
}
"""Columns of a table of documents of benchmarks; `metrics`, `logprobs` and `flags` are JSON text."""


def facts_to_table(facts: Iterable[Fact]) -> pd.DataFrame:
    """One row a fact, with `FACT_COLUMNS`."""
    return _table((_flat(fact) for fact in facts), FACT_COLUMNS)


def facts_from_table(table: pd.DataFrame) -> list[Fact]:
    """The facts of a table in its order; what holds several texts may be JSON text or lists."""
    _require(table, FACT_COLUMNS, "facts")
    return [_fact(row) for row in _rows(table, FACT_COLUMNS)]


def probes_to_table(probes: Iterable[Probe]) -> pd.DataFrame:
    """One row a probe, with `PROBE_COLUMNS`."""
    return _table((_flat(probe) for probe in probes), PROBE_COLUMNS)


def probes_from_table(table: pd.DataFrame) -> list[Probe]:
    """The probes of a table in its order."""
    _require(table, PROBE_COLUMNS, "probes")
    return [_probe(row) for row in _rows(table, PROBE_COLUMNS)]


def answers_to_table(answers: Iterable[Answer], *, model: str, method: str, decoding: str = "") -> pd.DataFrame:
    """One row an answer, with `ANSWER_COLUMNS`: model and method, the probe, what was said, and by which decoding."""
    same = {"model": model, "method": method, "decoding": decoding, "schema_version": ANSWER_SCHEMA}
    return _table((_flat_answer(answer) | same for answer in answers), ANSWER_COLUMNS)


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
    """The answers of a table in its order; model and method are left behind."""
    _require(table, ANSWER_COLUMNS, "answers")
    return [_answer(row) for row in _rows(table, ANSWER_COLUMNS)]


def documents_to_table(
    documents: Iterable[Document], *, model: str, method: str, order: int, edits: int
) -> pd.DataFrame:
    """One row a document, with `DOCUMENT_COLUMNS`: whose, after how many edits of which order, and what it did."""
    same = {"model": model, "method": method, "order": order, "edits": edits}
    return _table((_flat_document(document) | same for document in documents), DOCUMENT_COLUMNS)


def collect(*tables: pd.DataFrame) -> pd.DataFrame:
    """One table of several; an empty one keeps the columns and lends no types."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled or tables[:1], ignore_index=True)


def export(*tables: pd.DataFrame) -> tuple[pd.DataFrame, ...]:
    """The same tables once more, to be stored in a second format."""
    return tables


def read_names(cell: Any) -> tuple[str, ...]:
    """The aliases in a cell: JSON text, or a list (Parquet gives numpy arrays); none where it is missing.

    Raises:
        ValueError: Where the cell holds text that is not a JSON list.
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


def _flat(record: Fact | Probe) -> dict[str, Any]:
    row = {field.name: getattr(record, field.name) for field in fields(record)}
    row["join"] = _JOIN_WORDS.get(record.join, record.join)
    row |= {name: _json(row[name]) for name in NAME_COLUMNS if name in row}
    row |= {name: _json([asdict(one) for one in row[name]]) for name in _COMPLETIONS if name in row}
    if isinstance(record, Probe):
        row["history"] = _json([[turn.role, turn.text] for turn in record.history])
        row["relation_objects"] = _json(record.relation_objects)
    return row


def _flat_answer(answer: Answer) -> dict[str, Any]:
    probe = {_RENAMED.get(name, name): value for name, value in _flat(answer.probe).items()}
    said = {name: getattr(answer, name) for name in _ANSWER_ONLY}
    return {**probe, **said}


def _flat_document(document: Document) -> dict[str, Any]:
    row = asdict(document)
    return {**row, **{name: _json(row[name]) for name in ("metrics", "logprobs", "flags")}}


def _fact(row: Mapping[str, Any]) -> Fact:
    views = row["page_views"]
    completions = {name: _completions(row[name]) for name in _COMPLETIONS}
    plain = {"page_views": None if pd.isna(views) else int(views), "join": _join(row["join"])}
    return Fact(**_with_names(row) | completions | plain)


def _probe(row: Mapping[str, Any]) -> Probe:
    history = tuple(Turn(role, text) for role, text in json.loads(row["history"]))
    follows = None if pd.isna(row["follows"]) else row["follows"]
    read = {"history": history, "follows": follows, "conversation": bool(row["conversation"])}
    read |= {"join": _join(row["join"]), "relation_objects": read_objects(row["relation_objects"])}
    return Probe(**_with_names(row) | read)


def _join(cell: Any) -> str | None:
    """What stands between prompt and object; an empty or missing cell leaves it to the rule."""
    return JOINS.get(cell, cell) if isinstance(cell, str) and cell else None


def _answer(row: Mapping[str, Any]) -> Answer:
    probe = _probe({name: row[_RENAMED.get(name, name)] for name in PROBE_COLUMNS})
    said = {name: row[name] for name in _ANSWER_ONLY}
    said |= {name: None if pd.isna(said[name]) else said[name] for name in _MAY_BE_UNMEASURED}
    return Answer(probe=probe, **said)


def _with_names(row: Mapping[str, Any]) -> dict[str, Any]:
    return dict(row) | {name: read_names(row[name]) for name in NAME_COLUMNS if name in row}


def _completions(cell: str) -> tuple[Completion, ...]:
    return tuple(Completion(**one | {"aliases": tuple(one["aliases"])}) for one in json.loads(cell))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _table(rows: Iterable[dict[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    # column by column: a frame made of rows would take whole numbers beside missing ones through floats
    listed = list(rows)
    return pd.DataFrame({name: pd.Series([row[name] for row in listed], dtype=kind) for name, kind in columns.items()})


def _rows(table: pd.DataFrame, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    # to_dict gives Python's own numbers and truths, where iterrows would give numpy's
    return table[list(columns)].to_dict(orient="records")  # type: ignore[return-value]


def _require(table: pd.DataFrame, columns: Mapping[str, str], name: str) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        present = ", ".join(map(str, table.columns)) or "no columns"
        raise ValueError(f"the table of {name} lacks {', '.join(missing)}; it has {present}")
