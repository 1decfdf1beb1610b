"""PopQA (Mallen et al. 2023): questions on long-tail entities, with page views; its new objects are drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from edit_robustness.datasets.readers.draw import draw_new_objects
from edit_robustness.datasets.readers.records import Options, Record, Row, at, names

PROPERTIES = {
    "author": "P50",
    "capital": "P36",
    "capital of": "P1376",
    "color": "P462",
    "composer": "P86",
    "country": "P17",
    "director": "P57",
    "father": "P22",
    "genre": "P136",
    "mother": "P25",
    "occupation": "P106",
    "place of birth": "P19",
    "producer": "P162",
    "religion": "P140",
    "screenwriter": "P58",
    "sport": "P641",
}
"""PopQA's names of relations, and the Wikidata properties that they stand for."""


def read_popqa(records: Sequence[Record], options: Options) -> list[Row]:
    """PopQA's table, or a copy without the columns of aliases and addresses.

    All `possible_answers` count as names of the true object, for each is right; names of a drawn object come from
    `o_aliases` alone, because the possible answers of one subject may hold several objects.
    """
    rows = [_row(record) for record in records]
    return draw_new_objects(rows, [_listed(at(record, "o_aliases")) for record in records], seed=options.seed)


def _row(record: Record) -> Row:
    identifier = at(record, "id") or at(record, "popqa_id")
    return {
        "id": f"popqa-{identifier}" if identifier else "",
        "subject": at(record, "subj"),
        "subject_aliases": _listed(at(record, "s_aliases")),
        "subject_id": at(record, "s_uri"),
        "relation": PROPERTIES.get(at(record, "prop"), at(record, "prop")),
        "prompt": at(record, "question"),
        "target_true": at(record, "obj"),
        "target_true_aliases": _listed(at(record, "possible_answers")),
        "target_true_id": at(record, "o_uri"),
        "page_views": at(record, "s_pop"),
    }


def _listed(cell: Any) -> tuple[str, ...]:
    """Names that stand as JSON in a cell; a cell that is no list is one name."""
    try:
        return names(json.loads(cell)) if isinstance(cell, str) else names(cell)
    except ValueError:
        return names(cell)
