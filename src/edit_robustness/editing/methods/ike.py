"""IKE: the new fact and demonstrations of how to use it, before every prompt (Zheng et al. 2023)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass
from sklearn.feature_extraction.text import TfidfVectorizer

from edit_robustness.editing.edits import Frame
from edit_robustness.editing.method import Corpus, Method, Prepared
from edit_robustness.editing.past import Past
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.prompts.demonstrations import Demonstration, demonstrations, new_fact, sentence
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT


@dataclass(frozen=True, config=STRICT)
class Ike(Method):
    """Demonstrations in the paper's three kinds, of the facts most like the new one (TF-IDF), the likest last.

    Attributes:
        copy: How many demonstrations repeat their new fact.
        update: How many ask their new fact in other words.
        retain: How many ask something else, whose answer stays.
    """

    name: ClassVar[str] = "ike"
    learns_from: ClassVar[tuple[str, ...]] = ("facts",)
    in_words: ClassVar[bool] = True

    copy: NonNegativeInt
    update: NonNegativeInt
    retain: NonNegativeInt

    def prepare(self, lm: LanguageModel, corpus: Corpus) -> Prepared:
        """One text a fact of the pool: what it is found by, and its demonstration of each kind."""
        pool = demonstrations(corpus.facts, corpus.relations)
        wanted = self.copy + self.update + self.retain
        if not 0 < wanted <= len(pool):
            raise ValueError(
                f"ike wants {wanted} demonstrations, and raw_lessons has {len(pool)} facts with wordings outside the "
                "sample: lower its settings copy, update or retain, or give raw_lessons more facts"
            )
        return Prepared(texts=tuple(json.dumps(d.__dict__, ensure_ascii=False) for d in pool))

    def increment(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared, past: Past) -> Frame:
        """The frame of one fact."""
        return next(self.increments(lm, facts, prepared=prepared))

    def increments(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared) -> Iterator[Frame]:
        """Frames of several facts; the pool is indexed once."""
        pool = [Demonstration(**json.loads(text)) for text in prepared.texts]
        kinds = interleaved({"copy": self.copy, "update": self.update, "retain": self.retain})
        index = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        rows = index.fit_transform([demonstration.key for demonstration in pool])
        for fact in facts:
            likeness = (rows @ index.transform([sentence(fact)]).T).toarray()[:, 0]
            nearest = np.argsort(-likeness, kind="stable")[: len(kinds)][::-1]
            shots = [getattr(pool[place], kind) for kind, place in zip(kinds, nearest, strict=True)]
            yield Frame("".join(shots) + new_fact(fact))


def interleaved(counts: Mapping[str, int]) -> list[str]:
    """Names repeated by their counts and spread evenly, so that no kind has all the nearest places."""
    spread = [((turn + 0.5) / count, name) for name, count in counts.items() for turn in range(count)]
    return [name for _, name in sorted(spread)]
