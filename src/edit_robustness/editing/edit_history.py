"""The state of a sequence of edits, computed from increments alone, so that a checkpoint is a replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from edit_robustness.editing.edits import Edit, NotRowwise, weights_changed
from edit_robustness.editing.edits.chain import collect_protected_keys, combine_hook_edits, total_change
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.rows import Rows


@dataclass(frozen=True, eq=False)
class EditHistory:
    """The state after earlier edits; `history + edit` is the state after `edit` too.

    Attributes:
        changes: For each site the sum of the increments, (d_out, d_in) in float32, added in order.
        prefix: The earlier edits' text before every prompt.
        keys: For each site the keys whose outputs later edits should not change, (keys, d_in).
        hook_edits: For each kind of edit that acts by hooks, the earlier edits of that kind as one.
    """

    changes: Mapping[Site, Tensor] = field(default_factory=dict)
    prefix: str = ""
    keys: Mapping[Site, Tensor] = field(default_factory=dict)
    hook_edits: Mapping[str, Edit] = field(default_factory=dict)

    def __add__(self, edit: Edit) -> EditHistory:
        parts = edit.parts()
        return EditHistory(
            total_change(parts, self.changes),
            self.prefix + edit.prefix,
            collect_protected_keys(parts, self.keys),
            combine_hook_edits(parts, self.hook_edits),
        )

    @contextmanager
    def applied(self, lm: LanguageModel, rows: Rows | None = None) -> Iterator[LanguageModel]:
        """Apply all the edits to the model inside the block.

        Raises:
            NotRowwise: If rows are given.
        """
        if rows is not None:
            raise NotRowwise("a sequence of edits changes the weights, so it must be evaluated by itself")
        with ExitStack() as stack:
            stack.enter_context(weights_changed(lm, self.changes))
            for edit in self.hook_edits.values():
                stack.enter_context(edit.applied(lm))
            yield lm
