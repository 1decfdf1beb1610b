"""Editing one fact after another on the same model: a fold over increments, and its replay at any point.

An increment that cannot be made is an empty edit with the error beside it: a sequence keeps its length, and a collapse
is measured like all else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, NonNegativeInt, PositiveInt, model_validator
from pydantic.dataclasses import dataclass as validated

from edit_robustness.editing.edits import Edit, Frame
from edit_robustness.editing.files import NOT_FINITE, refuse_not_finite
from edit_robustness.editing.method import NOTHING, Method, Prepared, Unsolvable
from edit_robustness.editing.past import Past
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT, Listed


def _counted(checkpoints: tuple[int, ...]) -> tuple[int, ...]:
    """The checkpoints but 0, which is always measured."""
    counted = tuple(edits for edits in checkpoints if edits)
    if not counted or list(counted) != sorted(set(counted)):
        raise ValueError(f"checkpoints must ascend, each once, and go beyond 0: they are {list(checkpoints)}")
    return counted


@validated(frozen=True, config=STRICT)
class SequenceParameters:
    """A sequence of edits, and when it is looked at.

    Attributes:
        checkpoints: After how many edited facts the model is measured; the last says how many are edited. 0, the
            unedited model, is always measured.
        orders: In how many orders the facts are edited.
        seed: What facts and orders follow from.
        at_once: Facts an edit; a method that takes fewer takes as many as it can.
        retained: How many facts that the model knows are left unedited, and asked at every checkpoint.
        paraphrases: Paraphrases a fact, at most.
        neighbours: Probes per fact about other subjects of the same relation, at most.
        relation_specificity: Probes per fact about other relations of the same subject, at most.
        unrelated: Probes per fact about other subjects and other relations, at most.
    """

    checkpoints: Annotated[Listed[NonNegativeInt], AfterValidator(_counted)]
    orders: PositiveInt = 1
    seed: NonNegativeInt = 0
    at_once: PositiveInt = 1
    retained: NonNegativeInt = 24
    paraphrases: NonNegativeInt = 2
    neighbours: NonNegativeInt = 1
    relation_specificity: NonNegativeInt = 1
    unrelated: NonNegativeInt = 0

    @model_validator(mode="after")
    def _whole_edits(self) -> SequenceParameters:
        for edits in self.checkpoints:
            if edits % self.at_once:
                raise ValueError(
                    f"checkpoints: {edits} lies inside an edit of at_once: {self.at_once} facts; take multiples of it"
                )
        return self

    @property
    def length(self) -> int:
        """How many facts are edited."""
        return self.checkpoints[-1]

    def grouped(self, facts: Sequence[Fact], method: Method) -> list[Sequence[Fact]]:
        """The facts of each edit, in order."""
        size = min(self.at_once, method.at_once or self.at_once)
        return [facts[first : first + size] for first in range(0, len(facts), size)]


@dataclass(frozen=True)
class Step:
    """One edit of a sequence.

    Attributes:
        number: How many facts are edited after it.
        edit: The increment; an empty one where it failed.
        past: All that the model is after it.
        failed: The error in place of an increment; None where there is one.
        kept: Whether it was made before.
    """

    number: int
    edit: Edit
    past: Past
    failed: Exception | None = None
    kept: bool = False


def fold(
    lm: LanguageModel,
    method: Method,
    groups: Iterable[Sequence[Fact]],
    *,
    prepared: Prepared = NOTHING,
    kept: Mapping[int, Callable[[], Edit]] = MappingProxyType({}),
) -> Iterator[Step]:
    """One edit after another, each made on the model as all before it left it.

    Args:
        lm: The unedited model.
        method: The method.
        groups: The facts of each edit.
        prepared: What the method prepared.
        kept: For numbers of facts what reads the increment that was made there before; it is not made again. It is
            looked into step by step, so a caller can take increments out while the sequence is made.
    """
    past, number = Past(), 0
    for facts in groups:
        number += len(facts)
        if number in kept:
            edit = kept[number]().with_prepared(prepared)
            step = Step(number, edit, past + edit, kept=True)
        else:
            step = _made(lm, method, facts, prepared, past, number)
        yield step
        past = step.past


def _made(
    lm: LanguageModel, method: Method, facts: Sequence[Fact], prepared: Prepared, past: Past, number: int
) -> Step:
    try:
        with past.applied(lm):
            edit = method.edit(lm, facts, prepared=prepared, past=past)
        after = past + edit
        refuse_not_finite(edit)
        if not all(bool(change.isfinite().all()) for change in after.changes.values()):
            raise Unsolvable(NOT_FINITE)
    except Exception as error:  # noqa: BLE001 - whatever one edit raises must not lose the others
        return Step(number, Frame(), past, failed=error)
    return Step(number, edit, after)


def replayed(edits: Iterable[tuple[int, Callable[[], Edit]]], at: Collection[int]) -> Iterator[tuple[int, Past]]:
    """What a sequence left behind at some of its points, each increment read once and none after the last point.

    Args:
        edits: For each edit in order the number of facts edited after it, and what reads it.
        at: The points, in numbers of facts; 0 is the unedited model.
    """
    past, last = Past(), max(at, default=0)
    if 0 in at:
        yield 0, past
    for number, read in edits:
        if number > last:
            return
        past = past + read()
        if number in at:
            yield number, past
