"""Object of a free generation when the true object is unknown."""

from __future__ import annotations

import re

from edit_robustness.models.sentences import FULL_WIDTH_ENDS, first_sentence
from edit_robustness.prompts.names import names_any

MOST_WORDS = 5
"""Most words of an object's name. A longer phrase is a description or a sentence."""

_IS = re.compile(r"\b(?:is|was|are|were)\b", re.IGNORECASE)
_STANDS_FOR_SUBJECT = re.compile(r"(?:it|he|she|they|this|that|the answer)\s*", re.IGNORECASE)
_CLAUSE_END = re.compile(
    r",\s|[;:()\[\]]|\s[-–—]+\s|\s(?:and|which|who|where|whose|but|because)\s|\s(?:in|on|since|until|from)\s(?=\d)",
    re.IGNORECASE,
)
_ADDITION = re.compile(r"\s(?:to|in|on|at|for|with|as|by|from|after|during)\s")
_OPENING = re.compile(r"^(?:(?:the|an?|called|named|known as)\s+)+", re.IGNORECASE)
_DESCRIPTION = re.compile(r"an?\s", re.IGNORECASE)
_NO_NAME = re.compile(r"(?:i|we|you|not|no|none|unknown|unclear|uncertain)\b", re.IGNORECASE)
_AROUND = f" \t\"'“”‘’«».,!?*_`{FULL_WIDTH_ENDS}"


def stated_object(text: str, subject: str) -> str:
    """Return the object that a free generation names; empty if it names none.

    The object is the first clause of the first sentence, without articles, quotation marks and punctuation. A long
    clause ends at its first preposition ("Google to help users"). If the answer is a whole sentence ("The capital of
    France is Paris"), the object is the side of the verb that does not name the subject.

    Args:
        text: The generated text, without the prompt.
        subject: The subject of the prompt.
    """
    phrase = _cut_at_verb(first_sentence(text, [subject]).strip(), subject)
    clause = _CLAUSE_END.split(f"{phrase} ")[0].strip(_AROUND)
    if len(clause.split()) > MOST_WORDS and not _DESCRIPTION.match(clause):
        clause = _ADDITION.split(clause)[0]
    name = _OPENING.sub("", clause).strip(_AROUND)
    usable = len(name.split()) <= MOST_WORDS and any(map(str.isalnum, name))
    if not usable or _NO_NAME.match(name) or names_any(name, [subject]):
        return ""
    return name


def _cut_at_verb(sentence: str, subject: str) -> str:
    """Return the side of the verb that does not name the subject, or the whole sentence."""
    if not (verb := _IS.search(sentence)):
        return sentence
    before, after = sentence[: verb.start()], sentence[verb.end() :]
    if names_any(before, [subject]) or _STANDS_FOR_SUBJECT.fullmatch(before):
        return after
    return before if names_any(after, [subject]) else sentence
