"""The running total of a sequence of edits: computed from increments alone, so that a checkpoint is a replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from edit_robustness.editing.edits import Edit, weights_changed
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site


@dataclass(frozen=True, eq=False)
class Past:
    """What earlier edits left behind; `past + edit` means `edit` after `past`.

    Attributes:
        changes: For each site the sum of the increments, (d_out, d_in) in float32, added in order.
        prefix: The earlier edits' words before every prompt.
    """

    changes: Mapping[Site, Tensor] = field(default_factory=dict)
    prefix: str = ""

    def __add__(self, edit: Edit) -> Past:
        changes = dict(self.changes)
        for site, change in edit.dense().items():
            changes[site] = changes[site] + change if site in changes else change
        return Past(changes, self.prefix + edit.prefix)

    @contextmanager
    def applied(self, lm: LanguageModel) -> Iterator[LanguageModel]:
        """The model after all the edits, for the length of the block."""
        with weights_changed(lm, self.changes):
            yield lm
