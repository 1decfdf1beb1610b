"""What an editing method is: hyperparameters, validated, that turn facts into edits."""

from __future__ import annotations

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor

from edit_robustness.editing.edits import Edit, Origin
from edit_robustness.editing.past import Past
from edit_robustness.editing.registry import ENTRIES
from edit_robustness.models.language_model import LanguageModel, checksums
from edit_robustness.models.layout import Site
from edit_robustness.records import Fact, Relation

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corpus:
    """What a method may learn from before it edits.

    Attributes:
        texts: Running text, for statistics of the model's keys and for contexts.
        facts: Facts whose subjects this run does not edit, for demonstrations and training.
        relations: The wordings of those facts' relations.
        moments: Second moments of keys already taken from those texts, by site (`key_statistics.key_moments`).
    """

    texts: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    relations: Mapping[str, Relation] = field(default_factory=dict)
    moments: Mapping[Site, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a method computed once for a model: named tensors and texts.

    Attributes:
        tensors: What edits are computed from.
        texts: The same, in words.
        figures: What was measured on the way, as plain values. Edits and the run's record repeat them.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of its content; empty where nothing was prepared."""
        if not self.tensors and not self.texts:
            return ""
        sums = {name: (list(tensor.shape), checksums(tensor)) for name, tensor in self.tensors.items()}
        return fingerprint(sums, list(self.texts))


NOTHING = Prepared()
"""What most methods prepare."""


class Unsolvable(ArithmeticError, ValueError):
    """What a method asks of the model has no solution: its numbers are not finite, vanish, or say too little."""


class Method(ABC):
    """An editing method: a frozen dataclass of hyperparameters.

    A method implements `increment`, and `increments` where independent edits can share work; those who use it call
    `edit` and `edit_each`, which sign the edits.

    Attributes:
        name: The method's name in settings and tables, listed in `editing/registry.py`.
        label: Its name in figures and reports, from that list; the short name for a class that is not listed.
        description: What it does in one line, from that list.
        at_once: How many facts one edit may hold; None for any number.
        learns_from: The parts of a corpus that `prepare` reads: `texts`, `moments`, `facts`; empty where there is
            nothing to prepare.
        edits_need_prepared: Whether its edits can be applied only with what it prepared (`Edit.with_prepared`).
        in_words: Whether its edits are words before every prompt, which take up context and need no forward pass.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    description: ClassVar[str]
    learns_from: ClassVar[tuple[str, ...]] = ()
    at_once: ClassVar[int | None] = 1
    edits_need_prepared: ClassVar[bool] = False
    in_words: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        name = getattr(cls, "name", "")
        entry = ENTRIES.get(name)
        cls.label, cls.description = (entry.label, entry.description) if entry else (name, "")

    @property
    def key_sites(self) -> Sequence[Site]:
        """The weights whose keys' second moments `prepare` reads, from `mom2_tokens` tokens of the corpus."""
        return ()

    @property
    def corpus_tokens(self) -> int:
        """How many tokens of running text `prepare` reads for second moments; 0 if it takes none."""
        return getattr(self, "mom2_tokens", 0) if self.key_sites else 0

    @property
    def corpus_texts(self) -> int:
        """How many texts of the corpus `prepare` takes contexts from."""
        written = getattr(self, "contexts", "corpus") == "model"
        return 0 if written else len(getattr(self, "context_lengths", ()))

    def prepare(self, lm: LanguageModel, corpus: Corpus) -> Prepared:
        """What is costly and done once a model; most methods need nothing."""
        return NOTHING

    def edit(
        self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared = NOTHING, past: Past | None = None
    ) -> Edit:
        """The increment that makes `facts` true; `lm` already has `past` applied.

        Raises:
            ValueError: If the method cannot edit that many facts at once.
        """
        self._check(facts)
        increment = self.increment(lm, facts, prepared=prepared, past=past or Past())
        return self._signed(increment, lm, facts, prepared)

    def edit_each(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared = NOTHING) -> Iterator[Edit]:
        """Independent edits of the unedited model, one a fact, in order."""
        edits = self.increments(lm, facts, prepared=prepared)
        for fact, edit in zip(facts, edits, strict=True):
            yield self._signed(edit, lm, [fact], prepared)

    @abstractmethod
    def increment(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared, past: Past) -> Edit:
        """See `edit`; the number of facts has been checked."""

    def increments(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared) -> Iterator[Edit]:
        """See `edit_each`."""
        for fact in facts:
            yield self.increment(lm, [fact], prepared=prepared, past=Past())

    def context_use(self, lm: LanguageModel, facts: Sequence[Fact], prepared: Prepared) -> tuple[int, dict[str, int]]:
        """How many contexts a fact's edit is made with, and for facts where some cannot be used, how many.

        (0, {}) for a method whose edits are made without contexts.
        """
        return 0, {}

    def settings(self) -> dict[str, Any]:
        """The hyperparameters as plain values, as a file gives them back."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[call-overload]

    def _check(self, facts: Sequence[Fact]) -> None:
        """Refuse more facts at once than the method can take."""
        if self.at_once is not None and len(facts) > self.at_once:
            number = {1: "one fact"}.get(self.at_once, f"{self.at_once} facts")
            raise ValueError(
                f"{self.name} edits {number} per call, and was given {len(facts)}: pass fewer facts (in a sequence: "
                f"sequence.at_once: {self.at_once})"
            )

    def _signed(self, edit: Edit, lm: LanguageModel, facts: Sequence[Fact], prepared: Prepared) -> Edit:
        ids = tuple(fact.id for fact in facts)
        contexts, unused = self.context_use(lm, facts, prepared)
        for fact, number in unused.items():
            logger.warning(
                "%s: %s: %d of %d contexts cannot be used for %s: no token there holds the end of its subject",
                lm.name,
                self.name,
                number,
                contexts,
                fact,
            )
        origin = Origin(self.name, lm.fingerprint, self.settings(), ids, prepared.fingerprint, contexts, unused)
        return edit.signed(origin)


class Trained(Method):
    """A method that trains networks before it edits, and can go on with the training where it stopped."""

    def prepare(self, lm: LanguageModel, corpus: Corpus) -> Prepared:
        """The whole training."""
        *_, finished = self.train(lm, corpus)
        return finished

    @abstractmethod
    def train(self, lm: LanguageModel, corpus: Corpus, *, started: Prepared | None = None) -> Iterator[Prepared]:
        """States of the training now and then, each enough to go on from as `started`; the last is the artefact."""


def fingerprint(*parts: object) -> str:
    """A short hash of plain values, dataclasses and texts: equal inputs, equal name."""
    text = json.dumps(parts, sort_keys=True, default=_plain, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"cannot fingerprint {type(value).__name__}")
