"""Which other facts an edit is most likely to damage: same relation, close subjects first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from edit_robustness.prompts.names import new_names, shared_name, subject_names, true_names
from edit_robustness.records import Fact

_SHORTEST, _LONGEST = 2, 4
_DIGITS = 6
"""Similarities are compared to so many digits, so that rounding in another order never decides between subjects."""


@dataclass(frozen=True)
class Neighbourhood:
    """The facts of one relation, with what is needed to say how alike their subjects are."""

    facts: tuple[Fact, ...]
    vectorizer: TfidfVectorizer
    vectors: Any

    def nearest(self, fact: Fact, number: int) -> list[Fact]:
        """The `number` best neighbours of a fact; fewer where there are no more.

        Those with the same true object come first, then those whose subject is written most alike (cosine of
        character n-gram TF-IDF), then by id. Never the subject itself, nor a fact whose true object is the very
        object that the edit writes: there, the edit's object would be the right answer.
        """
        likeness = (self.vectors @ self.vectorizer.transform([fact.subject]).T).toarray()[:, 0]
        allowed = [place for place, other in enumerate(self.facts) if _may_stand_beside(fact, other)]
        allowed.sort(key=lambda place: self._rank(fact, place, likeness))
        return [self.facts[place] for place in allowed[:number]]

    def _rank(self, fact: Fact, place: int, likeness: np.ndarray) -> tuple[bool, float, str]:
        other = self.facts[place]
        other_object = shared_name(true_names(fact), true_names(other)) is None
        return other_object, -round(float(likeness[place]), _DIGITS), other.id


def neighbourhoods(pool: Sequence[Fact]) -> dict[str, Neighbourhood]:
    """The facts of a table by relation; the vectors of their subjects are computed once."""
    by_relation: dict[str, list[Fact]] = {}
    for fact in pool:
        by_relation.setdefault(fact.relation, []).append(fact)
    return {relation: _neighbourhood(facts) for relation, facts in by_relation.items()}


def nearest_neighbours(fact: Fact, pool: Sequence[Fact], number: int) -> list[Fact]:
    """The best neighbours of one fact in a table; for many facts, ask `neighbourhoods` once."""
    same_relation = [other for other in pool if other.relation == fact.relation]
    return _neighbourhood(same_relation).nearest(fact, number) if same_relation else []


def _neighbourhood(facts: Sequence[Fact]) -> Neighbourhood:
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(_SHORTEST, _LONGEST))
    vectors = vectorizer.fit_transform([fact.subject for fact in facts])
    return Neighbourhood(tuple(facts), vectorizer, vectors)


def _may_stand_beside(fact: Fact, other: Fact) -> bool:
    same_subject = shared_name(subject_names(fact), subject_names(other)) is not None
    return not same_subject and shared_name(new_names(fact), true_names(other)) is None
