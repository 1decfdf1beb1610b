"""zsRE (Levy et al. 2017) in MEND's form (Mitchell et al. 2022), and the data sets of KnowEdit (Zhang et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from edit_robustness.datasets.readers.groups import consequences, specificity
from edit_robustness.datasets.readers.records import (
    Options,
    Record,
    Row,
    at,
    completion,
    read_each,
    read_with_path,
    text,
    texts,
)
from edit_robustness.prompts.schema import LEFT_OUT
from edit_robustness.records import SLOT

_OTHER_QUESTION = "nq question: "
"""The text that MEND's records put before a question of Natural Questions."""

_NEW_OBJECTS = ("target_new", "alt", "target")
_OLD_OBJECTS = ("ground_truth", "answers", "target_old", "target_true")


def read_zsre(records: Sequence[Record], options: Options) -> list[Row]:
    """Read MEND's records: questions, each with an unrelated question of another data set.

    `pred`, what some model once said, is not used. EasyEdit's copy with one-hop questions (`portability`) is read too.
    """
    return read_each(records, _row)


def _row(record: Record) -> Row:
    subject, answers = text(record, "subject"), texts(record, "answers")
    follows, left_out = _consequences(record, subject)
    return {
        "subject": subject,
        "prompt": text(record, "src"),
        "target_true": answers[0] if answers else "",
        "target_true_aliases": answers[1:],
        "target_new": text(record, "alt"),
        "paraphrases": texts(record, "rephrase"),
        "unrelated": completion(question(text(record, "loc")), texts(record, "loc_ans")),
        "consequences": follows,
        LEFT_OUT: left_out,
    }


def question(prompt: str) -> tuple[str, ...]:
    """Return a question without its marker, and with the question mark that it lacks; nothing for an empty one."""
    prompt = prompt.removeprefix(_OTHER_QUESTION.strip()).strip()
    return (prompt if prompt.endswith("?") else f"{prompt}?",) if prompt else ()


def _consequences(record: Record, subject: str) -> tuple[list[dict[str, Any]], list[str]]:
    return read_with_path(partial(consequences, subject=subject), at(record, "portability"), ("portability",))


def read_knowedit(records: Sequence[Record], options: Options) -> list[Row]:
    """Read KnowEdit's records (zsRE, WikiData_recent, WikiData_counterfact) and others in their form.

    Consequences come from `portability`, the kinds of specificity from the groups of `locality` (`readers.groups`). The
    names `src` and `alt` of older copies, `target` of QAEdit, and `target_old` for the old object are read too.
    """
    return read_each(records, _knowedit_row)


def _knowedit_row(record: Record) -> Row:
    subject = text(record, "subject")
    prompt = text(record, "prompt") or text(record, "src")
    true = next((objects for field in _OLD_OBJECTS if (objects := texts(record, field))), ())
    template = prompt.replace(subject, SLOT, 1) if subject else prompt
    sort = partial(specificity, subject=subject, template=template)
    fields, without_kind = read_with_path(sort, at(record, "locality"), ("locality",))
    follows, without_answer = _consequences(record, subject)
    return {
        "subject": subject,
        "prompt": prompt,
        "target_true": true[0] if true else "",
        "target_true_aliases": true[1:],
        "target_new": next((new for field in _NEW_OBJECTS if (new := text(record, field))), ""),
        "paraphrases": texts(record, "rephrase_prompt") or texts(record, "rephrase"),
        **fields,
        "consequences": follows,
        LEFT_OUT: [*without_kind, *without_answer],
    }
