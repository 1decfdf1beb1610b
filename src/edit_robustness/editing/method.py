"""The interface of editing methods: validated hyperparameters with functions from facts to edits."""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

from torch import Tensor

from edit_robustness.editing.artefacts import NO_ARTEFACT, Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import Edit, Origin
from edit_robustness.editing.registry import ENTRIES
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.records import Fact, Relation

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corpus:
    """The data that a method may learn from before it edits.

    Attributes:
        texts: Running text, for statistics of the model's keys and for contexts.
        facts: Facts whose subjects this run does not edit, for demonstrations and training.
        relations: The wordings of those facts' relations.
        moments: Second moments of keys that were already computed from those texts, by site
            (`second_moments.key_moments`).
    """

    texts: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    relations: Mapping[str, Relation] = field(default_factory=dict)
    moments: Mapping[Site, Tensor] = field(default_factory=dict)


class Unsolvable(ArithmeticError, ValueError):
    """The equations of a method have no solution for this model: numbers are not finite, vanish, or are too few."""


class Method(ABC):
    """An editing method: a frozen dataclass of hyperparameters.

    Subclasses implement `increment`, and `increments` if independent edits can share work. Callers use `edit` and
    `edit_each`, which add the origin to the edits.

    Attributes:
        name: The method's name in settings and tables, listed in `editing/registry.py`.
        label: Its name in figures and reports, from that list; the short name for a class that is not listed.
        description: A description in one line, from that list.
        batch_size: Maximum number of facts per edit; None for any number.
        learns_from: The parts of a corpus that `prepare` reads: `texts`, `moments`, `facts`; empty if there is nothing
            to prepare.
        edits_need_artefact: Whether its edits can be applied only with the prepared artefact (`Edit.with_artefact`).
        is_in_context: Whether its edits are text before prompts, which takes up context and needs no forward pass.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    description: ClassVar[str]
    learns_from: ClassVar[tuple[str, ...]] = ()
    batch_size: ClassVar[int | None] = 1
    edits_need_artefact: ClassVar[bool] = False
    is_in_context: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        name = getattr(cls, "name", "")
        entry = ENTRIES.get(name)
        cls.label, cls.description = (entry.label, entry.description) if entry else (name, "")

    @property
    def key_sites(self) -> Sequence[Site]:
        """Return the weights whose keys' second moments `prepare` computes, from `mom2_tokens` tokens of the corpus."""
        return ()

    @property
    def corpus_tokens(self) -> int:
        """Return the number of tokens of running text that `prepare` reads for second moments; 0 if it reads none."""
        return getattr(self, "mom2_tokens", 0) if self.key_sites else 0

    @property
    def corpus_texts(self) -> int:
        """Return the number of texts of the corpus from which `prepare` takes contexts."""
        from_model = getattr(self, "contexts", "corpus") == "model"
        return 0 if from_model else len(getattr(self, "context_lengths", ()))

    def prepare(self, lm: LanguageModel, corpus: Corpus) -> Artefact:
        """Compute what is costly and done once per model; most methods need nothing."""
        return NO_ARTEFACT

    def edit(
        self,
        lm: LanguageModel,
        facts: Sequence[Fact],
        *,
        artefact: Artefact = NO_ARTEFACT,
        history: EditHistory | None = None,
    ) -> Edit:
        """Compute the increment that makes `facts` true; `lm` already has `history` applied.

        Args:
            lm: The model.
            facts: The facts to edit, with their new objects.
            artefact: The artefact of `prepare`.
            history: The state after earlier edits; None if there are none.

        Raises:
            ValueError: If the method cannot edit that many facts at once.
        """
        self._check(facts)
        increment = self.increment(lm, facts, artefact=artefact, history=history or EditHistory())
        return self._sign(increment, lm, facts, artefact)

    def edit_each(
        self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact = NO_ARTEFACT
    ) -> Iterator[Edit]:
        """Yield independent edits of the unedited model, one per fact, in order."""
        edits = self.increments(lm, facts, artefact=artefact)
        for fact, edit in zip(facts, edits, strict=True):
            yield self._sign(edit, lm, [fact], artefact)

    @abstractmethod
    def increment(self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory) -> Edit:
        """Compute the edit of `edit`, without an origin; the number of facts has been checked."""

    def increments(self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact) -> Iterator[Edit]:
        """Yield the edits of `edit_each`, without origins."""
        for fact in facts:
            yield self.increment(lm, [fact], artefact=artefact, history=EditHistory())

    @contextmanager
    def opened(self, lm: LanguageModel) -> Iterator[Self]:
        """Yield the method for several edits of one model, with what it keeps open between them; most keep nothing."""
        yield self

    def problems(self) -> Iterator[str]:
        """Yield what the settings name and this machine does not have; most methods need nothing but the model."""
        return iter(())

    def check(self) -> None:  # noqa: B027 - not abstract: most methods check nothing
        """Refuse what would fail at the first edit, before long work begins.

        Raises:
            Exception: Naming what is wrong.
        """

    def context_use(self, lm: LanguageModel, facts: Sequence[Fact], artefact: Artefact) -> tuple[int, dict[str, int]]:
        """Return the number of contexts per fact, and for facts that cannot use them all the number of unused ones.

        (0, {}) for a method whose edits are made without contexts.
        """
        return 0, {}

    def settings(self) -> dict[str, Any]:
        """Return the hyperparameters as JSON values, as a file would return them."""
        settings: dict[str, Any] = json.loads(json.dumps(asdict(self)))  # type: ignore[call-overload]
        return settings

    def _check(self, facts: Sequence[Fact]) -> None:
        """Refuse more facts at once than the method supports."""
        if self.batch_size is not None and len(facts) > self.batch_size:
            number = {1: "one fact"}.get(self.batch_size, f"{self.batch_size} facts")
            raise ValueError(
                f"{self.name} edits {number} per call, and was given {len(facts)}: pass fewer facts (in a sequence: "
                f"sequence.batch_size: {self.batch_size})"
            )

    def _sign(self, edit: Edit, lm: LanguageModel, facts: Sequence[Fact], artefact: Artefact) -> Edit:
        ids = tuple(fact.id for fact in facts)
        contexts, unused_contexts = self.context_use(lm, facts, artefact)
        for fact, number in unused_contexts.items():
            logger.warning(
                "%s: %s: %d of %d contexts cannot be used for %s: no token there contains the end of its subject",
                lm.name,
                self.name,
                number,
                contexts,
                fact,
            )
        origin = Origin(
            *(self.name, lm.fingerprint, self.settings(), ids, artefact.fingerprint, contexts, unused_contexts),
            edit.unmet_losses,
        )
        return edit.with_origin(origin)


class TrainedMethod(Method):
    """A method that trains networks before it edits, and can resume the training."""

    def prepare(self, lm: LanguageModel, corpus: Corpus) -> Artefact:
        """Train to the end."""
        *_, artefact = self.train(lm, corpus)
        return artefact

    @abstractmethod
    def train(self, lm: LanguageModel, corpus: Corpus, *, start: Artefact | None = None) -> Iterator[Artefact]:
        """Yield states of the training, from each of which it can resume by `start`; the last is the artefact."""
