"""In-context editing in words: the new fact as a sentence, and demonstrations of how a new fact is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edit_robustness.records import Fact, Relation, fill
from edit_robustness.text.joining import joined


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
    return f"{joined(fact.statement, fact.target_new, fact.join)}."


def new_fact(fact: Fact) -> str:
    """How a new fact is announced before the prompt that follows."""
    return f"New Fact: {sentence(fact)}\nPrompt: "


def demonstrations(facts: Sequence[Fact], relations: Mapping[str, Relation]) -> list[Demonstration]:
    """A demonstration of each kind for every fact; `retain` asks about another subject, same relation first.

    The wording goes round from fact to fact, so that it does not tell which kind a demonstration is of.
    """
    made = []
    for place, fact in enumerate(facts):
        other = _other(facts, place)
        statement, *paraphrases = _wordings(fact, relations)
        again = paraphrases[place % len(paraphrases)] if paraphrases else statement
        others = _wordings(other, relations)
        made.append(
            Demonstration(
                key=sentence(fact),
                copy=f"{new_fact(fact)}{joined(statement, fact.target_new, fact.join)}.\n\n",
                update=f"{new_fact(fact)}{joined(again, fact.target_new, fact.join)}.\n\n",
                retain=f"{new_fact(fact)}{joined(others[place % len(others)], other.target_true, other.join)}.\n\n",
            )
        )
    return made


def _wordings(fact: Fact, relations: Mapping[str, Relation]) -> list[str]:
    relation = relations.get(fact.relation)
    return [fact.statement, *(fill(text, fact.subject) for text in (relation.paraphrases if relation else ()))]


def _other(facts: Sequence[Fact], place: int) -> Fact:
    fact = facts[place]
    turned = [other for other in [*facts[place + 1 :], *facts[:place]] if other.subject != fact.subject]
    return next((other for other in turned if other.relation == fact.relation), turned[0] if turned else fact)
