"""Extreme facts of a table: those with the longest texts and those with the shortest."""

from collections.abc import Sequence
from dataclasses import replace

from edit_robustness.records import Fact

_FEW = 6
_OTHERS = 2
_OLD_OBJECT = "an old object"
"""Placeholder for an old object that the model has not been asked for yet."""


def longest_facts(facts: Sequence[Fact]) -> list[Fact]:
    """Return the facts with the longest statements, the longest subjects, and the most text of their data set."""
    orders = [sorted(facts, key=size, reverse=True)[:_FEW] for size in (_statement, _subject, _all_texts)]
    return list({fact.id: fact for selection in orders for fact in selection}.values())


def shortest_facts(facts: Sequence[Fact], number: int = _FEW) -> list[Fact]:
    """Return the facts with the shortest statements and objects."""
    return sorted(facts, key=_statement)[:number]


def around(samples: Sequence[Fact], facts: Sequence[Fact]) -> list[Fact]:
    """Return facts that prompts about others come from: the chosen ones, and two others of each of their relations."""
    relations: dict[str, list[Fact]] = {fact.relation: [] for fact in samples}
    ids = {fact.id for fact in samples}
    for fact in facts:
        relation_facts = relations.get(fact.relation)
        if relation_facts is not None and len(relation_facts) < _OTHERS and fact.id not in ids:
            relation_facts.append(fact)
    return [*samples, *(fact for relation_facts in relations.values() for fact in relation_facts)]


def with_old_objects(facts: Sequence[Fact]) -> list[Fact]:
    """Return the facts, each with some old object, so that every kind of prompt can be built."""
    return [fact if fact.target_true.strip() else replace(fact, target_true=_OLD_OBJECT) for fact in facts]


def _statement(fact: Fact) -> int:
    return len(fact.statement) + len(fact.target_new)


def _subject(fact: Fact) -> int:
    return len(fact.subject)


def _all_texts(fact: Fact) -> int:
    prompts = (*fact.neighbours, *fact.relation_specificity, *fact.unrelated, *fact.consequences)
    return max(map(len, (*fact.paraphrases, *(prompt.prompt for prompt in prompts))), default=0)
