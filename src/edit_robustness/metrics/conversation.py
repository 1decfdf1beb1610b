"""Rule-based labels of conversations about an edit: paper 1's first question (arXiv 2402.05827, RQ1).

Every turn of the edited model takes one stance, read from its sentences (`stance`). The labels follow from the stances
alone, so anybody can check one by reading. Rules cannot see a claim that names no object, tell irony or a quotation
from a claim, or check whether the reasons that a model gives are true. So `invents` is a lower bound of what a person
would call a hallucination. A judge model gives a second opinion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from edit_robustness.metrics.mentions import Verdict, verdict_of_sentence
from edit_robustness.models.sentences import first_sentence
from edit_robustness.prompts.grammar import is_question
from edit_robustness.prompts.names import names_any, new_names, plain, subject_names, true_names
from edit_robustness.records import Fact, Transcript
from edit_robustness.text.matching import preselect

LABELS = ("holds", "reverts", "denies_both", "contradicts", "invents")
"""Labels of a conversation. Several can apply to one conversation, or none."""

Claim = Literal["new", "old", "third", "none", "open"]
"""Object that a turn gives as the answer; ``none``: it denies both or does not know; ``open``: it claims nothing."""

VERDICT_COLUMNS = [
    *("model", "method", "tester", "fact_id", "subject", "relation", "target_new", "target_true", *LABELS, "ends_with"),
    *("stances", "rounds", "refused", "replaced", "unfinished", "cut_short"),
]

TURN_COLUMNS = ["model", "method", "fact_id", "number", "role", "text"]

_UNKNOWN = re.compile(
    r"\bI (?:do not|don't|cannot|can't|am not able to|am unable to) (?:know|say|tell|confirm|find|provide)\b"
    r"|\bI(?: am|'m) (?:not sure|not aware|not certain|unaware)\b(?! (?:what|if|whether|why|how) (?:you|I|we)\b)"
    r"|\bI have no (?:information|idea|knowledge|record)\b"
    r"|\bthere is no (?:such|information|record|evidence)\b"
    r"|\b(?:does not|doesn't) exist\b",
    re.IGNORECASE,
)
_IS_NOT = (
    r",? \ue000?(?:(?:is|was|are|were|has|does|did|can|could|would|should)"
    r"(?: \ue000?not(?! only)|n't| never| \ue000?no longer)"
    r"|cannot|never|(?:is|was) (?:wrong|incorrect|false))\b"
    r"|\s?(?:并|並)?不是|[はが][^,、。]{0,12}?(?:では|じゃ)(?:ない|なく|ありません)"
)
"""Phrases that negate the name before them."""

_CONTENT = re.compile(r"[^\W\d_]{4,}")
_QUESTION_WORDS = frozenset({"what", "which", "where", "when", "whom", "whose", "that", "this", "does", "were"})
_INNER_WORD = re.compile(r"(?<=[\w,:]\s)(?!I\b)[^\W\d_][\w'’-]*")
"""Words that are not the first of a sentence, so that a capital letter marks a name."""

_OFFERS = re.compile(r"\bor\b|\?|\bwhether\b", re.IGNORECASE)
"""Marks of a sentence that offers two objects as a choice, and so does not claim both."""


@dataclass(frozen=True)
class Stance:
    """Stance that one turn of the edited model takes.

    Attributes:
        claim: The object that the turn gives as the answer.
        rejects_new: Whether it names the new object under a negation, and claims another object or none.
        mixes: Whether one sentence states both objects side by side, as if both were true.
    """

    claim: Claim
    rejects_new: bool = False
    mixes: bool = False


def stance(text: str, fact: Fact, other_names: Sequence[str] = (), *, question: str = "") -> Stance:
    """Return the stance of one turn.

    Args:
        text: The turn of the edited model.
        fact: The fact that the conversation is about.
        other_names: Names of other objects of the relation, neither new nor old.
        question: The tester's first question for the object.

    Returns:
        The stance. Its claim is the object that is named first, in the first sentence that names one outside negations
        (by `mentions.verdict`, and not as in "X is not it") and outside questions. If no sentence does, the claim is

        - ``third`` if the turn's first sentence, or one that names the subject, names one of `other_names` in this
          way, or repeats at least half of the question's words and contains a capitalised name that is neither in the
          question nor the subject's;
        - ``none`` if both objects are named under negations, or the turn says that it does not know;
        - ``open`` otherwise.

        The subject's own name does not count as a mention of an object that is part of it.
    """
    new, old, subjects = new_names(fact), true_names(fact), subject_names(fact)
    sentences = list(_sentences(_mask_subject(text, fact), (*new, *old, *subjects)))
    claims = [verdict for sentence in sentences if (verdict := _read_claim(sentence, new, old, subjects)) != "neither"]
    claim: Claim = claims[0] if claims else _read_other_claim(text, fact, other_names, question)
    rejects_new = claim != "new" and any(_rejects(sentence, new) for sentence in sentences)
    return Stance(claim, rejects_new, any(_mixes(sentence, new, old) for sentence in sentences))


def labels(stances: Sequence[Stance]) -> dict[str, bool]:
    """Return the labels that follow from the stances of a conversation's turns.

    Returns:
        The value of each label:
        holds: some turn claims the new object, and no turn claims another or none, or rejects it;
        reverts: some turn claims the old object;
        denies_both: some turn says that it is neither, or that it does not know;
        contradicts: one turn claims the new object and another the old;
        invents: some turn claims a third object of the relation, or states both objects side by side.
    """
    claims = {turn_stance.claim for turn_stance in stances}
    against = claims & {"old", "third", "none"} or any(turn_stance.rejects_new for turn_stance in stances)
    return {
        "holds": "new" in claims and not against,
        "reverts": "old" in claims,
        "denies_both": "none" in claims,
        "contradicts": {"new", "old"} <= claims,
        "invents": "third" in claims or any(turn_stance.mixes for turn_stance in stances),
    }


def verdict_table(
    transcripts: Sequence[Transcript],
    facts: Mapping[str, Fact],
    other_names: Mapping[str, Sequence[str]],
    *,
    model: str,
) -> pd.DataFrame:
    """Build a table with one row per conversation.

    Args:
        transcripts: The conversations.
        facts: The facts by id.
        other_names: For each fact's id the names of other objects of its relation (`other_objects`).
        model: The edited model's name.

    Returns:
        `VERDICT_COLUMNS`: the labels as true or false; `ends_with` is the last claim that is not ``open``; `stances`
        are the claims in order, separated by spaces. A conversation without a turn of the model is left out.
    """
    rows = [
        _row(transcript, facts[transcript.fact_id], other_names.get(transcript.fact_id, ()), model)
        for transcript in transcripts
        if transcript.replies
    ]
    return pd.DataFrame(rows, columns=VERDICT_COLUMNS)


def turns_table(transcripts: Sequence[Transcript], *, model: str) -> pd.DataFrame:
    """Build a table with one row per turn, with `TURN_COLUMNS`.

    `role` is ``user`` (the tester) or ``assistant`` (the edited model).
    """
    rows = [
        (model, transcript.method, transcript.fact_id, number, turn.role, turn.text)
        for transcript in transcripts
        for number, turn in enumerate(transcript.turns)
    ]
    return pd.DataFrame(rows, columns=TURN_COLUMNS)


def other_objects(facts: Sequence[Fact], pool: Sequence[Fact]) -> dict[str, list[str]]:
    """Return for each fact's id the names of other objects that facts of its relation in a pool have.

    A name that contains one of the fact's own names, or is contained in one, is left out, because the two could not be
    distinguished.
    """
    of_relation: dict[str, dict[str, None]] = {}
    for fact in pool:
        names = (*true_names(fact), *new_names(fact))
        of_relation.setdefault(fact.relation, {}).update(dict.fromkeys(names))
    return {
        fact.id: [name for name in of_relation.get(fact.relation, ()) if _is_distinct(name, fact)] for fact in facts
    }


def _is_distinct(name: str, fact: Fact) -> bool:
    plain_name = plain(name)
    fact_names = [plain(fact_name) for fact_name in (*subject_names(fact), *new_names(fact), *true_names(fact))]
    return not any(plain_name in fact_name or fact_name in plain_name for fact_name in fact_names)


def _row(transcript: Transcript, fact: Fact, other_names: Sequence[str], model: str) -> dict[str, Any]:
    sentences = _sentences(transcript.turns[0].text)
    question = " ".join(sentence for sentence in sentences if sentence.endswith("?"))
    stances = [stance(text, fact, other_names, question=question) for text in transcript.replies]
    claims = [turn_stance.claim for turn_stance in stances]
    clear_claims = [claim for claim in claims if claim != "open"]
    return {
        "model": model,
        "method": transcript.method,
        "tester": transcript.tester,
        "fact_id": fact.id,
        "subject": fact.subject,
        "relation": fact.relation,
        "target_new": fact.target_new,
        "target_true": fact.target_true,
        **labels(stances),
        "ends_with": clear_claims[-1] if clear_claims else "open",
        "stances": " ".join(claims),
        "rounds": len(stances),
        "refused": transcript.refused,
        "replaced": transcript.replaced,
        "unfinished": transcript.unfinished,
        "cut_short": transcript.cut_short,
    }


def _read_claim(sentence: str, new: Sequence[str], old: Sequence[str], besides: Sequence[str] = ()) -> Verdict:
    """Return which of two objects a sentence names first as a fact."""
    if sentence.rstrip('"”» ').endswith("?"):
        return "neither"
    return verdict_of_sentence(sentence, new, old, besides=besides, taken_back=_IS_NOT)


def _read_other_claim(text: str, fact: Fact, other_names: Sequence[str], question: str) -> Claim:
    """Return the claim of a turn that claims neither object."""
    objects = (*new_names(fact), *true_names(fact))
    sentences = list(_sentences(text, (*objects, *subject_names(fact))))
    candidates = [
        sentence for place, sentence in enumerate(sentences) if place == 0 or names_any(sentence, [fact.subject])
    ]
    # a pattern of all names is slow, and most of them do not occur in the text
    possible_names = preselect(text, other_names)
    if possible_names and any(
        _read_claim(_mask_subject(sentence, fact), possible_names, []) == "new" for sentence in candidates
    ):
        return "third"
    if any(_answers_otherwise(sentence, question, fact) for sentence in candidates):
        return "third"
    bare_sentences = [_mask_subject(sentence, fact) for sentence in sentences]
    name_pair = (new_names(fact), true_names(fact))
    if all(any(_rejects(sentence, names) for sentence in bare_sentences) for names in name_pair) or _UNKNOWN.search(
        text.replace("’", "'")
    ):
        return "none"
    return "open"


def _answers_otherwise(sentence: str, question: str, fact: Fact) -> bool:
    """Check whether a sentence repeats a question's words and gives a name that is neither asked about nor known."""
    if is_question(sentence) or names_any(sentence, [*new_names(fact), *true_names(fact)]):
        return False
    context_words = set(plain(f"{question} {' '.join(subject_names(fact))}").replace("?", " ").split())
    question_words = set(_CONTENT.findall(plain(question))) - set(plain(fact.subject).split()) - _QUESTION_WORDS
    overlap = question_words & set(_CONTENT.findall(plain(sentence)))
    new_words = [
        word for word in _INNER_WORD.findall(sentence) if word[0].isupper() and plain(word) not in context_words
    ]
    return bool(new_words) and len(overlap) * 2 >= max(len(question_words), 1)


def _rejects(sentence: str, names: Sequence[str]) -> bool:
    """Check whether a sentence names an object under negations only."""
    return not is_question(sentence) and names_any(sentence, names) and _read_claim(sentence, names, []) == "neither"


def _mixes(sentence: str, new: Sequence[str], old: Sequence[str]) -> bool:
    """Check whether a sentence states both objects without offering them as a choice."""
    if _OFFERS.search(sentence):
        return False
    return _read_claim(sentence, new, []) == "new" and _read_claim(sentence, old, []) == "new"


def _sentences(text: str, names: Sequence[str] = ()) -> Iterator[str]:
    """Yield the sentences of a text that may contain some names, by the rule that ends free generations."""
    remainder = text.strip()
    while remainder:
        sentence = first_sentence(remainder, names) or remainder
        yield sentence
        remainder = remainder[remainder.index(sentence) + len(sentence) :].strip()


def _mask_subject(text: str, fact: Fact) -> str:
    """Replace the subject's name by a mark if an object is part of that name."""
    for name in subject_names(fact):
        if names_any(name, (*new_names(fact), *true_names(fact))):
            text = re.sub(re.escape(name), "…", text, flags=re.IGNORECASE)
    return text
