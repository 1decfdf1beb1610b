"""The text that in-context methods put before prompts, computed without a forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edit_robustness.editing.method import Corpus, Method
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact, Relation


def find_prefixes(
    lm: LanguageModel,
    method: Method,
    facts: Sequence[Fact],
    training_facts: Sequence[Fact],
    relations: Mapping[str, Relation],
) -> list[str]:
    """Return the text that an in-context method (`Method.is_in_context`) puts before prompts, for each fact.

    Args:
        lm: The model.
        method: The method.
        facts: The facts to edit.
        training_facts: Facts that it takes demonstrations from.
        relations: The wordings of relations.
    """
    artefact = method.prepare(lm, Corpus(facts=tuple(training_facts), relations=relations))
    return [edit.prefix for edit in method.increments(lm, facts, artefact=artefact)]
