"""Verdict on a generated text: whether it names the new object, the old one, or neither.

The method follows paper 1 ("Is it Possible to Edit Large Language Models Robustly?", arXiv 2402.05827): it searches the
first sentence and discards what follows "instead of", "not" and the like. Unlike the released scoring, it searches only
the generated text and never the prompt. Names match as whole words, with their aliases (`text.matching`). A negation
reaches to the end of its clause, so that "not Paris but Lyon" names Lyon. Negations are recognised in English, Chinese,
Japanese and Korean.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from edit_robustness.models.sentences import first_sentence
from edit_robustness.text.matching import any_name, first_side, fold

Verdict = Literal["new", "old", "neither"]
_SIDES: tuple[Verdict, Verdict] = ("new", "old")

_CUT = "\ue001"
"""Mark that replaces a negated clause, so that the words around it cannot join to form a name."""

_NEGATION = (
    r"\b(?:instead of|rather than|other than|as opposed to|unlike|never|neither|nor|no longer|cannot|not(?! only\b)"
    r"|(?:is|was|are|were|do|does|did|has|have|had|ca|could|would|should|wo)n't)\b"
)
_CLAUSE_END = r",(?=\s|$)|[;:]|\bbut\b|\bit is\b|\bit's\b|$"
_ENGLISH = rf"{_NEGATION}.*?(?={_CLAUSE_END})"

_CHINESE = (
    r"(?<!是)(?:不(?:再|会|會|可能|应该?|應該?)?(?:是|叫|在|位于|位於|属于|屬於)(?!只)|(?:并|並|而|绝|絕)非)"
    r"[^,;:]*?(?=[,;:]|而[是在叫位属屬]|但|$)"
)
"""Chinese negation: from 不是 and the like to the end of the clause; not 是不是 (a question) or 不只是 ("not only")."""

_JAPANESE = (
    r"[^は,;:、。]*(?<!だけ)(?<!のみ)(?<!ばかり)"
    r"(?:(?:では|じゃ)(?:な(?!いか|いで|いだ)[いくか]|無[いく]|あり(?:ません(?!か)|え)|ございません)|でな[いく]|の代わり)"
)
"""Japanese negation: from the topic or clause to ではない and the like; not だけではなく ("not only")."""

_KOREAN = r"(?:(?<=[은는]\s)|(?<=[,;:])|^)(?:(?![은는]\s)[^,;:])*?(?<!만 )아(?:니[라고며지]|닌|닙|니다|니에|니었)"
"""Korean negation: from the topic or clause to 아니라 and the like; not 뿐만 아니라 ("not only")."""

_NEGATED = re.compile(_ENGLISH, re.DOTALL)
_NEGATED_ELSEWHERE = re.compile("|".join((_CHINESE, _JAPANESE, _KOREAN)), re.DOTALL)
_MAYBE_ELSEWHERE = re.compile("[不非아]|では|じゃ|でな|の代わり")
"""Characters of which any such negation contains one. This test saves the slow search in most texts."""


def verdict(text: str, new: Sequence[str], true: Sequence[str], *, besides: Sequence[str] = ()) -> Verdict:
    """Return which object the first sentence of a generated text names.

    Args:
        text: The generated text, without the prompt.
        new: The names of the new object.
        true: The names of the old object.
        besides: Other names that the text may contain, such as the subject's. A sentence does not end inside one, and
            a negation word inside one negates nothing.

    Returns:
        ``new``, ``old`` or ``neither``, as `verdict_of_sentence`.
    """
    return verdict_of_sentence(first_sentence(text, (*new, *true, *besides)), new, true, besides=besides)


def verdict_of_sentence(
    sentence: str, new: Sequence[str], true: Sequence[str], *, besides: Sequence[str] = (), taken_back: str = ""
) -> Verdict:
    """Return which object a sentence names.

    Args:
        sentence: The sentence.
        new: The names of the new object.
        true: The names of the old object.
        besides: Other names that the sentence may contain.
        taken_back: A regular expression, in lower case, of phrases that negate a name directly before them.

    Returns:
        ``new`` or ``old``: the object that is named first outside negations; ``neither`` if there is none. If names
        overlap, the longest counts: "New York" names New York and not York. If the objects are answers (Yes and No,
        True and False), "no" counts only as an answer: not in "no idea", and "not true" is neither.
    """
    names = (*new, *true)
    text = fold(sentence)
    if taken_back:
        text = _compile_denial(names, taken_back).sub("…", text)
    side = first_side(_drop_negated(text, (*names, *besides)), (tuple(new), tuple(true)))
    return "neither" if side is None else _SIDES[side]


def _drop_negated(sentence: str, names: tuple[str, ...]) -> str:
    """Remove negated clauses from a folded sentence; a name such as "Never Let Me Go" negates nothing."""
    text, place = "", 0
    while negation := _NEGATED.search(sentence, place):
        spans = (match.span() for match in re.finditer(any_name(names), sentence))
        name_end = next((end for start, end in spans if start <= negation.start() < end), 0)
        text += sentence[place:name_end] if name_end else sentence[place : negation.start()] + _CUT
        place = name_end or negation.end()
    sentence = text + sentence[place:]
    return _NEGATED_ELSEWHERE.sub(_CUT, sentence) if _MAYBE_ELSEWHERE.search(sentence) else sentence


@lru_cache(1 << 10)
def _compile_denial(names: tuple[str, ...], taken_back: str) -> re.Pattern[str]:
    """Compile a pattern that matches a name together with the words that take it back."""
    return re.compile(f"(?:{any_name(names)}){taken_back}")
