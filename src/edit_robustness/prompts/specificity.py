"""Choose the prompts that an edit should leave as they are, besides those of its own relation (see neighbours.py).

Relation specificity asks another relation of the same subject. Only relations that the edit says nothing about are
asked: those listed as `unaffected` in the YAML of relations. A table that holds the same subject under another relation
gives the true object too, if one of the two relations lists the other. Unrelated prompts share neither subject nor
relation with the fact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from edit_robustness.prompts.grammar import put
from edit_robustness.prompts.names import first_named, new_names, plain, shared_name, subject_names, true_names
from edit_robustness.prompts.relations import Templates
from edit_robustness.records import Completion, Fact

MOST_OBJECTS = 200
"""Objects that are stored with a prompt, the most frequent first. A longer list would be most of a table of answers."""

_TRIES = 40
"""Facts of the table that are tried per unrelated prompt."""

Objects = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Untouched:
    """A prompt that an edit should leave as it is.

    Attributes:
        completion: The prompt, and its true object where that is known.
        objects: Objects of the right type, each with all its names; given where the true object is not known.
    """

    completion: Completion
    objects: Objects = ()


class Specificity:
    """Chooses prompts of other relations and unrelated prompts for the facts of one table.

    Args:
        pool: All facts of the table.
        templates: Wordings by relation.
        edited: Facts that are edited on the same model; no prompt is about one of them, or unrelated to one and about
            its subject.
        seed: What random choices follow from, together with the fact.
    """

    def __init__(self, pool: Sequence[Fact], templates: Templates, edited: Sequence[Fact], seed: int):
        self._relations, self._seed = templates.relations, seed
        known = [fact for fact in pool if fact.target_true]
        subjects = {plain(fact.subject) for fact in edited}
        self._edited = {(plain(fact.subject), fact.relation) for fact in edited}
        self._strangers = [fact for fact in known if plain(fact.subject) not in subjects]
        self._by_subject: dict[str, list[Fact]] = {}
        for fact in known:
            self._by_subject.setdefault(plain(fact.subject), []).append(fact)
        self._objects = _objects_by_type(pool, templates)

    def relation_specificity(self, fact: Fact, number: int) -> tuple[Untouched, ...]:
        """Return up to `number` prompts of other relations of the fact's subject.

        The data set's own come first, then those whose true object the table holds, then those with objects of the
        right type in the table, then the rest.
        """
        own = [Untouched(one) for one in _allowed(fact, fact.relation_specificity)]
        rng = Random(f"{self._seed}/{fact.id}/relation_specificity")
        held = self._held(fact)
        asked = self._asked(fact, besides={other.relation for other in held})
        rng.shuffle(held)
        rng.shuffle(asked)
        asked.sort(key=lambda one: not one.objects)
        return (*own, *(Untouched(_completion(other)) for other in held), *asked)[:number]

    def unrelated(self, fact: Fact, number: int) -> tuple[Completion, ...]:
        """Return up to `number` prompts about another subject and another relation, the data set's own first."""
        found = _allowed(fact, fact.unrelated)[:number]
        if len(found) == number:
            return tuple(found)
        rng = Random(f"{self._seed}/{fact.id}/unrelated")
        for other in rng.sample(self._strangers, min(_TRIES * number, len(self._strangers))):
            if len(found) < number and _has_nothing_in_common(fact, other):
                found.append(_completion(other))
        return tuple(found)

    def _held(self, fact: Fact) -> list[Fact]:
        """Return the facts of the table about the same subject that the edit leaves as they are."""
        return [
            other
            for other in self._by_subject.get(plain(fact.subject), ())
            if self._unaffected(fact.relation, other.relation)
            and self._is_free(fact, other.relation)
            and not (fact.subject_id and other.subject_id and fact.subject_id != other.subject_id)
            and shared_name(new_names(fact), true_names(other)) is None
        ]

    def _asked(self, fact: Fact, besides: set[str]) -> list[Untouched]:
        """Return prompts of the relations that fit the subject, without a true object."""
        own = self._relations.get(fact.relation)
        names = [name for name in (own.unaffected if own else ()) if name not in besides and self._is_free(fact, name)]
        others = [self._relations[name] for name in names]
        return [
            Untouched(
                Completion(put(other.statement, fact.subject), "", subject=fact.subject),
                self._objects.get(other.object, ()),
            )
            for other in others
        ]

    def _unaffected(self, one: str, other: str) -> bool:
        """Whether neither relation says anything about the other: one of them lists the other."""
        relations = self._relations
        return (one in relations and other in relations[one].unaffected) or (
            other in relations and one in relations[other].unaffected
        )

    def _is_free(self, fact: Fact, relation: str) -> bool:
        return (plain(fact.subject), relation) not in self._edited


def _allowed(fact: Fact, completions: Sequence[Completion]) -> list[Completion]:
    """Return the completions whose right answer is not the very object that the edit writes."""
    return [one for one in completions if shared_name(new_names(fact), (one.target, *one.aliases)) is None]


def _completion(fact: Fact) -> Completion:
    return Completion(fact.statement, fact.target_true, fact.target_true_aliases, fact.subject, fact.join)


def _has_nothing_in_common(fact: Fact, other: Fact) -> bool:
    own = (*subject_names(fact), *true_names(fact), *new_names(fact))
    others = (*subject_names(other), *true_names(other))
    return (
        other.relation != fact.relation
        and shared_name(own, others) is None
        and first_named(other.statement, own) is None
        and first_named(fact.statement, others) is None
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
                # of one object several facts may speak, some without aliases: keep the longest list
                names[key] = max(names.get(key, ()), object_names, key=lambda each: (len(each), each))
    return {
        kind: tuple(names[key] for key in sorted(own, key=lambda key: (-own[key], key))[:MOST_OBJECTS])
        for kind, own in counts.items()
    }
