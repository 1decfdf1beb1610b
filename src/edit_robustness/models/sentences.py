"""Where the first sentence of a generated text ends.

Free generation is judged on its first sentence only, and decoding stops as soon as that sentence has certainly
ended, so both need one and the same rule. Every decision looks at most at what stands before a mark and at the
few characters after it: that is what lets `ends_sentence` promise that no later text can move the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from edit_robustness.text.matching import goes_on

LINE_BREAKS = "\n\r\v\f\x85\u2028\u2029"
FULL_WIDTH_ENDS = "。！？｡।॥؟۔"
"""Marks of other scripts that end a sentence whatever follows."""

_ABBREVIATIONS = """
    St Ste Dr Drs Mr Mrs Ms Mx Messrs Prof Jr Sr Rev Hon Gen Col Maj Capt Cmdr Lt Sgt Adm Sen Rep Gov Pres
    Mt Mts Ft Pt Ave Blvd Inc Ltd Co Corp Cos Bros Dept Univ Assn Est Ph Vol Fig Ed Eds Op
    Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec
    vs cf ca al etc approx vol pp fig inc ltd co corp www
"""
ABBREVIATIONS = frozenset(_ABBREVIATIONS.split())
"""Words whose full stop does not end a sentence. A wrong entry makes a sentence longer, never shorter."""

NUMBER_ABBREVIATIONS = frozenset({"no", "nos"})
"""Abbreviations before a number only: "No. 5", but "No. It is Lyon"."""

_STOP = re.compile(f"[.!?{FULL_WIDTH_ENDS}{LINE_BREAKS}]")
_LAST_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*$")
_LIST_MARKER = re.compile(r"\d{1,2}")
_BRACKETS = ("()", "[]", "（）")
_QUOTES = ("“”", "«»", "「」", "『』")
_CLOSING_QUOTES = '"”»」』'
_BLANKS = " \t\xa0"


def first_sentence(text: str, names: Sequence[str] = ()) -> str:
    """The text up to its first sentence end or line break, without the white space around it.

    Args:
        text: The text.
        names: Names that it may hold; no sentence ends inside one of them ("Panic! at the Disco").
    """
    start = _start(text)
    end, _ = _find_end(text, start, names)
    return text[start:end].rstrip()


def ends_sentence(text: str, names: Sequence[str] = ()) -> bool:
    """Whether the first sentence of `text` has certainly ended.

    True only if ``first_sentence(text + more, names) == first_sentence(text, names)`` for every possible `more`. So
    "in 1995." is not certain (1995.5), nor "Washington, D.C.", nor a full stop inside a quotation that may be about to
    close, nor "Panic!" where "Panic! at the Disco" is among the names.
    """
    _, certain = _find_end(text, _start(text), names)
    return certain


def _start(text: str) -> int:
    return len(text) - len(text.lstrip())


def _find_end(text: str, start: int, names: Sequence[str]) -> tuple[int, bool]:
    """Where the sentence that begins at `start` ends, and whether no further text can move that place."""
    certain = True
    for stop in _STOP.finditer(text, start):
        place = stop.start()
        if stop.group() in LINE_BREAKS:
            return place, certain
        before, after = text[start:place], text[place + 1 :]
        ends = _is_end(stop.group(), before, after)
        if ends is None:
            return len(text), False
        if ends and names:
            inside, known = goes_on(names, before, stop.group(), after)
            ends, certain = not inside, certain and known
        if ends:
            end, closed = _past_closing_quote(before, after, place + 1)
            return end, closed and certain
    return len(text), False


def _is_end(mark: str, before: str, after: str) -> bool | None:
    """Whether a mark ends the sentence; None where that depends on text still to come."""
    if not any(character.isalnum() for character in before) or _is_open(before, _BRACKETS):
        return False
    if mark != ".":
        return True
    found = _LAST_WORD.search(before)
    word = found.group() if found else ""
    if word in ABBREVIATIONS or _is_initial(word) or _LIST_MARKER.fullmatch(before):
        return False
    if word.lower() in NUMBER_ABBREVIATIONS:
        return _unless(str.isdigit, after.lstrip(_BLANKS))
    if word[-1:].isdigit():
        return _unless(str.isdigit, after)
    if before[-1].isspace():
        return _unless(str.isalnum, after)
    return True


def _unless(continues: Callable[[str], bool], after: str) -> bool | None:
    """An end, unless the next character goes on with it; None while there is no next character."""
    return not continues(after[0]) if after else None


def _is_initial(word: str) -> bool:
    """Whether a word is one letter of a script that has capitals ("J." in a name, "C." in "D.C.")."""
    return len(word) == 1 and word.upper() != word.lower()


def _is_open(text: str, pairs: tuple[str, ...]) -> bool:
    return any(text.count(pair[0]) > text.count(pair[1]) for pair in pairs)


def _past_closing_quote(before: str, after: str, end: int) -> tuple[int, bool]:
    """A sentence that ends inside a quotation takes the closing quotation mark with it."""
    if before.count('"') % 2 == 0 and not _is_open(before, _QUOTES):
        return end, True
    if not after:
        return end, False
    return end + (after[0] in _CLOSING_QUOTES), True
