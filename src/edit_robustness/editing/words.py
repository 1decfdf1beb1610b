"""The words that editing by words puts before prompts, known without any forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edit_robustness.editing.method import Corpus, Method
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact, Relation


def words_before(
    lm: LanguageModel,
    method: Method,
    facts: Sequence[Fact],
    lessons: Sequence[Fact],
    relations: Mapping[str, Relation],
) -> list[str]:
    """Return what a method that edits by words (`Method.in_words`) puts before prompts, for each fact.

    Args:
        lm: The model.
        method: The method.
        facts: The facts to edit.
        lessons: Facts to learn from; those about a subject that is edited are left out.
        relations: The wordings of relations.
    """
    edited = {fact.subject for fact in facts}
    pool = tuple(fact for fact in lessons if fact.subject not in edited)
    prepared = method.prepare(lm, Corpus(facts=pool, relations=relations))
    return [edit.prefix for edit in method.increments(lm, facts, prepared=prepared)]
