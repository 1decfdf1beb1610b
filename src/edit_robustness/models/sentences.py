"""The end of the first sentence of a generated text.

Free generation is scored on its first sentence only, and decoding stops as soon as that sentence has certainly ended,
so both need the same rule. Every decision depends at most on the text before a mark and on the few characters after it.
Therefore `ends_sentence` can guarantee that no later text changes the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from edit_robustness.text.matching import continues_name

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
    """Return the text up to its first sentence end or line break, without the white space around it.

    Args:
        text: The text.
        names: Names that it may contain; no sentence ends inside one of them ("Panic! at the Disco").
    """
    start = _find_start(text)
    end, _ = _find_end(text, start, names)
    return text[start:end].rstrip()


def ends_sentence(text: str, names: Sequence[str] = ()) -> bool:
    """Return whether the first sentence of `text` has certainly ended.

    True only if ``first_sentence(text + more, names) == first_sentence(text, names)`` for every possible `more`. So "in
    1995." is not certain (1995.5), nor "Washington, D.C.", nor a full stop inside a quotation that may be about to
    close, nor "Panic!" if "Panic! at the Disco" is among the names.
    """
    _, certain = _find_end(text, _find_start(text), names)
    return certain


def _find_start(text: str) -> int:
    return len(text) - len(text.lstrip())


def _find_end(text: str, start: int, names: Sequence[str]) -> tuple[int, bool]:
    """Find the end of the sentence that begins at `start`, and whether no further text can change it."""
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
            inside, mark_certain = continues_name(names, before, stop.group(), after)
            ends, certain = not inside, certain and mark_certain
        if ends:
            end, end_certain = _skip_closing_quote(before, after, place + 1)
            return end, end_certain and certain
    return len(text), False


def _is_end(mark: str, before: str, after: str) -> bool | None:
    """Return whether a mark ends the sentence, or None if that depends on text still to come."""
    if not any(character.isalnum() for character in before) or _is_open(before, _BRACKETS):
        return False
    if mark != ".":
        return True
    match = _LAST_WORD.search(before)
    word = match.group() if match else ""
    if word in ABBREVIATIONS or _is_initial(word) or _LIST_MARKER.fullmatch(before):
        return False
    if word.lower() in NUMBER_ABBREVIATIONS:
        return _end_unless(str.isdigit, after.lstrip(_BLANKS))
    if word[-1:].isdigit():
        return _end_unless(str.isdigit, after)
    if before[-1].isspace():
        return _end_unless(str.isalnum, after)
    return True


def _end_unless(continues: Callable[[str], bool], after: str) -> bool | None:
    """Return whether a sentence ends: not if the next character continues it; None if there is no next character."""
    return not continues(after[0]) if after else None


def _is_initial(word: str) -> bool:
    """Return whether a word is one letter of a script with capitals ("J." in a name, "C." in "D.C.")."""
    return len(word) == 1 and word.upper() != word.lower()


def _is_open(text: str, pairs: tuple[str, ...]) -> bool:
    return any(text.count(pair[0]) > text.count(pair[1]) for pair in pairs)


def _skip_closing_quote(before: str, after: str, end: int) -> tuple[int, bool]:
    """Move a sentence end inside a quotation behind the closing quotation mark; and return whether that is certain."""
    if before.count('"') % 2 == 0 and not _is_open(before, _QUOTES):
        return end, True
    if not after:
        return end, False
    return end + (after[0] in _CLOSING_QUOTES), True
