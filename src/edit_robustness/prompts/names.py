"""When two names mean the same thing: the one comparison behind schema, neighbours and contexts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from edit_robustness.records import Fact


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
    """All names of the true object."""
    return (fact.target_true, *fact.target_true_aliases)


def new_names(fact: Fact) -> tuple[str, ...]:
    """All names of the new object."""
    return (fact.target_new, *fact.target_new_aliases)
