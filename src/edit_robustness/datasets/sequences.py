"""Sequences of edits in their folders, and the replay at the checkpoints.

Every file of a sequence holds in its header to which `order` it belongs and after how many `edits` it was made. Its key
is made of these, so that it is unique in its folder, and is never taken apart again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from edit_robustness.datasets.folders import StoredItem
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edit_sequence import SequenceParameters, replay
from edit_robustness.editing.edits import Edit, PromptPrefix
from edit_robustness.editing.fingerprints import fingerprint


def edit_key(order: int, number: int) -> str:
    """Return the name of the increment after which so many facts are edited."""
    return f"{order}.{number:05d}"


def place(order: int, edits: int) -> dict[str, int]:
    """Return the header fields that locate a file of a sequence: the order, and the number of edited facts."""
    return {"order": order, "edits": edits}


def order_of(item: StoredItem[Any]) -> int:
    """Return the order that a file of a sequence belongs to."""
    return int(item.header["order"])


def edits_of(item: StoredItem[Any]) -> int:
    """Return after how many edited facts a file of a sequence was made."""
    return int(item.header["edits"])


@dataclass(frozen=True)
class Checkpoint:
    """A point of a sequence where the model is measured.

    Attributes:
        order: Of the facts.
        edits: How many facts are edited; 0 is the unedited model.
        fingerprint: Of the last increment, and with it of all before it and of which of them failed; empty for the
            unedited model.
        prefix_tokens: Tokens that the edits so far put before the statement of an edited fact, on average.
    """

    order: int = 0
    edits: int = 0
    fingerprint: str = ""
    prefix_tokens: int = 0

    @property
    def key(self) -> str:
        """Return what files of this checkpoint are called."""
        return f"{self.order}.{self.edits}"

    @property
    def place(self) -> dict[str, int]:
        """Return the header fields that locate a file of a sequence: the order, and the number of edited facts."""
        return place(self.order, self.edits)


def checkpoints(edits: Mapping[str, StoredItem[Edit]] | None, settings: SequenceParameters) -> list[Checkpoint]:
    """Return the checkpoints of every order of a folder of increments; without a folder the unedited model alone."""
    if edits is None:
        return [Checkpoint()]
    points = []
    for order in range(settings.orders):
        for number in settings.checkpoints:
            last = edits[edit_key(order, number)]
            outcome = after(last.fingerprint, is_failed=bool(last.failure))
            points.append(Checkpoint(order, number, outcome, last.header["prefix_tokens"]))
    return points


def after(name: str, *, is_failed: bool) -> str:
    """Return the fingerprint of a sequence after an increment of this fingerprint, made or failed.

    What comes after a failed increment is something else than what comes after one that was made.
    """
    return fingerprint(name, "failed") if is_failed else name


def replays(
    edits: Mapping[str, StoredItem[Edit]] | None,
    points: Sequence[Checkpoint],
    artefacts: Mapping[str, StoredItem[Artefact]] | None = None,
) -> Iterator[tuple[Checkpoint, EditHistory]]:
    """Yield what the edits left behind at each of these checkpoints; every increment of an order is read once.

    Args:
        edits: The increments, in order.
        points: The checkpoints, order by order.
        artefacts: What the method prepared, where its edits cannot be applied without it.
    """
    artefact = next((item.read() for item in (artefacts or {}).values()), None)
    for order, order_points in groupby(points, key=lambda checkpoint: checkpoint.order):
        at = {checkpoint.edits: checkpoint for checkpoint in order_points}
        steps = [(number, partial(_read, item, artefact)) for number, item in _of_order(edits or {}, order)]
        for number, history in replay(steps, at):
            yield at[number], history


def _of_order(edits: Mapping[str, StoredItem[Edit]], order: int) -> Iterator[tuple[int, StoredItem[Edit]]]:
    return ((edits_of(item), item) for item in edits.values() if order_of(item) == order)


def _read(item: StoredItem[Edit], artefact: Artefact | None) -> Edit:
    if item.failure:
        return PromptPrefix()
    return item.read() if artefact is None else item.read().with_artefact(artefact)
