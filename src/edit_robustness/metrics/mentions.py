"""Which object a generated text names: the new one, the old one, or neither.

After paper 1 ("Is it Possible to Edit Large Language Models Robustly?", arXiv 2402.05827): the first sentence is
searched, and what stands after "instead of", "not" and the like is discarded. Unlike its released scoring, only
the generated text is searched, never the prompt; names are matched as whole words, with their aliases; and a
negation reaches to the end of its clause, so that "not Paris but Lyon" names Lyon.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

from edit_robustness.models.sentences import first_sentence

Verdict = Literal["new", "old", "neither"]

_CAPITALS = "\ue000"
"""Stands before short words in capitals, a private character that no text holds: so that US is not "us"."""

_CUT = "\ue001"
"""Stands where a negated clause was taken out, so that what stood around it does not grow together to a name."""

_GAP = r"[\s!-\"$-*,-/:-@\[-^`{-~‐-―‘’“”·]"
"""What may stand between the words of a name, or be left out: all that is no letter, digit, "+" or "#"."""

_NEGATION = (
    r"\b(?:instead of|rather than|other than|as opposed to|unlike|never|neither|nor|no longer|cannot|not(?! only\b)"
    r"|(?:is|was|are|were|do|does|did|has|have|had|ca|could|would|should|wo)n't)\b"
)
_CLAUSE_END = r",(?=\s|$)|[;:]|\bbut\b|\bit is\b|\bit's\b|$"
_NEGATED = re.compile(rf"{_NEGATION}.*?(?={_CLAUSE_END})", re.DOTALL)

_SAYS_NO = (
    rf"(?<!\w){_CAPITALS}?no(?!-\w)(?=\s*(?:[^\w\s]|$))"
    rf"|^\W*no(?=\s+(?:it|that|this|the|he|she|they|i|there|we)\b)"
)
"""The answer "no": by itself or before a clause, for in "no idea" and "there is no record" it answers nothing."""

_DOTTED = re.compile(r"(?<!\w)[^\W\d_](?:\.\s?[^\W\d_])+(?:\.|(?!\w))")
_SHORT_CAPITALS = re.compile(r"(?<!\w)[A-Z]{2,3}(?!\w)")
_UNSPACED_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")


def verdict(text: str, new: Sequence[str], true: Sequence[str]) -> Verdict:
    """Which object the first sentence of a generated text names.

    Args:
        text: What the model generated, the prompt not included.
        new: The names of the new object.
        true: The names of the old object.

    Returns:
        ``new`` or ``old``: the object that is named first outside negations; ``neither`` if there is none. At one
        place the longest name counts: "New York" names New York and not York. Where the objects are answers (Yes and
        No, True and False), "no" counts as an answer only: not in "no idea", and "not true" is neither.
    """
    said = _NEGATED.sub(_CUT, fold(first_sentence(text)))
    named = _search([(name, "new") for name in new] + [(name, "old") for name in true], said)
    return named if named else "neither"


def fold(text: str) -> str:
    """Text in the form in which names are compared: NFKC, casefolded, "U.S." as "US", straight apostrophes.

    Words of two or three capitals keep a mark in front, because US, IT and WHO are words of their own in small
    letters.
    """
    text = unicodedata.normalize("NFKC", text).replace("’", "'")
    text = _DOTTED.sub(lambda found: re.sub(r"[.\s]", "", found.group()).upper(), text)
    return _SHORT_CAPITALS.sub(lambda found: _CAPITALS + found.group(), text).casefold()


def _search(names: list[tuple[str, Verdict]], said: str) -> Verdict | None:
    # longest first: of alternatives that match at one place, a pattern takes the first
    folded = sorted(((fold(name), side) for name, side in names if name.strip()), key=lambda pair: -len(pair[0]))
    if not folded:
        return None
    pattern = "|".join(f"({_pattern(name)})" for name, _ in folded)
    found = re.search(pattern, said)
    return folded[found.lastindex - 1][1] if found and found.lastindex else None


def _pattern(name: str) -> str:
    """A pattern for a folded name: whole words, anything or nothing between them that is no letter or digit."""
    if name == "no":
        return _SAYS_NO
    words = [word for word in re.split(rf"{_GAP}+", name) if word] or [name]
    body = rf"{_GAP}{{0,3}}".join(_word(word) for word in words)
    before = "" if _is_unspaced(words[0][0]) else r"(?<!\w)"
    after = "" if _is_unspaced(words[-1][-1]) else r"(?![\w+#])"
    return before + body + after


def _word(word: str) -> str:
    return re.escape(word) if word.startswith(_CAPITALS) else f"{_CAPITALS}?{re.escape(word)}"


def _is_unspaced(character: str) -> bool:
    """Whether a character is of a script that writes no spaces between words, or hangs particles on them."""
    return unicodedata.name(character, "").startswith(_UNSPACED_SCRIPTS)
