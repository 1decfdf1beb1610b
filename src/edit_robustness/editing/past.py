"""The running total of a sequence of edits: computed from increments alone, so that a checkpoint is a replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from edit_robustness.editing.edits import Edit, NotRowwise, weights_changed
from edit_robustness.editing.edits.chain import hooked, protected, total_change
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.rows import Rows


@dataclass(frozen=True, eq=False)
class Past:
    """What earlier edits left behind; `past + edit` means `edit` after `past`.

    Attributes:
        changes: For each site the sum of the increments, (d_out, d_in) in float32, added in order.
        prefix: The earlier edits' words before every prompt.
        keys: For each site the keys that later edits shall leave alone, (keys, d_in).
        hooked: For each kind of edit that acts by hooks, the earlier edits of that kind as one.
    """

    changes: Mapping[Site, Tensor] = field(default_factory=dict)
    prefix: str = ""
    keys: Mapping[Site, Tensor] = field(default_factory=dict)
    hooked: Mapping[str, Edit] = field(default_factory=dict)

    def __add__(self, edit: Edit) -> Past:
        parts = edit.parts()
        return Past(
            total_change(parts, self.changes),
            self.prefix + edit.prefix,
            protected(parts, self.keys),
            hooked(parts, self.hooked),
        )

    @contextmanager
    def applied(self, lm: LanguageModel, rows: Rows | None = None) -> Iterator[LanguageModel]:
        """The model after all the edits, for the length of the block.

        Raises:
            NotRowwise: If single rows are meant.
        """
        if rows is not None:
            raise NotRowwise("a sequence of edits changes the weights, so it is asked by itself")
        with ExitStack() as stack:
            stack.enter_context(weights_changed(lm, self.changes))
            for edit in self.hooked.values():
                stack.enter_context(edit.applied(lm))
            yield lm
