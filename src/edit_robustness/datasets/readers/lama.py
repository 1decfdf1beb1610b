"""Triples of LAMA's relations: ROME's known facts (Meng et al. 2022) and ParaRel (Elazar et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic_core import PydanticCustomError

from edit_robustness.datasets.readers.draw import draw_new_objects
from edit_robustness.datasets.readers.files import NotReadable, read_records
from edit_robustness.datasets.readers.records import Options, Record, Row, read_each, text, texts
from edit_robustness.prompts.schema import UNREADABLE
from edit_robustness.records import SLOT, fill

_FOLDERS = (("triples", "patterns"), ("trex_lms_vocab", "pattern_data/graphs_json"))
"""Where triples and patterns lie in a folder: under plain names, or as in `data` of ParaRel's repository."""

_SUBJECT, _OBJECT = "[X]", "[Y]"


def read_known_facts(records: Sequence[Record], options: Options) -> list[Row]:
    """ROME's facts. The prompt is the template: `prompt` is often what GPT-2 XL went on to say of it."""
    rows = read_each(records, _known_fact)
    return draw_new_objects(rows, [()] * len(rows), seed=options.seed)


def _known_fact(record: Record) -> Row:
    number = text(record, "known_id")
    return {
        "id": f"known-{number}" if number else "",
        "subject": text(record, "subject"),
        "relation": text(record, "relation_id"),
        "prompt": text(record, "template"),
        "target_true": text(record, "attribute"),
    }


def read_pararel(records: Sequence[Record], options: Options) -> list[Row]:
    """ParaRel's triples; of the patterns that end in the object, the first is the prompt, the others paraphrases."""
    rows = read_each(records, _triple)
    return draw_new_objects(rows, [()] * len(rows), seed=options.seed)


def _triple(record: Record) -> Row:
    subject = text(record, "sub_label")
    prompt, *paraphrases = texts(record, "templates") or ("",)
    return {
        "subject": subject,
        "relation": text(record, "relation"),
        "prompt": prompt,
        "target_true": text(record, "obj_label"),
        "paraphrases": [fill(template, subject) for template in paraphrases],
    }


def load_pararel(folder: Path) -> list[Record]:
    """Return the triples of every relation in a folder, each with its relation and the relation's templates.

    Raises:
        NotReadable: Where the folder has no triples, or a file cannot be read.
    """
    for triples, patterns in _FOLDERS:
        if files := sorted((folder / triples).glob("*.jsonl")):
            return [
                {**triple, "relation": file.stem, "templates": _templates(folder / patterns / file.name)}
                for file in files
                for triple in _records(file)
            ]
    places = " or ".join(f"{triples}/<relation>.jsonl" for triples, _ in _FOLDERS)
    raise NotReadable(f"a folder with {places} was expected, and there is none")


def _records(file: Path) -> list[Record]:
    try:
        return read_records(file)
    except NotReadable as failure:
        raise NotReadable(f"{file.name}: {failure}") from failure


def _templates(file: Path) -> list[str]:
    """Return the patterns that end in the object, with the subject's slot; none where a relation has no patterns."""
    patterns = [_pattern(file, record).rstrip(" .") for record in (_records(file) if file.exists() else ())]
    starts = (pattern.removesuffix(_OBJECT).strip() for pattern in patterns if pattern.endswith(_OBJECT))
    return list(dict.fromkeys(start.replace(_SUBJECT, SLOT) for start in starts if start.count(_SUBJECT) == 1))


def _pattern(file: Path, record: Record) -> str:
    if UNREADABLE in record:
        raise NotReadable(f"{file.parent.name}/{file.name}: {record[UNREADABLE]}")
    try:
        return text(record, "pattern")
    except PydanticCustomError as reason:
        raise NotReadable(f"{file.parent.name}/{file.name}: {reason}") from None
