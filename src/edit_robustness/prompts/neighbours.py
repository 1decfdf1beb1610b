"""Find the facts that an edit is most likely to damage: same relation, most similar subjects first."""

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
"""Decimal digits of similarities that are compared, so that the order of rounding never decides between subjects."""


@dataclass(frozen=True)
class Neighbourhood:
    """The facts of one relation, with TF-IDF vectors of their subjects (facts, n-grams)."""

    facts: tuple[Fact, ...]
    vectorizer: TfidfVectorizer
    vectors: Any

    def nearest(self, fact: Fact, number: int) -> list[Fact]:
        """Return the `number` best neighbours of a fact, or fewer if there are no more.

        Facts with the same true object come first. Then they are ordered by the similarity of the subjects' spelling
        (cosine of character n-gram TF-IDF), then by id. Facts about the same subject are left out. So are facts whose
        true object is the edit's new object, because the new object would be their right answer.
        """
        similarities = (self.vectors @ self.vectorizer.transform([fact.subject]).T).toarray()[:, 0]
        places = [place for place, candidate in enumerate(self.facts) if _is_neighbour(fact, candidate)]
        places.sort(key=lambda place: self._rank(fact, place, similarities))
        return [self.facts[place] for place in places[:number]]

    def _rank(self, fact: Fact, place: int, similarities: np.ndarray) -> tuple[bool, float, str]:
        candidate = self.facts[place]
        has_other_object = shared_name(true_names(fact), true_names(candidate)) is None
        return has_other_object, -round(float(similarities[place]), _DIGITS), candidate.id


def neighbourhoods(pool: Sequence[Fact]) -> dict[str, Neighbourhood]:
    """Group the facts of a table by relation; the vectors of their subjects are computed once."""
    by_relation: dict[str, list[Fact]] = {}
    for fact in pool:
        by_relation.setdefault(fact.relation, []).append(fact)
    return {relation: _neighbourhood(facts) for relation, facts in by_relation.items()}


def nearest_neighbours(fact: Fact, pool: Sequence[Fact], number: int) -> list[Fact]:
    """Return the best neighbours of one fact in a table; for many facts, use `neighbourhoods` once."""
    same_relation = [candidate for candidate in pool if candidate.relation == fact.relation]
    return _neighbourhood(same_relation).nearest(fact, number) if same_relation else []


def _neighbourhood(facts: Sequence[Fact]) -> Neighbourhood:
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(_SHORTEST, _LONGEST))
    vectors = vectorizer.fit_transform([fact.subject for fact in facts])
    return Neighbourhood(tuple(facts), vectorizer, vectors)


def _is_neighbour(fact: Fact, candidate: Fact) -> bool:
    same_subject = shared_name(subject_names(fact), subject_names(candidate)) is not None
    return not same_subject and shared_name(new_names(fact), true_names(candidate)) is None
