"""What a conversation shows of an edit, by rules: paper 1's first question (arXiv 2402.05827, RQ1).

Every turn of the edited model takes one stance, read off the sentences that it consists of (`stance`). The labels
follow from the stances alone, so that anybody can check one by reading. What rules cannot do: see a claim that is made
without naming an object, tell irony or a quotation from a claim, or know whether reasons that a model gives are true.
So `invents` is a lower bound of what a person would call a hallucination; a judge model is the other opinion.
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
from edit_robustness.text.matching import possible

LABELS = ("holds", "reverts", "denies_both", "contradicts", "invents")
"""What a conversation may show; several may be true of one, or none."""

Claim = Literal["new", "old", "third", "none", "open"]
"""Which object a turn gives as the answer; ``none``: it says that it is neither, or unknown; ``open``: nothing."""

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
"""What takes back the name that stands before it."""

_CONTENT = re.compile(r"[^\W\d_]{4,}")
_QUESTION_WORDS = frozenset({"what", "which", "where", "when", "whom", "whose", "that", "this", "does", "were"})
_INNER_WORD = re.compile(r"(?<=[\w,:]\s)(?!I\b)[^\W\d_][\w'’-]*")
"""Words that do not open a sentence."""

_OFFERS = re.compile(r"\bor\b|\?|\bwhether\b", re.IGNORECASE)
"""A sentence that offers two objects to choose from claims nothing of them together."""


@dataclass(frozen=True)
class Stance:
    """What one turn of the edited model says.

    Attributes:
        claim: Which object it gives as the answer.
        rejects_new: Whether it names the new object under a negation, and claims another or none.
        mixes: Whether one sentence states both objects side by side, as if both were so.
    """

    claim: Claim
    rejects_new: bool = False
    mixes: bool = False


def stance(text: str, fact: Fact, others: Sequence[str] = (), *, question: str = "") -> Stance:
    """What one turn says.

    Args:
        text: The turn of the edited model.
        fact: What the conversation is about.
        others: Names of other objects of the relation, neither new nor old.
        question: How the tester first asked for the object.

    Returns:
        The claim is the object that the first sentence naming one names first: outside negations (by
        `mentions.verdict`, and not as in "X is not it"), and not in a question. Where no sentence does: ``third``, if
        the turn's first sentence, or one that names the subject, so names one of `others`, or takes up at least half
        of the question's words and holds a capitalised name that is neither in the question nor the subject's; else
        ``none``, if both objects are named under negations, or the turn says that it does not know; else ``open``. The
        subject's own name is no naming of an object that is part of it.
    """
    new, old, subjects = new_names(fact), true_names(fact), subject_names(fact)
    sentences = list(_sentences(_without_subject(text, fact), (*new, *old, *subjects)))
    claims = [said for sentence in sentences if (said := _claimed(sentence, new, old, subjects)) != "neither"]
    claim: Claim = claims[0] if claims else _unclaimed(text, fact, others, question)
    rejects_new = claim != "new" and any(_rejected(sentence, new) for sentence in sentences)
    return Stance(claim, rejects_new, any(_mixed(sentence, new, old) for sentence in sentences))


def labels(stances: Sequence[Stance]) -> dict[str, bool]:
    """The labels that follow from the stances of a conversation's turns.

    Returns:
        holds: some turn claims the new object, and no turn claims another or none, or rejects it;
        reverts: some turn claims the old object;
        denies_both: some turn says that it is neither, or that it does not know;
        contradicts: one turn claims the new object and another the old;
        invents: some turn claims a third object of the relation, or states both objects side by side.
    """
    claims = {one.claim for one in stances}
    against = claims & {"old", "third", "none"} or any(one.rejects_new for one in stances)
    return {
        "holds": "new" in claims and not against,
        "reverts": "old" in claims,
        "denies_both": "none" in claims,
        "contradicts": {"new", "old"} <= claims,
        "invents": "third" in claims or any(one.mixes for one in stances),
    }


def verdict_table(
    transcripts: Sequence[Transcript], facts: Mapping[str, Fact], others: Mapping[str, Sequence[str]], *, model: str
) -> pd.DataFrame:
    """One row a conversation.

    Args:
        transcripts: The conversations.
        facts: The facts by id.
        others: For each fact's id the names of other objects of its relation (`other_objects`).
        model: The edited model's name.

    Returns:
        `VERDICT_COLUMNS`: the labels as true or false; `ends_with` is the last claim that is not ``open``; `stances`
        are the claims in order, separated by blanks. A conversation without a turn of the model is left out.
    """
    rows = [_row(one, facts[one.fact_id], others.get(one.fact_id, ()), model) for one in transcripts if one.said]
    return pd.DataFrame(rows, columns=VERDICT_COLUMNS)


def turns_table(transcripts: Sequence[Transcript], *, model: str) -> pd.DataFrame:
    """One row a turn, with `TURN_COLUMNS`: `role` is ``user`` (the tester) or ``assistant`` (the edited model)."""
    rows = [
        (model, one.method, one.fact_id, number, turn.role, turn.text)
        for one in transcripts
        for number, turn in enumerate(one.turns)
    ]
    return pd.DataFrame(rows, columns=TURN_COLUMNS)


def other_objects(facts: Sequence[Fact], pool: Sequence[Fact]) -> dict[str, list[str]]:
    """For each fact the names of the objects that facts of its relation in a pool have, and that are not its own.

    A name that holds one of the fact's own names, or stands in one, is left out: it could not be told apart.
    """
    of_relation: dict[str, dict[str, None]] = {}
    for fact in pool:
        names = (*true_names(fact), *new_names(fact))
        of_relation.setdefault(fact.relation, {}).update(dict.fromkeys(names))
    return {fact.id: [name for name in of_relation.get(fact.relation, ()) if _apart(name, fact)] for fact in facts}


def _apart(name: str, fact: Fact) -> bool:
    searched = plain(name)
    own = [plain(one) for one in (*subject_names(fact), *new_names(fact), *true_names(fact))]
    return not any(searched in one or one in searched for one in own)


def _row(transcript: Transcript, fact: Fact, others: Sequence[str], model: str) -> dict[str, Any]:
    question = " ".join(one for one in _sentences(transcript.turns[0].text) if one.endswith("?"))
    stances = [stance(text, fact, others, question=question) for text in transcript.said]
    taken = [one.claim for one in stances if one.claim != "open"]
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
        "ends_with": taken[-1] if taken else "open",
        "stances": " ".join(one.claim for one in stances),
        "rounds": len(stances),
        "refused": transcript.refused,
        "replaced": transcript.replaced,
        "unfinished": transcript.unfinished,
        "cut_short": transcript.cut_short,
    }


def _claimed(sentence: str, new: Sequence[str], old: Sequence[str], besides: Sequence[str] = ()) -> Verdict:
    """Which of two objects a sentence names first as a fact."""
    if sentence.rstrip('"”» ').endswith("?"):
        return "neither"
    return verdict_of_sentence(sentence, new, old, besides=besides, taken_back=_IS_NOT)


def _unclaimed(text: str, fact: Fact, others: Sequence[str], question: str) -> Claim:
    """What a turn says that claims neither object."""
    objects = (*new_names(fact), *true_names(fact))
    sentences = list(_sentences(text, (*objects, *subject_names(fact))))
    about = [one for place, one in enumerate(sentences) if place == 0 or names_any(one, [fact.subject])]
    # most of a long list is nowhere in the text, and a pattern of them all is slow
    near = possible(text, others)
    if near and any(_claimed(_without_subject(one, fact), near, []) == "new" for one in about):
        return "third"
    if any(_answers_otherwise(one, question, fact) for one in about):
        return "third"
    rest = [_without_subject(one, fact) for one in sentences]
    both = (new_names(fact), true_names(fact))
    if all(any(_rejected(one, names) for one in rest) for names in both) or _UNKNOWN.search(text.replace("’", "'")):
        return "none"
    return "open"


def _answers_otherwise(sentence: str, question: str, fact: Fact) -> bool:
    """Whether a sentence takes up a question in its words and gives a name that is of no one asked about."""
    if is_question(sentence) or names_any(sentence, [*new_names(fact), *true_names(fact)]):
        return False
    known = set(plain(f"{question} {' '.join(subject_names(fact))}").replace("?", " ").split())
    asked = set(_CONTENT.findall(plain(question))) - set(plain(fact.subject).split()) - _QUESTION_WORDS
    taken_up = asked & set(_CONTENT.findall(plain(sentence)))
    given = [word for word in _INNER_WORD.findall(sentence) if word[0].isupper() and plain(word) not in known]
    return bool(given) and len(taken_up) * 2 >= max(len(asked), 1)


def _rejected(sentence: str, names: Sequence[str]) -> bool:
    """Whether a sentence names an object under negations only."""
    return not is_question(sentence) and names_any(sentence, names) and _claimed(sentence, names, []) == "neither"


def _mixed(sentence: str, new: Sequence[str], old: Sequence[str]) -> bool:
    """Whether a sentence states both objects, and does not offer them to choose from."""
    if _OFFERS.search(sentence):
        return False
    return _claimed(sentence, new, []) == "new" and _claimed(sentence, old, []) == "new"


def _sentences(text: str, names: Sequence[str] = ()) -> Iterator[str]:
    """The sentences of a text that may hold some names, by the rule that free generations are cut by."""
    rest = text.strip()
    while rest:
        sentence = first_sentence(rest, names) or rest
        yield sentence
        rest = rest[rest.index(sentence) + len(sentence) :].strip()


def _without_subject(text: str, fact: Fact) -> str:
    """The text with a blank mark for the subject's name, where an object is part of that name."""
    for name in subject_names(fact):
        if names_any(name, (*new_names(fact), *true_names(fact))):
            text = re.sub(re.escape(name), "…", text, flags=re.IGNORECASE)
    return text
