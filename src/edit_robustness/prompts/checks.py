"""Check wordings before they are used: they must name their subject, name no object, and be well formed.

Each check returns a reason. It begins with a short name of the problem, up to the first colon, so that refused texts
can be counted by problem.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from edit_robustness.prompts.grammar import is_question, words
from edit_robustness.prompts.names import first_named, names_any, new_names, plain, subject_names, true_names
from edit_robustness.prompts.relations import BLANK
from edit_robustness.records import SLOT, Fact, Turn

_ENGLISH = words(
    "the of is was and to it that with for by from this has have are were what which who where in on at as be been",
    "did does do when a an not would you how i he she they we his her their or but if so no can will there than about",
    "more one any only also all into out up after before because while would could should each other some most",
)
_ENOUGH_WORDS = 8
_ENGLISH_SHARE = 0.15
_SAME_SCRIPT = 0.8
_QUOTE_LENGTH = 40
_TURNS = 4

Check = Callable[[str, Fact], str]
"""Returns the problem of a text about a fact; empty if there is none."""


@dataclass(frozen=True)
class Part:
    """The rules for the texts of one part.

    Attributes:
        words: Minimum and maximum number of words.
        shape: The check of its form.
        names_new: Whether the text names the new object and asks for the subject. All other texts name the subject
            and no object.
    """

    words: tuple[int, int]
    shape: Check
    names_new: bool = False


def problem(part: str, text: str, fact: Fact, *, as_given: bool = False) -> str:
    """Return the problem of a text; empty if there is none.

    Args:
        part: A key of `PARTS`.
        text: The text.
        fact: The fact that it is about.
        as_given: Whether the text comes from a data set; its length and language are not checked then.
    """
    part_rules = PARTS[part]
    checks = [
        _is_filled,
        _names_who_is_asked_for if part_rules.names_new else _names_the_subject,
        _names_no_object(part),
    ]
    checks += [part_rules.shape] if as_given else [part_rules.shape, _length(part), _is_in_the_language_of_the_prompt]
    return next((reason for check in checks if (reason := check(text, fact))), "")


def read_turns(text: str) -> tuple[Turn, ...]:
    """Parse a dialogue of alternating lines ``User: ...`` and ``Assistant: ...``, beginning with the user.

    Raises:
        ValueError: If a line has another form, or the number of turns is wrong.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    turns = []
    for line, role in zip(lines, ("user", "assistant") * len(lines), strict=False):
        speaker, colon, utterance = line.partition(":")
        if not colon or speaker.strip().casefold() != role or not utterance.strip():
            opening = f"{role.capitalize()}:"
            raise ValueError(
                f"not a dialogue: a line must open with `{opening}` and go on, not {line[:_QUOTE_LENGTH]!r}"
            )
        turns.append(Turn("user" if role == "user" else "assistant", utterance.strip()))
    if len(turns) != _TURNS:
        raise ValueError(f"not a dialogue: it has {len(turns)} turns, not {_TURNS}")
    return tuple(turns)


def _is_filled(text: str, fact: Fact) -> str:
    if not text.strip():
        return "empty: there is no text"
    return "not filled: it holds {}" if SLOT in text and SLOT not in fact.subject else ""


def _names_the_subject(text: str, fact: Fact) -> str:
    has_subject = plain(fact.subject) in plain(text)
    return "" if has_subject else f"subject missing: {fact.subject[:_QUOTE_LENGTH]!r} is not in it"


def _names_who_is_asked_for(text: str, fact: Fact) -> str:
    if first_named(text, subject_names(fact), besides=new_names(fact)) is not None:
        return "names its answer: the subject is in it"
    return "" if names_any(text, [fact.target_new]) else "object missing: it asks about the new object"


def _names_no_object(part: str) -> Check:
    def check(text: str, fact: Fact) -> str:
        allowed_names = new_names(fact) if PARTS[part].names_new else ()
        objects = [*true_names(fact), *(() if allowed_names else new_names(fact))]
        object_name = first_named(text, objects, besides=[*subject_names(fact), *allowed_names])
        return f"names an object: {object_name!r}" if object_name else ""

    return check


def _length(part: str) -> Check:
    def check(text: str, fact: Fact) -> str:
        length, (minimum, maximum) = len(text.split()), PARTS[part].words
        return "" if minimum <= length <= maximum else f"length: {length} words, not {minimum} to {maximum}"

    return check


def _is_in_the_language_of_the_prompt(text: str, fact: Fact) -> str:
    prompt, body = fact.prompt.replace(SLOT, " "), plain(text).replace(plain(fact.subject), " ")
    [(script, _)] = Counter(_scripts(prompt)).most_common(1) or [("", 0)]
    script_counts = Counter(_scripts(body))
    if script and script_counts[script] < _SAME_SCRIPT * script_counts.total():
        return f"language: the prompt is written in {script.title()} letters, this is not"
    tokens = re.findall(r"[^\W\d_]+", body)
    n_english = sum(word in _ENGLISH for word in tokens)
    prompt_is_english = bool(_ENGLISH & set(prompt.casefold().split()))
    if prompt_is_english and len(tokens) >= _ENOUGH_WORDS and n_english < _ENGLISH_SHARE * len(tokens):
        return "language: the prompt is English, this is not"
    return ""


def _scripts(text: str) -> list[str]:
    names = [unicodedata.name(letter, "?").split()[0] for letter in text if letter.isalpha()]
    return ["CJK" if name in ("HIRAGANA", "KATAKANA") else name for name in names]


def _leaves_the_end_open(text: str, fact: Fact) -> str:
    has_closed_end = text.rstrip().endswith((".", "!", "?", ";", BLANK)) and not text.rstrip().endswith(fact.subject)
    if is_question(fact.prompt) and is_question(text):
        return ""
    return "closed end: it must end where the object comes" if has_closed_end else ""


def _asks(text: str, fact: Fact) -> str:
    return "" if is_question(text) else "no question: it must end with a question mark"


def _has_one_blank(text: str, fact: Fact) -> str:
    blanks = re.findall("__+", text)
    return "" if blanks == [BLANK] else f"blanks: it must hold {BLANK} once, it has {len(blanks)} blanks"


def _is_prose(text: str, fact: Fact) -> str:
    return "" if text.rstrip().endswith((".", "!", "?", "”", '"')) else "no sentence: it breaks off at its end"


def _is_dialogue(text: str, fact: Fact) -> str:
    try:
        read_turns(text)
    except ValueError as error:
        return str(error)
    return ""


PARTS: dict[str, Part] = {
    "paraphrase": Part((2, 70), _leaves_the_end_open),
    "question": Part((3, 70), _asks),
    "cloze": Part((3, 70), _has_one_blank),
    "profile": Part((15, 600), _is_prose),
    "dialogue": Part((15, 400), _is_dialogue),
    "reversed_question": Part((3, 70), _asks, names_new=True),
}
"""The parts by name, in the order of the table of wordings."""
