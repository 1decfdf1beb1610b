"""IKE: the new fact and demonstrations of its use before every prompt (Zheng et al. 2023)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass
from sklearn.feature_extraction.text import TfidfVectorizer

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import PromptPrefix
from edit_robustness.editing.method import Corpus, Method
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.prompts.demonstrations import Demonstration, demonstrations, new_fact, sentence
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT


@dataclass(frozen=True, config=STRICT)
class Ike(Method):
    """Demonstrations of the paper's three kinds, from the facts most similar to the new one (TF-IDF), in rising order.

    Attributes:
        copy: Number of demonstrations that repeat their new fact.
        update: Number of demonstrations that ask for their new fact in other words.
        retain: Number of demonstrations that ask for something else, whose answer does not change.
    """

    name: ClassVar[str] = "ike"
    learns_from: ClassVar[tuple[str, ...]] = ("facts",)
    is_in_context: ClassVar[bool] = True

    copy: NonNegativeInt
    update: NonNegativeInt
    retain: NonNegativeInt

    def prepare(self, lm: LanguageModel, corpus: Corpus) -> Artefact:
        """Build one text per fact of the pool: its search key, and its demonstration of each kind."""
        pool = demonstrations(corpus.facts, corpus.relations)
        count = self.copy + self.update + self.retain
        if not 0 < count <= len(pool):
            raise ValueError(
                f"ike needs {count} demonstrations, and raw_training_facts has {len(pool)} facts with wordings outside "
                "the sample: lower its settings copy, update or retain, or give raw_training_facts more facts"
            )
        return Artefact(texts=tuple(json.dumps(demonstration.__dict__, ensure_ascii=False) for demonstration in pool))

    def increment(
        self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory
    ) -> PromptPrefix:
        """Return the text before prompts for one fact."""
        return next(self.increments(lm, facts, artefact=artefact))

    def increments(self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact) -> Iterator[PromptPrefix]:
        """Yield the text before prompts for each fact; the pool is indexed once."""
        pool = [Demonstration(**json.loads(text)) for text in artefact.texts]
        kinds = interleave({"copy": self.copy, "update": self.update, "retain": self.retain})
        index = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        rows = index.fit_transform([demonstration.key for demonstration in pool])
        for fact in facts:
            likeness = (rows @ index.transform([sentence(fact)]).T).toarray()[:, 0]
            nearest = np.argsort(-likeness, kind="stable")[: len(kinds)][::-1]
            shots = [getattr(pool[place], kind) for kind, place in zip(kinds, nearest, strict=True)]
            yield PromptPrefix("".join(shots) + new_fact(fact))


def interleave(counts: Mapping[str, int]) -> list[str]:
    """Return names repeated by their counts and spread evenly, so that no kind gets all the nearest places."""
    spread = [((turn + 0.5) / count, name) for name, count in counts.items() for turn in range(count)]
    return [name for _, name in sorted(spread)]
