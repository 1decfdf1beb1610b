"""zsRE (Levy et al. 2017) in MEND's form (Mitchell et al. 2022), and the data sets of KnowEdit (Zhang et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edit_robustness.datasets.readers.records import Options, Record, Row, at, completion, names

_OTHER_QUESTION = "nq question: "
"""What MEND's records put before a question of Natural Questions."""


def read_zsre(records: Sequence[Record], options: Options) -> list[Row]:
    """MEND's records: questions, each with a question of another data set as its neighbour.

    `pred`, what some model once said, is not used. EasyEdit's copy with one-hop questions (`portability`) is read too.
    """
    return [_row(record) for record in records]


def _row(record: Record) -> Row:
    subject, answers = at(record, "subject"), names(at(record, "answers"))
    hop = at(record, "portability")
    return {
        "subject": subject,
        "prompt": at(record, "src"),
        "target_true": answers[0] if answers else "",
        "target_true_aliases": answers[1:],
        "target_new": at(record, "alt"),
        "paraphrases": names(at(record, "rephrase")),
        "neighbours": completion(_question(str(at(record, "loc"))), at(record, "loc_ans")),
        "consequences": completion(at(hop, "New Question"), at(hop, "New Answer"), subject),
    }


def _question(text: str) -> str:
    """Without its marker, and with the question mark that it lacks."""
    question = text.removeprefix(_OTHER_QUESTION).strip()
    return question if not question or question.endswith("?") else f"{question}?"


def read_knowedit(records: Sequence[Record], options: Options) -> list[Row]:
    """KnowEdit's records (zsRE, WikiData_recent, WikiData_counterfact): consequences by `portability`, neighbours by
    `locality`, whatever their groups are called; the names `src` and `alt` of older copies are read too.
    """
    return [_knowedit_row(record) for record in records]


def _knowedit_row(record: Record) -> Row:
    subject, true = at(record, "subject"), names(at(record, "ground_truth") or at(record, "answers"))
    return {
        "subject": subject,
        "prompt": at(record, "prompt") or at(record, "src"),
        "target_true": true[0] if true else "",
        "target_true_aliases": true[1:],
        "target_new": at(record, "target_new") or at(record, "alt"),
        "paraphrases": names(at(record, "rephrase_prompt") or at(record, "rephrase")),
        "neighbours": _grouped(at(record, "locality"), subject),
        "consequences": _grouped(at(record, "portability"), subject),
    }


def _grouped(groups: Any, subject: str) -> list[dict[str, Any]]:
    """``{group: [{prompt, ground_truth}, ...]}`` as one list; a ground truth may be a name or lists of names."""
    listed = [item for items in groups.values() for item in items or ()] if isinstance(groups, Mapping) else []
    return [one for item in listed for one in completion(at(item, "prompt"), at(item, "ground_truth"), subject)]
