"""The kinds of prompt that an edit is probed with, each with what it tests and what counts as holding.

Adding a kind is one function and one entry in `KINDS`. A kind that lacks what it needs (a relation without
templates, a passage, a neighbour) builds no probe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from edit_robustness.prompts.names import names_any, new_names, true_names
from edit_robustness.records import Fact, Probe, Relation, Turn, fill


@dataclass(frozen=True)
class Setting:
    """What a kind may draw on besides the fact and its relation.

    Attributes:
        passages: Texts about nothing in particular.
        neighbours: Facts that the edit should leave alone, the closest first.
        rng: Seeded by seed, fact and kind, so that adding a fact or a kind changes no other probe.
    """

    passages: tuple[str, ...]
    neighbours: tuple[Fact, ...]
    rng: Random


@dataclass(frozen=True)
class Kind:
    """One kind of prompt.

    Attributes:
        name: What it is called in settings, tables and figures.
        family: Whether it asks for the edit or for what must stay.
        tests: What it tests, in one line.
        holds: What counts as holding.
        build: The probes of one fact; none where its data do not allow the kind.
        follows: The kind whose answer it comes after.
    """

    name: str
    family: str
    tests: str
    holds: str
    build: Callable[[Fact, Relation | None, Setting], list[Probe]]
    follows: str | None = None


def probe_id(fact: Fact, kind: str, number: int = 0) -> str:
    """``<fact id>/<kind>/<number>``, counted from 0."""
    return f"{fact.id}/{kind}/{number}"


def _of_edit(fact: Fact, kind: str, text: str, number: int = 0, **more: Any) -> Probe:
    """A probe that asks for the edited fact itself."""
    return Probe(
        id=probe_id(fact, kind, number),
        fact_id=fact.id,
        kind=kind,
        family="edit",
        subject=fact.subject,
        text=text,
        target_new=fact.target_new,
        target_true=fact.target_true,
        target_new_aliases=fact.target_new_aliases,
        target_true_aliases=fact.target_true_aliases,
        **more,
    )


def _statement(fact: Fact, relation: Relation | None, setting: Setting) -> list[Probe]:
    return [_of_edit(fact, "statement", fact.statement)]


def _paraphrases(fact: Fact, relation: Relation | None, setting: Setting) -> list[Probe]:
    if relation is None:
        return []
    filled = [fill(paraphrase, fact.subject) for paraphrase in relation.paraphrases]
    return [_of_edit(fact, "paraphrase", text, number) for number, text in enumerate(filled)]


def _question(fact: Fact, relation: Relation | None, setting: Setting) -> list[Probe]:
    if relation is None:
        return []
    return [_of_edit(fact, "question", fill(relation.question, fact.subject), conversation=True)]


def _cloze(fact: Fact, relation: Relation | None, setting: Setting) -> list[Probe]:
    if relation is None:
        return []
    cloze = fill(relation.cloze, fact.subject)
    text = f'Fill in the blank with one word or name, and answer with it only: "{cloze}"'
    return [_of_edit(fact, "cloze", text, conversation=True)]


def _related_context(fact: Fact, relation: Relation | None, setting: Setting) -> list[Probe]:
    if relation is None:
        return []
    return [_of_edit(fact, "related_context", f"{fill(relation.context, fact.subject)} {fact.statement}")]


def _unrelated_context(fact: Fact, relation: Relation | None, setting: Setting) -> list[Probe]:
    named = (fact.subject, *true_names(fact), *new_names(fact))
    passages = [passage for passage in setting.passages if not names_any(passage, named)]
    if not passages:
        return []
    return [_of_edit(fact, "unrelated_context", f"{setting.rng.choice(passages)} {fact.statement}")]


def _dialogue(fact: Fact, relation: Relation | None, setting: Setting) -> list[Probe]:
    if relation is None:
        return []
    history = (
        Turn("user", f"Hello! I am putting together a short quiz, and one round is about {fact.subject}."),
        Turn("assistant", "That sounds like fun. What would you like to know for it?"),
    )
    question = fill(relation.question, fact.subject)
    return [_of_edit(fact, "dialogue", question, conversation=True, history=history)]


def _doubt(fact: Fact, relation: Relation | None, setting: Setting) -> list[Probe]:
    return _after_question(fact, relation, "doubt", "That cannot be right. Please think again and answer once more.")


def _doubt_old_object(fact: Fact, relation: Relation | None, setting: Setting) -> list[Probe]:
    insists = (
        f"That is wrong, I am sure that the answer is {fact.target_true}. Please think again and answer once more."
    )
    return _after_question(fact, relation, "doubt_old_object", insists)


def _after_question(fact: Fact, relation: Relation | None, kind: str, text: str) -> list[Probe]:
    """What the user says after the model's own answer to the question."""
    if relation is None:
        return []
    history = (Turn("user", fill(relation.question, fact.subject)),)
    follows = probe_id(fact, "question")
    return [_of_edit(fact, kind, text, conversation=True, history=history, follows=follows)]


def _locality(fact: Fact, relation: Relation | None, setting: Setting) -> list[Probe]:
    return [_of_neighbour(fact, other, number) for number, other in enumerate(setting.neighbours)]


def _of_neighbour(fact: Fact, neighbour: Fact, number: int) -> Probe:
    return Probe(
        id=probe_id(fact, "locality", number),
        fact_id=fact.id,
        kind="locality",
        family="locality",
        subject=neighbour.subject,
        text=neighbour.statement,
        target_new=fact.target_new,
        target_true=neighbour.target_true,
        target_new_aliases=fact.target_new_aliases,
        target_true_aliases=neighbour.target_true_aliases,
    )


_NEW = "the first sentence names the new object"
_KEPT = "the first sentence still names the new object"

_IN_ORDER = (
    Kind("statement", "edit", "the very words that the edit was made on", _NEW, _statement),
    Kind("paraphrase", "edit", "the same statement in other words", _NEW, _paraphrases),
    Kind("question", "edit", "a question put to the model in conversation", _NEW, _question),
    Kind("cloze", "edit", "a sentence with a blank to fill in, in conversation", _NEW, _cloze),
    Kind("related_context", "edit", "the statement after sentences about the subject", _NEW, _related_context),
    Kind("unrelated_context", "edit", "the statement after a passage about something else", _NEW, _unrelated_context),
    Kind("dialogue", "edit", "the question in the second turn of a conversation", _NEW, _dialogue),
    Kind("doubt", "edit", "the user doubts the model's own first answer", _KEPT, _doubt, follows="question"),
    Kind(
        "doubt_old_object", "edit", "the user insists on the old object", _KEPT, _doubt_old_object, follows="question"
    ),
    Kind("locality", "locality", "facts about close subjects that no edit was made on", "same as unedited", _locality),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _IN_ORDER}
"""Every kind by name, in the order in which probes are built and reported."""
