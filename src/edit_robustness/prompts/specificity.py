"""Choose prompts whose answers an edit should not change, except those of its own relation (`neighbours`).

Relation specificity asks for another relation of the same subject. Only relations that the edit does not affect are
used: those listed as `unaffected` in the YAML file of relations. If the table contains the same subject under another
relation, and one of the two relations lists the other, the true object is known too. Unrelated prompts share neither
subject nor relation with the fact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from edit_robustness.prompts.grammar import fill_slot
from edit_robustness.prompts.names import first_named, new_names, plain, shared_name, subject_names, true_names
from edit_robustness.prompts.relations import Templates
from edit_robustness.records import Completion, Fact

MOST_OBJECTS = 200
"""Maximum number of objects stored with a prompt, the most frequent first. It limits the size of answer tables."""

_TRIES = 40
"""Number of facts of the table that are tried per unrelated prompt."""

Objects = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class UnaffectedPrompt:
    """A prompt whose answer an edit should not change.

    Attributes:
        completion: The prompt, and its true object if that is known.
        objects: Objects of the right type, each with all its names. Given if the true object is not known.
    """

    completion: Completion
    objects: Objects = ()


class Specificity:
    """Chooses prompts of other relations and unrelated prompts for the facts of one table.

    Args:
        pool: All facts of the table.
        templates: Wordings by relation.
        edited_facts: Facts that are edited on the same model. No prompt asks for one of them, and no unrelated prompt
            is about one of their subjects.
        seed: Seed of the random choices, combined with the fact.
    """

    def __init__(self, pool: Sequence[Fact], templates: Templates, edited_facts: Sequence[Fact], seed: int):
        self._relations, self._seed = templates.relations, seed
        facts_with_objects = [fact for fact in pool if fact.target_true]
        subjects = {plain(fact.subject) for fact in edited_facts}
        self._edited_pairs = {(plain(fact.subject), fact.relation) for fact in edited_facts}
        self._strangers = [fact for fact in facts_with_objects if plain(fact.subject) not in subjects]
        self._by_subject: dict[str, list[Fact]] = {}
        for fact in facts_with_objects:
            self._by_subject.setdefault(plain(fact.subject), []).append(fact)
        self._objects = _objects_by_type(pool, templates)

    def relation_specificity(self, fact: Fact, number: int) -> tuple[UnaffectedPrompt, ...]:
        """Return up to `number` prompts of other relations of the fact's subject.

        The data set's own prompts come first. Then come those whose true object is in the table, those with objects of
        the right type in the table, and the rest.
        """
        given_prompts = [UnaffectedPrompt(prompt) for prompt in _without_new_object(fact, fact.relation_specificity)]
        rng = Random(f"{self._seed}/{fact.id}/relation_specificity")
        table_facts = self._table_facts(fact)
        open_prompts = self._open_prompts(fact, excluded_names={table_fact.relation for table_fact in table_facts})
        rng.shuffle(table_facts)
        rng.shuffle(open_prompts)
        open_prompts.sort(key=lambda prompt: not prompt.objects)
        table_prompts = [UnaffectedPrompt(_completion(table_fact)) for table_fact in table_facts]
        return (*given_prompts, *table_prompts, *open_prompts)[:number]

    def unrelated(self, fact: Fact, number: int) -> tuple[Completion, ...]:
        """Return up to `number` prompts about other subjects and other relations, the data set's own first."""
        completions = _without_new_object(fact, fact.unrelated)[:number]
        if len(completions) == number:
            return tuple(completions)
        rng = Random(f"{self._seed}/{fact.id}/unrelated")
        for stranger in rng.sample(self._strangers, min(_TRIES * number, len(self._strangers))):
            if len(completions) < number and _has_nothing_in_common(fact, stranger):
                completions.append(_completion(stranger))
        return tuple(completions)

    def _table_facts(self, fact: Fact) -> list[Fact]:
        """Return the facts of the table about the same subject that the edit does not affect."""
        return [
            candidate
            for candidate in self._by_subject.get(plain(fact.subject), ())
            if self._is_unaffected(fact.relation, candidate.relation)
            and self._is_free(fact, candidate.relation)
            and not (fact.subject_id and candidate.subject_id and fact.subject_id != candidate.subject_id)
            and shared_name(new_names(fact), true_names(candidate)) is None
        ]

    def _open_prompts(self, fact: Fact, excluded_names: set[str]) -> list[UnaffectedPrompt]:
        """Return prompts of the relations that fit the subject; their true object is not known."""
        own_relation = self._relations.get(fact.relation)
        names = [
            name
            for name in (own_relation.unaffected if own_relation else ())
            if name not in excluded_names and self._is_free(fact, name)
        ]
        unaffected_relations = [self._relations[name] for name in names]
        return [
            UnaffectedPrompt(
                Completion(fill_slot(relation.statement, fact.subject), "", subject=fact.subject),
                self._objects.get(relation.object, ()),
            )
            for relation in unaffected_relations
        ]

    def _is_unaffected(self, name: str, other_name: str) -> bool:
        """Return whether the relations do not affect each other, which holds if one of them lists the other."""
        relations = self._relations
        return (name in relations and other_name in relations[name].unaffected) or (
            other_name in relations and name in relations[other_name].unaffected
        )

    def _is_free(self, fact: Fact, relation: str) -> bool:
        return (plain(fact.subject), relation) not in self._edited_pairs


def _without_new_object(fact: Fact, completions: Sequence[Completion]) -> list[Completion]:
    """Return the completions whose right answer is not the edit's new object."""
    return [
        completion
        for completion in completions
        if shared_name(new_names(fact), (completion.target, *completion.aliases)) is None
    ]


def _completion(fact: Fact) -> Completion:
    return Completion(fact.statement, fact.target_true, fact.target_true_aliases, fact.subject, fact.join)


def _has_nothing_in_common(fact: Fact, other_fact: Fact) -> bool:
    fact_names = (*subject_names(fact), *true_names(fact), *new_names(fact))
    other_names = (*subject_names(other_fact), *true_names(other_fact))
    return (
        other_fact.relation != fact.relation
        and shared_name(fact_names, other_names) is None
        and first_named(other_fact.statement, fact_names) is None
        and first_named(fact.statement, other_names) is None
    )


def _objects_by_type(pool: Sequence[Fact], templates: Templates) -> dict[str, Objects]:
    """Return the objects of a table, true and new, by their type (``city``), the most frequent first."""
    counts: dict[str, Counter[str]] = {}
    names: dict[str, tuple[str, ...]] = {}
    for fact in pool:
        relation = templates.relations.get(fact.relation)
        for object_names in (true_names(fact), new_names(fact)) if relation and relation.object else ():
            if object_names:
                key = plain(object_names[0])
                counts.setdefault(relation.object, Counter())[key] += 1  # type: ignore[union-attr]
                # several facts may have the same object, some without aliases: keep the longest list
                names[key] = max(names.get(key, ()), object_names, key=lambda group: (len(group), group))
    return {
        kind: tuple(names[key] for key in sorted(type_counts, key=lambda key: (-type_counts[key], key))[:MOST_OBJECTS])
        for kind, type_counts in counts.items()
    }
