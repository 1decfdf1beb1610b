"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LIKE = 0.6
"""Names less alike than this (difflib's ratio) are not suggested."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the existing name closest to a misspelt one, as the end of a sentence; or all names if none is close."""
    name_list = list(dict.fromkeys(map(str, names)))
    by_folded_name = {candidate.casefold(): candidate for candidate in name_list}
    if matches := get_close_matches(name.casefold(), by_folded_name, n=1, cutoff=_LIKE):
        return f"did you mean `{by_folded_name[matches[0]]}`?"
    return f"there are {', '.join(name_list)}" if name_list else "there are none"
