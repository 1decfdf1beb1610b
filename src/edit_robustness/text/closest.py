"""Names that were probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LIKE = 0.6
"""Names less alike than this (difflib's ratio) are not suggested."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the existing name closest to a misspelt one, as the end of a sentence; or all names if none is close."""
    existing = list(dict.fromkeys(map(str, names)))
    folded = {each.casefold(): each for each in existing}
    if close := get_close_matches(name.casefold(), folded, n=1, cutoff=_LIKE):
        return f"did you mean `{folded[close[0]]}`?"
    return f"there are {', '.join(existing)}" if existing else "there are none"
