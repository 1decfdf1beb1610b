"""Sequential editing, one fact after another on the same model: a fold over increments, and its replay at any point.

If an increment cannot be computed, the sequence contains an empty edit with the error beside it. So the sequence keeps
its length, and a collapse of the model is measured like everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, NonNegativeInt, PositiveInt, model_validator
from pydantic.dataclasses import dataclass as validated

from edit_robustness.editing.artefacts import NO_ARTEFACT, Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import Edit, PromptPrefix
from edit_robustness.editing.files import NOT_FINITE, refuse_not_finite
from edit_robustness.editing.method import Method, Unsolvable
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT, ListSetting


def _check_checkpoints(checkpoints: tuple[int, ...]) -> tuple[int, ...]:
    """Return the checkpoints without 0, which is always measured, after checking that they ascend."""
    counts = tuple(edits for edits in checkpoints if edits)
    if not counts or list(counts) != sorted(set(counts)):
        raise ValueError(f"checkpoints must ascend strictly and go beyond 0; they are {list(checkpoints)}")
    return counts


@validated(frozen=True, config=STRICT)
class SequenceParameters:
    """A sequence of edits, and the checkpoints at which it is measured.

    Attributes:
        checkpoints: Numbers of edited facts after which the model is measured; the last is the length of the sequence.
            0, the unedited model, is always measured.
        orders: Number of orders in which the facts are edited.
        seed: Seed of the choice of facts and of the orders.
        batch_size: Number of facts per edit. Clamped to what the method supports.
        retention_facts: Number of facts known to the model that are left unedited and asked at every checkpoint.
        paraphrases: Maximum number of paraphrases per fact.
        neighbours: Maximum number of probes per fact about other subjects of the same relation.
        relation_specificity: Maximum number of probes per fact about other relations of the same subject.
        unrelated: Maximum number of probes per fact about other subjects and other relations.
    """

    checkpoints: Annotated[ListSetting[NonNegativeInt], AfterValidator(_check_checkpoints)]
    orders: PositiveInt = 1
    seed: NonNegativeInt = 0
    batch_size: PositiveInt = 1
    retention_facts: NonNegativeInt = 24
    paraphrases: NonNegativeInt = 2
    neighbours: NonNegativeInt = 1
    relation_specificity: NonNegativeInt = 1
    unrelated: NonNegativeInt = 0

    @model_validator(mode="after")
    def _check_whole_edits(self) -> SequenceParameters:
        for edits in self.checkpoints:
            if edits % self.batch_size:
                raise ValueError(
                    f"checkpoints: {edits} is inside an edit of {self.batch_size} facts; use multiples of "
                    "batch_size, or another batch_size"
                )
        return self

    @property
    def length(self) -> int:
        """Return the number of facts that are edited."""
        return self.checkpoints[-1]

    def group(self, facts: Sequence[Fact], method: Method) -> list[Sequence[Fact]]:
        """Return the facts of each edit, in order."""
        size = min(self.batch_size, method.batch_size or self.batch_size)
        return [facts[first : first + size] for first in range(0, len(facts), size)]


@dataclass(frozen=True)
class Step:
    """One edit of a sequence.

    Attributes:
        number: Number of edited facts after it.
        edit: The increment; an empty edit if it failed.
        history: The state of the sequence after it.
        error: The error that took the place of an increment; None if there is an increment.
        is_stored: Whether the increment was read from an earlier run.
    """

    number: int
    edit: Edit
    history: EditHistory
    error: Exception | None = None
    is_stored: bool = False


def edit_sequence(
    lm: LanguageModel,
    method: Method,
    groups: Iterable[Sequence[Fact]],
    *,
    artefact: Artefact = NO_ARTEFACT,
    stored_edits: Mapping[int, Callable[[], Edit]] = MappingProxyType({}),
) -> Iterator[Step]:
    """Edit one group of facts after another, each on the model with all earlier edits applied.

    Args:
        lm: The unedited model.
        method: The method.
        groups: The facts of each edit.
        artefact: What the method prepared.
        stored_edits: For each number of facts after which an increment is stored, a function that reads it. Stored
            increments are not recomputed. The mapping is looked up at every step, so a caller may remove entries while
            the sequence is made.
    """
    history, number = EditHistory(), 0
    with method.opened(lm) as open_method:
        for facts in groups:
            number += len(facts)
            if number in stored_edits:
                edit = stored_edits[number]().with_artefact(artefact)
                step = Step(number, edit, history + edit, is_stored=True)
            else:
                step = _make_step(lm, open_method, facts, artefact, history, number)
            yield step
            history = step.history


def _make_step(
    lm: LanguageModel, method: Method, facts: Sequence[Fact], artefact: Artefact, history: EditHistory, number: int
) -> Step:
    try:
        with history.applied(lm):
            edit = method.edit(lm, facts, artefact=artefact, history=history)
        new_history = history + edit
        refuse_not_finite(edit)
        if not all(bool(change.isfinite().all()) for change in new_history.changes.values()):
            raise Unsolvable(NOT_FINITE)
    except Exception as error:  # noqa: BLE001 - an error of one edit must not lose the others
        return Step(number, PromptPrefix(), history, error=error)
    return Step(number, edit, new_history)


def replay(
    edits: Iterable[tuple[int, Callable[[], Edit]]], points: Collection[int]
) -> Iterator[tuple[int, EditHistory]]:
    """Replay a sequence and yield its state at some points.

    Each increment is read once, and none after the last point.

    Args:
        edits: For each edit in order the number of facts edited after it, and a function that reads it.
        points: The points, in numbers of facts; 0 is the unedited model.
    """
    history, last = EditHistory(), max(points, default=0)
    if 0 in points:
        yield 0, history
    for number, load in edits:
        if number > last:
            return
        history = history + load()
        if number in points:
            yield number, history
