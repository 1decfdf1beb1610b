"""Tables of facts with what was measured of them elsewhere: page views, and perplexities of the objects."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic_core import PydanticCustomError

from edit_robustness.datasets.readers.files import NotReadable, field_name, read_records
from edit_robustness.datasets.readers.formats import FORMATS, looks_like
from edit_robustness.datasets.readers.records import Options, Record, text, texts
from edit_robustness.prompts.names import plain
from edit_robustness.prompts.schema import FAILED_LOOKUP, UNREADABLE
from edit_robustness.records import SLOT

MEASURED_COLUMNS = ("subject", "relation", "page_views", "perplexity_true", "perplexity_new")
"""Columns of the table that `read_measured` returns, beside fact_id and model."""

REQUIRED = ("subject", "page_views", "perplexity_true")

_PATTERNS: Mapping[str, str] = {
    "subject": r"subject|subj|sub_label",
    "relation": r"relation|relation_id|prop",
    "page_views": r"page_?views|(.*_)?page_?views(_.*)?|s_pop",
    "perplexity_true": r"(.*_)?(ppl|perplexity)_true",
    "perplexity_new": r"(.*_)?(ppl|perplexity)_new",
}
"""For each column the names under which tables have it. Of several the shortest is taken."""

_MODEL = re.compile(r"(.+)_(ppl|perplexity)_true")
_OBJECTS = ("target_true", "ground_truth", "answer", "obj")
_TEMPLATES = ("prompt_template", "prompt")
_SHOWN = 20


@dataclass(frozen=True)
class RelationLookup:
    """Relations of facts by template, and by subject and object, from a data set that has relations.

    Attributes:
        templates: For each statement, with a slot for the subject, how many facts of each relation have it.
        pairs: For each subject and old object, as `names.plain` writes them, their relations.
    """

    templates: Mapping[str, Counter[str]] = field(default_factory=dict)
    pairs: Mapping[tuple[str, str], set[str]] = field(default_factory=dict)

    def find(self, template: str, subject: str, true: str) -> str | None:
        """Return a fact's relation; None if neither its template nor its subject and object are known.

        A template of one relation decides. For a template of several relations, subject and object decide, and if
        these do not, the relation with the most facts of this template.
        """
        candidates = self.templates.get(template, Counter[str]())
        if len(candidates) == 1:
            return next(iter(candidates))
        relations = self.pairs.get((plain(subject), plain(true)), set())
        relations = relations & set(candidates) or relations
        if len(relations) == 1:
            return next(iter(relations))
        return min(candidates, key=lambda name: (-candidates[name], name)) if candidates else None


def read_lookup(paths: Iterable[Path]) -> RelationLookup:
    """Read the relations of templates and of facts from data sets with relations, such as CounterFact or ParaRel.

    Raises:
        NotReadable: If one is missing, or is of no form with relations.
    """
    templates: defaultdict[str, Counter[str]] = defaultdict(Counter)
    pairs: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for path in paths:
        if not path.exists():
            raise NotReadable(f"relations: there is no {path}")
        records = FORMATS["pararel"].load(path) if path.is_dir() else read_records(path)
        form = looks_like(next((record for record in records if UNREADABLE not in record), {}))
        rows = FORMATS[form].rows(records, Options()) if form else []
        with_relation = [(row, record) for row, record in zip(rows, records, strict=False) if row.get("relation")]
        if not with_relation:
            raise NotReadable(f"relations: {path} has no relations; give a file of CounterFact or a folder of ParaRel")
        for row, record in with_relation:
            relation = str(row["relation"])
            pairs[plain(str(row["subject"])), plain(str(row.get("target_true") or ""))].add(relation)
            for template in texts(record, "templates") or (str(row.get("prompt") or ""),):
                templates[template][relation] += 1
    return RelationLookup(dict(templates), dict(pairs))


def read_measured(
    records: Sequence[Record], columns: Mapping[str, str], lookup: RelationLookup | None = None
) -> pd.DataFrame:
    """Return page views and perplexities of each record.

    Args:
        records: The records of a file.
        columns: For some of `MEASURED_COLUMNS` the name in the file; others are found by their usual names.
        lookup: Relations for a table without the column; None: the statement's template is the relation.

    Returns:
        model, fact_id, subject, relation (empty if unknown), page_views, perplexity_true, perplexity_new (floats; NaN:
        missing). Page views of 0 or 1 stand for a failed look-up and are missing. `model` is what stands before
        ``_ppl_true`` in the column's name.

    Raises:
        NotReadable: If a column is missing; the message names those of the file.
    """
    readable = [record for record in records if UNREADABLE not in record]
    names = list(dict.fromkeys(name for record in readable for name in record))
    sources = {column: _find(column, names, columns.get(column, "")) for column in MEASURED_COLUMNS}
    if absences := [column for column in REQUIRED if not sources[column]]:
        columns_text = ", ".join(map(str, names[:_SHOWN])) + (" ..." if len(names) > _SHOWN else "")
        raise NotReadable(
            f"no column for {', '.join(absences)} (needed: the subject, its page views, and the "
            f"perplexity of the old object); the file has {columns_text}. Rename a column, or name it in the catalog: "
            f"popularity_source, columns: {{{absences[0]}: ...}}"
        )
    table = pd.DataFrame({"subject": [_text(record, sources["subject"]) for record in readable]})
    table["fact_id"] = [str(number) for number in range(1, len(readable) + 1)]
    match = _MODEL.fullmatch(sources["perplexity_true"])
    table["model"] = match[1] if match else "model"
    table["relation"] = [_relation(record, sources, lookup) for record in readable]
    for column in MEASURED_COLUMNS[2:]:
        values = [record.get(sources[column]) for record in readable] if sources[column] else [None] * len(readable)
        table[column] = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").astype(float)
    table["page_views"] = table["page_views"].where(table["page_views"] > FAILED_LOOKUP)
    for column in MEASURED_COLUMNS[3:]:
        table[column] = table[column].where(table[column] > 0)
    if table["page_views"].notna().sum() == 0 or table["perplexity_true"].notna().sum() == 0:
        raise NotReadable(
            f"no record has a number under {sources['page_views']} and {sources['perplexity_true']} (page views of 0 "
            "or 1 stand for a failed look-up)"
        )
    return table[["model", "fact_id", *MEASURED_COLUMNS]]


def _find(column: str, names: Sequence[str], chosen_name: str) -> str:
    """Return the name of a column in the file; empty if there is none."""
    if chosen_name:
        return field_name(chosen_name) if field_name(chosen_name) in names else ""
    matches = [name for name in names if re.fullmatch(_PATTERNS[column], name)]
    return min(matches, key=len, default="")


def _relation(record: Record, sources: Mapping[str, str], lookup: RelationLookup | None) -> str:
    if sources["relation"]:
        return _text(record, sources["relation"])
    subject = _text(record, sources["subject"])
    template = next((value for name in _TEMPLATES if (value := _text(record, name))), "")
    if SLOT not in template and subject:
        template = template.replace(subject, SLOT, 1)
    if lookup is None:
        return template
    true = next((value for name in _OBJECTS if (value := _text(record, name))), "")
    return lookup.find(template, subject, true) or ""


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if isinstance(value, str):
        return value.strip()
    try:
        return next(iter(texts(record, name)), "") if isinstance(value, list | np.ndarray) else text(record, name)
    except PydanticCustomError:
        return ""
