"""Which object a generated text names: the new one, the old one, or neither.

After paper 1 ("Is it Possible to Edit Large Language Models Robustly?", arXiv 2402.05827): the first sentence is
searched, and what stands after "instead of", "not" and the like is discarded. Unlike its released scoring, only
the generated text is searched, never the prompt; names are matched as whole words, with their aliases
(`text.matching`); and a negation reaches to the end of its clause, so that "not Paris but Lyon" names Lyon. Negations
are known in English, Chinese, Japanese and Korean.
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
"""Stands where a negated clause was taken out, so that what stood around it does not grow together to a name."""

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
"""From 不是 and the like to the end of the clause; 是不是 asks, and 不只是 is "not only"."""

_JAPANESE = (
    r"[^は,;:、。]*(?<!だけ)(?<!のみ)(?<!ばかり)"
    r"(?:(?:では|じゃ)(?:な(?!いか|いで|いだ)[いくか]|無[いく]|あり(?:ません(?!か)|え)|ございません)|でな[いく]|の代わり)"
)
"""What stands before ではない and the like, back to the topic or the clause; だけではなく is "not only"."""

_KOREAN = r"(?:(?<=[은는]\s)|(?<=[,;:])|^)(?:(?![은는]\s)[^,;:])*?(?<!만 )아(?:니[라고며지]|닌|닙|니다|니에|니었)"
"""The same before 아니라 and the like; not 뿐만 아니라 ("not only")."""

_NEGATED = re.compile(_ENGLISH, re.DOTALL)
_NEGATED_ELSEWHERE = re.compile("|".join((_CHINESE, _JAPANESE, _KOREAN)), re.DOTALL)
_MAYBE_ELSEWHERE = re.compile("[不非아]|では|じゃ|でな|の代わり")
"""Without one of these no text holds such a negation: looking for them takes long."""


def verdict(text: str, new: Sequence[str], true: Sequence[str], *, besides: Sequence[str] = ()) -> Verdict:
    """Which object the first sentence of a generated text names.

    Args:
        text: What the model generated, the prompt not included.
        new: The names of the new object.
        true: The names of the old object.
        besides: Other names that it may hold, such as the subject's; no sentence ends inside one, and what sounds like
            a negation inside one negates nothing.

    Returns:
        See `verdict_of_sentence`.
    """
    return verdict_of_sentence(first_sentence(text, (*new, *true, *besides)), new, true, besides=besides)


def verdict_of_sentence(
    sentence: str, new: Sequence[str], true: Sequence[str], *, besides: Sequence[str] = (), taken_back: str = ""
) -> Verdict:
    """Which object a sentence names.

    Args:
        sentence: The sentence.
        new: The names of the new object.
        true: The names of the old object.
        besides: Other names that it may hold.
        taken_back: A regular expression of what takes back a name right before it, in small letters.

    Returns:
        ``new`` or ``old``: the object that is named first outside negations; ``neither`` if there is none. At one
        place the longest name counts: "New York" names New York and not York. Where the objects are answers (Yes and
        No, True and False), "no" counts as an answer only: not in "no idea", and "not true" is neither.
    """
    names = (*new, *true)
    said = fold(sentence)
    if taken_back:
        said = _denied(names, taken_back).sub("…", said)
    side = first_side(_affirmed(said, (*names, *besides)), (tuple(new), tuple(true)))
    return "neither" if side is None else _SIDES[side]


def _affirmed(said: str, names: tuple[str, ...]) -> str:
    """A folded sentence without what is negated in it; a name such as "Never Let Me Go" negates nothing."""
    kept, place = "", 0
    while negated := _NEGATED.search(said, place):
        spans = (named.span() for named in re.finditer(any_name(names), said))
        name_end = next((end for start, end in spans if start <= negated.start() < end), 0)
        kept += said[place:name_end] if name_end else said[place : negated.start()] + _CUT
        place = name_end or negated.end()
    said = kept + said[place:]
    return _NEGATED_ELSEWHERE.sub(_CUT, said) if _MAYBE_ELSEWHERE.search(said) else said


@lru_cache(1 << 10)
def _denied(names: tuple[str, ...], taken_back: str) -> re.Pattern[str]:
    return re.compile(f"(?:{any_name(names)}){taken_back}")
