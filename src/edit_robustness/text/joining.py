"""The text between a prompt and the object that follows it: a space or nothing, as in natural text.

One rule serves all places where the two are joined: the targets of edits and of teacher forcing, the sentences of
in-context methods, training examples.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from edit_robustness.text.scripts import is_chinese_or_japanese, writes_no_spaces

Join = Literal["", " "]
"""Nothing, or one space."""

JOINS: dict[str, Join] = {"none": "", "space": " "}
"""Their names in tables, where an empty cell means that the rule decides."""

_OPENS_BEFORE = {"“": "„", "‘": "‚", "«": "»"}
"""Marks that open, unless the other is open before them: „Wort“ and »ord« close with them."""

_MAY_OPEN = {"”": "“„", "’": "‘‚", "»": "«"}
"""Marks that close, unless they stand after a space and none of these is open: ”ord” and »Wort« open with them."""

_ELISION = re.compile(
    r"(?<![^\W_])(?:[ldjmtsnco]|qu|jusqu|lorsqu|puisqu|quoiqu|un|(?:a|da|de|ne|su)?ll)['’]$", re.IGNORECASE
)
"""An apostrophe after which the word goes on: l'Italie, dell'arte, O'Brien."""

_BINDS_BOTH = frozenset("/\\-‐‑–—@#&=~+_")
"""Marks that bind what follows if they stand right behind a word: New-, and/, AT&, user@."""

_BINDS_NEXT = frozenset("@¿¡")
"""Marks that bind what follows wherever they stand."""


def separator(prompt: str, target: str) -> Join:
    """Return the text between a prompt and a target: nothing, or one space.

    There is no space after white space; between two scripts without spaces; after a mark that opens (a quotation mark,
    a bracket, an apostrophe, a currency sign before its number) or binds (a slash, a hyphen, ``@``); and before a mark
    that closes. A straight quotation mark opens if it is an odd one in its line.

    Args:
        prompt: The text before.
        target: The text that follows.
    """
    if not prompt or not target or prompt[-1].isspace() or target[0].isspace():
        return ""
    no_space = _is_unspaced(prompt, target) or _attaches(target[0])
    return "" if no_space or _opens(prompt) or _binds(prompt, target) else " "


def join_prompt(prompt: str, target: str, join: str | None = None) -> str:
    """Return a prompt and the target that follows it as one text.

    Args:
        prompt: The text before.
        target: The text that follows.
        join: What stands between them; by the rule of `separator` if None.
    """
    return prompt + (separator(prompt, target) if join is None else join) + target


def _is_unspaced(prompt: str, target: str) -> bool:
    last, first = prompt[-1], target[0]
    # full-width marks include their own space
    if unicodedata.east_asian_width(last) in "WF" and unicodedata.category(last).startswith("P"):
        return True
    letter = next((character for character in reversed(prompt) if character.isalnum()), "")
    if not letter or not writes_no_spaces(letter):
        return False
    return first == "_" or writes_no_spaces(first) or (is_chinese_or_japanese(letter) and first.isdigit())


def _attaches(first: str) -> bool:
    """Return whether a target begins with a mark that has no space before it."""
    return first in ",;" or unicodedata.category(first) in ("Pe", "Mn", "Mc")


def _opens(prompt: str) -> bool:
    """Return whether the last mark of a prompt opens what follows."""
    before, mark = prompt[:-1], prompt[-1]
    starts = not before or before[-1].isspace() or unicodedata.category(before[-1]) in ("Ps", "Pi")
    line = before.rpartition("\n")[2]
    if mark in '"`':
        inch = bool(before) and before[-1].isalnum()
        return line.count(mark) % 2 == 0 and not inch
    if mark == "'":
        return starts or before[-1] == '"' or bool(_ELISION.search(prompt))
    if mark in _OPENS_BEFORE:
        return line.count(_OPENS_BEFORE[mark]) <= line.count(mark)
    if mark in _MAY_OPEN:
        open_before = any(line.count(opener) > line.count(mark) for opener in _MAY_OPEN[mark])
        return bool(starts and not open_before) or (mark == "’" and bool(_ELISION.search(prompt)))
    return unicodedata.category(mark) in ("Ps", "Pi")


def _binds(prompt: str, target: str) -> bool:
    """Return whether the last mark of a prompt binds what follows, as a sign before a number or a hyphen does."""
    mark = unicodedata.normalize("NFKC", prompt[-1])[-1]
    before = prompt.rstrip(prompt[-1])
    after_number = before.rstrip()[-1:].isdigit()
    stands_free = not before or before[-1].isspace() or unicodedata.category(before[-1]) in ("Ps", "Pi")
    if mark in _BINDS_NEXT:
        return True
    if unicodedata.category(mark) == "Sc":
        # a currency sign after its number, as in 5 €, does not bind
        return not after_number
    if stands_free:
        return mark == "#" or (mark in "+-−~" and target[0].isdigit() and not after_number)
    # C#, C++ and A+ are words
    return mark in _BINDS_BOTH and mark not in "#+"
