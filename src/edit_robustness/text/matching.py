"""Where a text names an object: the one matcher behind scores, leak checks, topics, neighbours and the schema.

Names and texts are compared in a folded form (`fold`). A name is found as whole words, whatever punctuation stands
between them: "New-York" is New York, "I.B.M." is IBM. Where several names are possible at one place, the longest
counts: "Paris Hilton" does not name Paris.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from edit_robustness.text.scripts import bounds_no_words

_CAPITALS = "\ue000"
"""Stands before short words in capitals, a private character that no text holds: so that US is not "us"."""

_GAP = r"[\s!-\"$-*,-/:-@\[-^`{-~‐-―‘’“”·・、。]"
"""What may stand between the words of a name, or be left out: all that is no letter, digit, "+" or "#"."""

_LETTER = r"[^\W_]"

_SAYS_NO = (
    rf"(?<!{_LETTER}){_CAPITALS}?no(?!-\w)(?=\s*(?:[^\w\s]|$))"
    rf"|^\W*no(?=\s+(?:it|that|this|the|he|she|they|i|there|we)\b)"
)
"""The answer "no": by itself or before a clause, for in "no idea" and "there is no record" it answers nothing."""

_DOTTED = re.compile(r"(?<!\w)[^\W\d_](?:(?:\.\s?[^\W\d_])+\.|(?:\.[^\W\d_])+(?!\w))")
"""With spaces between them only up to a last full stop: in "the U.S. A dollar" the A is a word of its own."""
_SHORT_CAPITALS = re.compile(r"(?<!\w)[A-Z]{2,3}(?!\w)")
_STOPS = ".!?｡।॥؟۔。！？"
_BEFORE_WORD = re.compile(r"^(?:['’](?=s\b)|[\"”»」』])?[ \t\xa0]*")
_CACHED = 1 << 14


def plain(name: str) -> str:
    """Return a name without capitals, compatibility forms and runs of white space, by which equal names are told."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def fold(text: str) -> str:
    """Return a text in the form in which names are compared: NFKC, casefolded, "U.S." as "US", straight apostrophes.

    Words of two or three capitals keep a mark in front, because US, IT and WHO are words of their own in small letters.
    """
    text = unicodedata.normalize("NFKC", text).replace("’", "'")
    text = _DOTTED.sub(lambda dotted: re.sub(r"[.\s]", "", dotted.group()).upper(), text)
    return _SHORT_CAPITALS.sub(lambda word: _CAPITALS + word.group(), text).casefold()


def letters(text: str) -> str:
    """Return what of a text tells names apart: its folded letters and digits, "+" and "#", without marks and spaces."""
    folded = fold(text)
    return re.sub(rf"{_GAP}+|{_CAPITALS}", "", folded) or folded


def shared_name(some: Iterable[str], others: Iterable[str]) -> str | None:
    """Return a name of `some` that is among `others` too, as written in `some`; None where there is none."""
    known = {_letters_of(other) for other in others}
    return next((name for name in some if _letters_of(name) in known), None)


def names_any(text: str, names: Iterable[str]) -> bool:
    """Return whether a text names one of some objects."""
    return first_named(text, names) is not None


def first_named(text: str, names: Iterable[str], *, besides: Iterable[str] = ()) -> str | None:
    """Return the first of some names that a text holds, outside the names in `besides`; None if it holds none.

    Args:
        text: Where to look.
        names: What to look for; empty ones are passed over.
        besides: Names that may stand there, and whatever is part of them.
    """
    folded = fold(text)
    spans = [match.span() for name in besides if name.strip() for match in _compiled(name).finditer(folded)]
    for name in filter(str.strip, names):
        for match in _compiled(name).finditer(folded):
            if not any(start <= match.start() and match.end() <= end for start, end in spans):
                return name
    return None


def first_side(folded: str, sides: tuple[tuple[str, ...], ...]) -> int | None:
    """Return the number of the side whose name a folded text holds first; None if it names none.

    Args:
        folded: The text, folded.
        sides: The names of several objects.
    """
    pattern, order = _alternatives(sides)
    match = pattern.search(folded) if order else None
    return order[match.lastindex - 1] if match and match.lastindex else None


@lru_cache(_CACHED)
def any_name(names: tuple[str, ...]) -> str:
    """Return a regular expression, for folded texts, that matches any of some names, of none nothing."""
    return "|".join(_pattern(fold(name)) for name in _longest_first(names)) or r"(?!)"


def possible(text: str, names: Iterable[str]) -> list[str]:
    """Return the names whose letters a text holds, a quick choice out of many: it names no others."""
    searched = letters(text)
    return [name for name in names if _letters_of(name) in searched]


def goes_on(names: Sequence[str], before: str, mark: str, after: str) -> tuple[bool, bool]:
    """Return whether a mark that could end a sentence is part of a name, as in "Panic! at the Disco".

    A mark that a name ends in ends the sentence too, unless what follows goes on with it ("Yahoo! was founded").

    Args:
        names: The names that a text may hold.
        before: The text up to the mark.
        mark: The mark.
        after: What stands behind it, up to its line's end.

    Returns:
        Whether it does in the text as it is, and whether no further text can change that.
    """
    found = [_rest_follows(right, rest, after) for right, rest in _broken_at(tuple(names), before, mark)]
    inside = [certain for follows, certain in found if follows]
    return bool(inside), any(inside) or all(certain for _, certain in found)


def _rest_follows(right: re.Pattern[str] | None, rest: str, after: str) -> tuple[bool, bool]:
    if right is None:
        first = _BEFORE_WORD.sub("", after)[:1]
        return first.islower() or (bool(first) and first in "'’,;:"), bool(first)
    line, *more = re.split(r"[\n\r\v\f\x85\u2028\u2029]", after, maxsplit=1)
    folded = fold(line)
    match = right.match(folded)
    if more or (match and match.end() < len(folded)):
        return bool(match), True
    may_come = rest.startswith(re.sub(rf"{_GAP}+|{_CAPITALS}", "", folded))
    return bool(match), not may_come


def _broken_at(names: tuple[str, ...], before: str, mark: str) -> Iterator[tuple[re.Pattern[str] | None, str]]:
    """The rests of those names of which the part before such a mark ends a text."""
    folded: dict[int, str] = {}
    for width, stop, left, right, rest in _breaks(names):
        if stop != unicodedata.normalize("NFKC", mark):
            continue
        if width not in folded:
            folded[width] = fold(before[-width:])
        if left.search(folded[width]):
            yield right, rest


@lru_cache(_CACHED)
def _breaks(names: tuple[str, ...]) -> tuple[tuple[int, str, re.Pattern[str], re.Pattern[str] | None, str], ...]:
    """The places in names where a sentence could end; of most names none.

    Returns:
        How much of a text tells whether it ends in the part before a mark, the mark, patterns of the parts around it
        (None behind a name's last mark), and the letters of the second part.
    """
    found = []
    for name in dict.fromkeys(names):
        for place, mark in enumerate(name):
            left, right = name[:place], name[place + 1 :]
            if mark in _STOPS and any(map(str.isalnum, left)) and (not right or any(map(str.isalnum, right))):
                ends = re.compile(rf"(?:{_pattern(fold(left), whole=False)}){_GAP}{{0,2}}$")
                starts = re.compile(rf"{_GAP}{{0,3}}(?:{_pattern(fold(right))})") if right else None
                width = 2 * len(left) + 16
                found.append((width, unicodedata.normalize("NFKC", mark), ends, starts, letters(right)))
    return tuple(found)


_letters_of = lru_cache(_CACHED)(letters)
"""Of names, which are looked for again and again."""


@lru_cache(_CACHED)
def _compiled(name: str) -> re.Pattern[str]:
    return re.compile(_pattern(fold(name)))


@lru_cache(_CACHED)
def _alternatives(sides: tuple[tuple[str, ...], ...]) -> tuple[re.Pattern[str], list[int]]:
    """A pattern with a group for each name, and the side of each group."""
    # longest first: of alternatives that match at one place, a pattern takes the first
    pairs = [(fold(name), side) for side, names in enumerate(sides) for name in names if name.strip()]
    pairs.sort(key=lambda pair: -len(pair[0]))
    return re.compile("|".join(f"({_pattern(name)})" for name, _ in pairs)), [side for _, side in pairs]


def _longest_first(names: Iterable[str]) -> list[str]:
    return sorted((name for name in names if name.strip()), key=len, reverse=True)


def _pattern(name: str, *, whole: bool = True) -> str:
    """A pattern for a folded name: whole words, anything or nothing between them that is no letter or digit."""
    if name == "no":
        return _SAYS_NO
    words = [word for word in re.split(rf"{_GAP}+", name) if word] or [name]
    body = rf"{_GAP}{{0,3}}".join(_word(word) for word in words)
    before = "" if bounds_no_words(words[0].lstrip(_CAPITALS)[:1]) else rf"(?<!{_LETTER})"
    after = "" if not whole or bounds_no_words(words[-1][-1]) else rf"(?!{_LETTER}|[+#])"
    # 3 is not in 3.5, nor 5 in 2.5; years after a full stop are those of dates, 1.5.1999
    before += r"(?<!\d[.,])" if re.match(r"\d{1,3}(?!\d)", words[0]) else ""
    after += r"(?![.,]\d)" if whole and words[-1][-1].isdigit() else ""
    return before + body + after


def _word(word: str) -> str:
    return re.escape(word) if word.startswith(_CAPITALS) else f"{_CAPITALS}?{re.escape(word)}"
