"""Names in texts: the one matcher behind scores, leak checks, topics, neighbours and the schema.

Names and texts are compared in a folded form (`fold`). A name matches as whole words, with any punctuation between
them: "New-York" is New York, "I.B.M." is IBM. If several names match at one place, the longest counts: "Paris Hilton"
does not name Paris.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from edit_robustness.text.scripts import bounds_no_words

_CAPITALS = "\ue000"
"""A mark before short words in capitals, so that US is not "us": a private character that no text contains."""

_GAP = r"[\s!-\"$-*,-/:-@\[-^`{-~‐-―‘’“”·・、。]"
"""Characters allowed between the words of a name, or left out: all but letters, digits, "+" and "#"."""

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
    """Return a name without capitals, compatibility forms and runs of white space; equal names have equal results."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def fold(text: str) -> str:
    """Return a text in the form in which names are compared: NFKC, casefolded, "U.S." as "US", straight apostrophes.

    Words of two or three capitals keep a mark in front, because US, IT and WHO are other words in small letters.
    """
    text = unicodedata.normalize("NFKC", text).replace("’", "'")
    text = _DOTTED.sub(lambda match: re.sub(r"[.\s]", "", match.group()).upper(), text)
    return _SHORT_CAPITALS.sub(lambda word: _CAPITALS + word.group(), text).casefold()


def letters(text: str) -> str:
    """Return the characters that distinguish names: folded letters, digits, "+" and "#", without marks and spaces."""
    folded_text = fold(text)
    return re.sub(rf"{_GAP}+|{_CAPITALS}", "", folded_text) or folded_text


def shared_name(candidates: Iterable[str], known_names: Iterable[str]) -> str | None:
    """Return the first of `candidates` that is among `known_names`, as written in `candidates`; None if none is."""
    known_letters = {_letters_of(known_name) for known_name in known_names}
    return next((name for name in candidates if _letters_of(name) in known_letters), None)


def names_any(text: str, names: Iterable[str]) -> bool:
    """Return whether a text names one of some objects."""
    return first_named(text, names) is not None


def first_named(text: str, names: Iterable[str], *, besides: Iterable[str] = ()) -> str | None:
    """Return the first of some names that a text contains, outside the names in `besides`; None if it contains none.

    Args:
        text: The text.
        names: The names; empty ones are skipped.
        besides: Names that may occur there, and everything that is part of them.
    """
    folded_text = fold(text)
    spans = [match.span() for name in besides if name.strip() for match in _compile(name).finditer(folded_text)]
    for name in filter(str.strip, names):
        for match in _compile(name).finditer(folded_text):
            if not any(start <= match.start() and match.end() <= end for start, end in spans):
                return name
    return None


def first_side(folded_text: str, sides: tuple[tuple[str, ...], ...]) -> int | None:
    """Return the number of the side whose name a folded text contains first; None if it contains none.

    Args:
        folded_text: The text, folded.
        sides: The names of several objects.
    """
    pattern, order = _build_alternatives(sides)
    match = pattern.search(folded_text) if order else None
    return order[match.lastindex - 1] if match and match.lastindex else None


@lru_cache(_CACHED)
def any_name(names: tuple[str, ...]) -> str:
    """Return a regular expression, for folded texts, that matches any of some names; no names match nothing."""
    return "|".join(_build_pattern(fold(name)) for name in _longest_first(names)) or r"(?!)"


def preselect(text: str, names: Iterable[str]) -> list[str]:
    """Return the names whose letters a text contains: a quick preselection, since it can name no others."""
    text_letters = letters(text)
    return [name for name in names if _letters_of(name) in text_letters]


def continues_name(names: Sequence[str], before: str, mark: str, after: str) -> tuple[bool, bool]:
    """Return whether a mark that could end a sentence is part of a name, as in "Panic! at the Disco".

    A mark at the end of a name ends the sentence too, unless the following text continues it ("Yahoo! was founded").

    Args:
        names: The names that a text may contain.
        before: The text up to the mark.
        mark: The mark.
        after: The text after it, up to the end of its line.

    Returns:
        Whether the mark is part of a name in the text as it is, and whether no further text can change that.
    """
    results = [_tail_follows(right, tail, after) for right, tail in _find_tails(tuple(names), before, mark)]
    inside = [certain for follows, certain in results if follows]
    return bool(inside), any(inside) or all(certain for _, certain in results)


def _tail_follows(right: re.Pattern[str] | None, tail: str, after: str) -> tuple[bool, bool]:
    if right is None:
        first = _BEFORE_WORD.sub("", after)[:1]
        return first.islower() or (bool(first) and first in "'’,;:"), bool(first)
    line, *further_lines = re.split(r"[\n\r\v\f\x85\u2028\u2029]", after, maxsplit=1)
    folded_line = fold(line)
    match = right.match(folded_line)
    if further_lines or (match and match.end() < len(folded_line)):
        return bool(match), True
    may_come = tail.startswith(re.sub(rf"{_GAP}+|{_CAPITALS}", "", folded_line))
    return bool(match), not may_come


def _find_tails(names: tuple[str, ...], before: str, mark: str) -> Iterator[tuple[re.Pattern[str] | None, str]]:
    """Yield the tails of those names whose part before such a mark ends a text."""
    folded_ends: dict[int, str] = {}
    for width, stop, left_pattern, right_pattern, tail in _find_breaks(names):
        if stop != unicodedata.normalize("NFKC", mark):
            continue
        if width not in folded_ends:
            folded_ends[width] = fold(before[-width:])
        if left_pattern.search(folded_ends[width]):
            yield right_pattern, tail


@lru_cache(_CACHED)
def _find_breaks(names: tuple[str, ...]) -> tuple[tuple[int, str, re.Pattern[str], re.Pattern[str] | None, str], ...]:
    """Find the places in names where a sentence could end; most names have none.

    Returns:
        For each place: the length of text that shows whether it ends in the part before a mark, the mark, patterns of
            the parts around it (None after a name's last mark), and the letters of the second part.
    """
    breaks = []
    for name in dict.fromkeys(names):
        for place, mark in enumerate(name):
            head, tail = name[:place], name[place + 1 :]
            if mark in _STOPS and any(map(str.isalnum, head)) and (not tail or any(map(str.isalnum, tail))):
                ends = re.compile(rf"(?:{_build_pattern(fold(head), whole_words=False)}){_GAP}{{0,2}}$")
                starts = re.compile(rf"{_GAP}{{0,3}}(?:{_build_pattern(fold(tail))})") if tail else None
                width = 2 * len(head) + 16
                breaks.append((width, unicodedata.normalize("NFKC", mark), ends, starts, letters(tail)))
    return tuple(breaks)


_letters_of = lru_cache(_CACHED)(letters)
"""Cached `letters` of names, which are searched many times."""


@lru_cache(_CACHED)
def _compile(name: str) -> re.Pattern[str]:
    return re.compile(_build_pattern(fold(name)))


@lru_cache(_CACHED)
def _build_alternatives(sides: tuple[tuple[str, ...], ...]) -> tuple[re.Pattern[str], list[int]]:
    """Build a pattern with a group for each name, and the list of the groups' sides."""
    # longest first: of alternatives that match at one place, a pattern takes the first
    pairs = [(fold(name), side) for side, names in enumerate(sides) for name in names if name.strip()]
    pairs.sort(key=lambda pair: -len(pair[0]))
    return re.compile("|".join(f"({_build_pattern(name)})" for name, _ in pairs)), [side for _, side in pairs]


def _longest_first(names: Iterable[str]) -> list[str]:
    return sorted((name for name in names if name.strip()), key=len, reverse=True)


def _build_pattern(name: str, *, whole_words: bool = True) -> str:
    """Build a pattern for a folded name: whole words, with any or no characters between them but letters and digits."""
    if name == "no":
        return _SAYS_NO
    words = [word for word in re.split(rf"{_GAP}+", name) if word] or [name]
    body = rf"{_GAP}{{0,3}}".join(_build_word(word) for word in words)
    before = "" if bounds_no_words(words[0].lstrip(_CAPITALS)[:1]) else rf"(?<!{_LETTER})"
    after = "" if not whole_words or bounds_no_words(words[-1][-1]) else rf"(?!{_LETTER}|[+#])"
    # 3 is not in 3.5, nor 5 in 2.5; years after a full stop are those of dates, 1.5.1999
    before += r"(?<!\d[.,])" if re.match(r"\d{1,3}(?!\d)", words[0]) else ""
    after += r"(?![.,]\d)" if whole_words and words[-1][-1].isdigit() else ""
    return before + body + after


def _build_word(word: str) -> str:
    return re.escape(word) if word.startswith(_CAPITALS) else f"{_CAPITALS}?{re.escape(word)}"
