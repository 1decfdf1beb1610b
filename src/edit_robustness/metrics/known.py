"""Prior knowledge: whether an answer names a stable object of the right type, and which object it names.

An unchanged answer shows unchanged knowledge only if the unedited model knows something. If its answer names no object
of the relation, equal words show only that the wording is the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from edit_robustness.metrics.mentions import verdict
from edit_robustness.prompts.grammar import is_question
from edit_robustness.tables import read_names, read_objects
from edit_robustness.text.matching import any_name, fold

Names = tuple[str, ...]

_OPENING = re.compile(r"""^[\s"'“”‘«(\[*_]*""")
_ARTICLE = re.compile(r"^(?:the|an?)\s+")


def named_object(row: Mapping[Any, Any]) -> str:
    """Return the object that an answer names: the new one, the true one or another of its relation; empty for none.

    Args:
        row: A row of the table of answers, with `verdict`.
    """
    objects = {"new": row["target_new"], "old": row["target_true"]}
    return objects.get(row["verdict"]) or next(iter(_relation_object(row)), "")


def is_known(row: Mapping[Any, Any]) -> bool:
    """Check whether an answer names a right object in a stable way.

    A right object is the true one or, if that is unknown, any of `relation_objects`. It is stable if the answer begins
    with it, apart from an article. Greedy decoding and teacher forcing then agree on it, token by token. A question
    may be answered in a whole sentence, so there the object may be anywhere in the first sentence.

    Args:
        row: A row of the table of answers, with `verdict` and `sentence`.
    """
    if row["target_true"]:
        names = (row["target_true"], *read_names(row["target_true_aliases"])) if row["verdict"] == "old" else ()
    else:
        names = () if row["verdict"] in ("new", "old") else _relation_object(row)
    asks = bool(row["conversation"]) or is_question(row["prompt"])
    return bool(names) and (asks or opens_with(row["sentence"], names))


def opens_with(sentence: str, names: Names) -> bool:
    """Check whether a sentence begins with one of some equivalent names, apart from an article."""
    start, opening = fold(_OPENING.sub("", sentence)), re.compile(any_name(names))
    return any(opening.match(text) is not None for text in (start, _ARTICLE.sub("", start)))


def _relation_object(row: Mapping[Any, Any]) -> Names:
    objects = row["relation_objects"]
    return _first_object(row["text"], objects, row["subject"]) if objects != "[]" else ()


@lru_cache(maxsize=4096)
def _first_object(text: str, cell: str, subject: str) -> Names:
    """Return all names of the object that the first sentence of a text names first; empty if it names none."""
    text_letters = _letters(text)
    objects = [
        names for names, letters in _readable(cell) if any(name_letters in text_letters for name_letters in letters)
    ]
    if verdict(text, _flat(objects), (), besides=(subject,)) != "new":
        return ()
    while len(objects) > 1:
        half = len(objects) // 2
        first = verdict(text, _flat(objects[:half]), _flat(objects[half:]), besides=(subject,)) == "new"
        objects = objects[:half] if first else objects[half:]
    return objects[0]


@lru_cache(maxsize=256)
def _readable(cell: str) -> tuple[tuple[Names, Names], ...]:
    """Return each object's names, and their letters, which rule out most objects at little cost."""
    return tuple((names, tuple(map(_letters, names))) for names in read_objects(cell))


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", text).casefold())


def _flat(objects: list[Names]) -> list[str]:
    return [name for names in objects for name in names]
