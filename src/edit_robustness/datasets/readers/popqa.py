"""PopQA (Mallen et al. 2023): questions on long-tail entities, with page views; its new objects are drawn."""

from __future__ import annotations

from collections.abc import Sequence

from edit_robustness.datasets.readers.draw import draw_new_objects
from edit_robustness.datasets.readers.records import Options, Record, Row, at, read_each, text, texts

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

_OBJECT_NAMES = "o_aliases"


def read_popqa(records: Sequence[Record], options: Options) -> list[Row]:
    """PopQA's table, or a copy without the columns of aliases and addresses.

    All `possible_answers` count as names of the old object, for each is right; names of a drawn object come from
    `o_aliases` alone, because the possible answers of one subject may hold several objects.
    """
    rows = read_each(records, _row)
    return draw_new_objects(rows, [row.pop(_OBJECT_NAMES, ()) for row in rows], seed=options.seed)


def _row(record: Record) -> Row:
    identifier = text(record, "id") or text(record, "popqa_id")
    relation = text(record, "prop")
    return {
        "id": f"popqa-{identifier}" if identifier else "",
        "subject": text(record, "subj"),
        "subject_aliases": texts(record, "s_aliases"),
        "subject_id": text(record, "s_uri"),
        "relation": PROPERTIES.get(relation, relation),
        "prompt": text(record, "question"),
        "target_true": text(record, "obj"),
        "target_true_aliases": texts(record, "possible_answers"),
        "target_true_id": text(record, "o_uri"),
        "page_views": at(record, "s_pop"),
        _OBJECT_NAMES: texts(record, "o_aliases"),
    }
