"""What an editing method is: hyperparameters, validated, that turn facts into edits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from edit_robustness.editing.edits import Edit
from edit_robustness.editing.past import Past
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact, Relation


@dataclass(frozen=True)
class Corpus:
    """What a method may learn from before it edits.

    Attributes:
        texts: Running text, for statistics of the model's keys and for contexts.
        facts: Facts whose subjects this run does not edit, for demonstrations and training.
        relations: The wordings of those facts' relations.
    """

    texts: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    relations: Mapping[str, Relation] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a method computed once for a model: named tensors and texts."""

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    texts: tuple[str, ...] = ()


class Method:
    """An editing method: a frozen dataclass of hyperparameters with these three functions.

    Attributes:
        name: The method's row in METHODS.
        at_once: How many facts one edit may hold; None for any number.
        learns_from: The parts of a corpus that `prepare` reads: `texts`, `facts`; empty where there is nothing to
            prepare.
    """

    name: ClassVar[str]
    learns_from: ClassVar[tuple[str, ...]] = ()
    at_once: ClassVar[int | None] = 1

    def prepare(self, lm: LanguageModel, corpus: Corpus) -> Prepared:
        """What is costly and done once a model; most methods need nothing."""
        return Prepared()

    def edit(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared, past: Past) -> Edit:
        """The increment that makes `facts` true; `lm` already has `past` applied.

        Raises:
            ValueError: If the method cannot edit that many facts at once.
        """
        raise NotImplementedError

    def edit_each(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared) -> Iterator[Edit]:
        """Independent edits of the unedited model, one a fact, in order."""
        for fact in facts:
            yield self.edit(lm, [fact], prepared=prepared, past=Past())

    def check(self, facts: Sequence[Fact]) -> None:
        """Refuse more facts at once than the method can take."""
        if self.at_once is not None and len(facts) > self.at_once:
            number = {1: "one fact"}.get(self.at_once, f"{self.at_once} facts")
            raise ValueError(
                f"{self.name} edits {number} at a time; set batch_size: {self.at_once} (it is {len(facts)})"
            )

    def settings(self) -> dict[str, Any]:
        """The hyperparameters as plain values."""
        return asdict(self)  # type: ignore[call-overload]


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
