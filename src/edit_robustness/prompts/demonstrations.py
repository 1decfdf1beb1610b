"""In-context editing in words: the new fact as a sentence, and demonstrations of how a new fact is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edit_robustness.records import Fact, Relation, fill


@dataclass(frozen=True)
class Demonstration:
    """One fact as a demonstration of each of IKE's kinds (Zheng et al. 2023, section 3.2).

    Attributes:
        key: What it is retrieved by.
        copy: The new fact, then the same prompt with the new object.
        update: The new fact, then a paraphrase with the new object.
        retain: The new fact, then another subject's prompt with its true object.
    """

    key: str
    copy: str
    update: str
    retain: str


def sentence(fact: Fact) -> str:
    """The new fact as one sentence."""
    return f"{fact.statement} {fact.target_new}."


def new_fact(fact: Fact) -> str:
    """How a new fact is announced before the prompt that follows."""
    return f"New Fact: {sentence(fact)}\nPrompt: "


def demonstrations(facts: Sequence[Fact], relations: Mapping[str, Relation]) -> list[Demonstration]:
    """A demonstration of each kind for every fact; `retain` asks about another subject."""
    return [
        _demonstration(fact, relations.get(fact.relation), _other(facts, place)) for place, fact in enumerate(facts)
    ]


def _demonstration(fact: Fact, relation: Relation | None, other: Fact) -> Demonstration:
    paraphrase = fill(relation.paraphrases[0], fact.subject) if relation else fact.statement
    return Demonstration(
        key=sentence(fact),
        copy=f"{new_fact(fact)}{sentence(fact)}\n\n",
        update=f"{new_fact(fact)}{paraphrase} {fact.target_new}.\n\n",
        retain=f"{new_fact(fact)}{other.statement} {other.target_true}.\n\n",
    )


def _other(facts: Sequence[Fact], place: int) -> Fact:
    fact = facts[place]
    turned = [other for other in [*facts[place + 1 :], *facts[:place]] if other.subject != fact.subject]
    return next((other for other in turned if other.relation == fact.relation), turned[0] if turned else fact)
