"""When two names mean the same thing: the one comparison behind schema, neighbours and contexts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from edit_robustness.records import Fact

_SHORT = 3
"""Letters up to which a name is told from a word by its capitals."""


def plain(name: str) -> str:
    """A name without what does not tell names apart: capitals, compatibility forms, runs of white space."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def shared_name(some: Iterable[str], others: Iterable[str]) -> str | None:
    """A name of `some` that is among `others` too, as written in `some`; None where there is none."""
    known = {plain(other) for other in others}
    return next((name for name in some if plain(name) in known), None)


def names_any(text: str, names: Iterable[str]) -> bool:
    """Whether a text holds one of the names as whole words."""
    searched = plain(text)
    return any(re.search(rf"(?<!\w){re.escape(plain(name))}(?!\w)", searched) for name in names)


def true_names(fact: Fact) -> tuple[str, ...]:
    """All names of the true object; none where it is not known."""
    return _written(fact.target_true, *fact.target_true_aliases)


def new_names(fact: Fact) -> tuple[str, ...]:
    """All names of the new object."""
    return _written(fact.target_new, *fact.target_new_aliases)


def first_named(text: str, names: Iterable[str], *, besides: Iterable[str] = ()) -> str | None:
    """The first of some names that a text holds as whole words, outside the names in `besides`; None without one.

    A name of up to three letters counts only as it is written, for "He", "IT" and "us" are words too; one in a script
    without capitals counts inside other words, for many of those write no spaces.

    Args:
        text: Where to look.
        names: What to look for; empty ones are passed over.
        besides: Names that may stand there, and whatever is part of them.
    """
    allowed = sorted((name for name in besides if name), key=len, reverse=True)
    for name in filter(str.strip, names):
        searched = _folded(text, name)
        for other in allowed:
            if _folded(name, name) in _folded(other, name):
                searched = re.sub(_pattern(_folded(other, name)), "…", searched)
        if re.search(_pattern(_folded(name, name)), searched):
            return name
    return None


def subject_names(fact: Fact) -> tuple[str, ...]:
    """All names of the subject."""
    return _written(fact.subject, *fact.subject_aliases)


def _written(*names: str) -> tuple[str, ...]:
    return tuple(name for name in names if name.strip())


def _folded(text: str, name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split()) if len(name) <= _SHORT else plain(text)


def _pattern(name: str) -> str:
    before = "" if unicodedata.category(name[0]) == "Lo" else r"(?<!\w)"
    after = "" if unicodedata.category(name[-1]) == "Lo" else r"(?!\w)"
    return f"{before}{re.escape(name)}{after}"
