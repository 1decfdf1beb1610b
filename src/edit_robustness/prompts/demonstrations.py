"""Texts for in-context editing: the new fact as a sentence, and demonstrations of how to use a new fact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edit_robustness.records import Fact, Relation, fill
from edit_robustness.text.joining import join_prompt


@dataclass(frozen=True)
class Demonstration:
    """One fact as a demonstration of each of IKE's kinds (Zheng et al. 2023, section 3.2).

    Attributes:
        key: The text by which it is retrieved.
        copy: The new fact, then the same prompt with the new object.
        update: The new fact, then a paraphrase with the new object.
        retain: The new fact, then another subject's prompt with its true object.
    """

    key: str
    copy: str
    update: str
    retain: str


def sentence(fact: Fact) -> str:
    """Return the new fact as one sentence."""
    return f"{join_prompt(fact.statement, fact.target_new, fact.join)}."


def new_fact(fact: Fact) -> str:
    """Return the text that announces a new fact before a prompt."""
    return f"New Fact: {sentence(fact)}\nPrompt: "


def demonstrations(facts: Sequence[Fact], relations: Mapping[str, Relation]) -> list[Demonstration]:
    """Build a demonstration of each kind for every fact.

    `retain` uses another subject, of the same relation if there is one. The wordings rotate from fact to fact, so
    that the wording does not reveal the kind of a demonstration.
    """
    examples = []
    for index, fact in enumerate(facts):
        other_fact = _other_fact(facts, index)
        statement, *paraphrases = _wordings(fact, relations)
        update_prompt = paraphrases[index % len(paraphrases)] if paraphrases else statement
        other_statements = _wordings(other_fact, relations)
        retain_prompt = other_statements[index % len(other_statements)]
        examples.append(
            Demonstration(
                key=sentence(fact),
                copy=f"{new_fact(fact)}{join_prompt(statement, fact.target_new, fact.join)}.\n\n",
                update=f"{new_fact(fact)}{join_prompt(update_prompt, fact.target_new, fact.join)}.\n\n",
                retain=f"{new_fact(fact)}{join_prompt(retain_prompt, other_fact.target_true, other_fact.join)}.\n\n",
            )
        )
    return examples


def _wordings(fact: Fact, relations: Mapping[str, Relation]) -> list[str]:
    relation = relations.get(fact.relation)
    return [fact.statement, *(fill(text, fact.subject) for text in (relation.paraphrases if relation else ()))]


def _other_fact(facts: Sequence[Fact], index: int) -> Fact:
    fact = facts[index]
    candidates = [candidate for candidate in [*facts[index + 1 :], *facts[:index]] if candidate.subject != fact.subject]
    return next(
        (candidate for candidate in candidates if candidate.relation == fact.relation),
        candidates[0] if candidates else fact,
    )
