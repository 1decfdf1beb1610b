"""How people mistype: two letters swapped."""

from __future__ import annotations

import re
from random import Random

_SHORTEST = 5
_WORD = re.compile(rf"[^\W\d_]{{{_SHORTEST},}}")


def misspelt(text: str, known: frozenset[str], rng: Random) -> str:
    """A text with two neighbouring letters swapped, inside one word; empty where no word can be misspelt.

    A word keeps its first and last letter, and never becomes one of `known`, so that no other name comes of it.
    """
    found = [word for word in _WORD.finditer(text) if word.group().lower() != word.group().upper()]
    for word in rng.sample(found, len(found)):
        places = range(1, len(word.group()) - 2)
        for place in rng.sample(places, len(places)):
            slip = _swapped(word.group(), place)
            if slip != word.group() and slip.casefold() not in known:
                return text[: word.start()] + slip + text[word.end() :]
    return ""


def _swapped(word: str, place: int) -> str:
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
