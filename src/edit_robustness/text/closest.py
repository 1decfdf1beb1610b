"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

_LIKE = 0.6
"""Names less alike than this (difflib's ratio) are not suggested."""

RENAMED: Mapping[str, str] = {
    "at_once": "batch_size",
    "retained": "retention_facts",
    "damage": "analyze_sequences",
    "must_hold": "thresholds",
    "failures_shown": "max_failures",
    "held_out": "cv_groups",
    "in_context": "recall_demonstrations",
    "history": "protect_history",
    "checkpoint": "external",
    "locality": "neighbourhood",
    "raw_lessons": "raw_training_facts",
}
"""New names of settings, methods, kinds of prompt and data sets of earlier versions; spelling rarely leads to them."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the existing name closest to a misspelt one, as the end of a sentence; or all names if none is close.

    A name of an earlier version (`RENAMED`) gets the name that it has now, if that exists here.
    """
    name_list = list(dict.fromkeys(map(str, names)))
    if (new_name := RENAMED.get(name)) in name_list:
        return f"its name is now `{new_name}`"
    by_folded_name = {candidate.casefold(): candidate for candidate in name_list}
    if matches := get_close_matches(name.casefold(), by_folded_name, n=1, cutoff=_LIKE):
        return f"did you mean `{by_folded_name[matches[0]]}`?"
    return f"there are {', '.join(name_list)}" if name_list else "there are none"
