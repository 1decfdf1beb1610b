"""Misspellings by swapping two letters."""

from __future__ import annotations

import re
from random import Random

_SHORTEST = 5
_WORD = re.compile(rf"[^\W\d_]{{{_SHORTEST},}}")


def misspell(text: str, known_words: frozenset[str], rng: Random) -> str:
    """Swap two adjacent letters inside one word of a text; return an empty text if no word can be misspelled.

    A word keeps its first and last letter, and never becomes one of `known_words`, so that the result is not another
    name.
    """
    candidates = [word for word in _WORD.finditer(text) if word.group().lower() != word.group().upper()]
    for word in rng.sample(candidates, len(candidates)):
        places = range(1, len(word.group()) - 2)
        for place in rng.sample(places, len(places)):
            slip = _swap(word.group(), place)
            if slip != word.group() and slip.casefold() not in known_words:
                return text[: word.start()] + slip + text[word.end() :]
    return ""


def _swap(word: str, place: int) -> str:
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
