"""The state of a sequence of edits, computed from increments alone, so that a checkpoint is a replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from edit_robustness.editing.edits import Edit, NotRowwise, weights_changed
from edit_robustness.editing.edits.chain import collect_protected_keys, combine_edits, join_texts, total_change
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.rows import Rows


@dataclass(frozen=True, eq=False)
class EditHistory:
    """The state after earlier edits; `history + edit` is the state after `edit` too.

    Attributes:
        changes: For each site the sum of the increments, (d_out, d_in) in float32, added in order.
        keys: For each site the keys whose outputs later edits should not change, (keys, d_in).
        combined_edits: For each kind of edit that acts by hooks or in context, the earlier edits of that kind as one.
    """

    changes: Mapping[Site, Tensor] = field(default_factory=dict)
    keys: Mapping[Site, Tensor] = field(default_factory=dict)
    combined_edits: Mapping[str, Edit] = field(default_factory=dict)

    def __add__(self, edit: Edit) -> EditHistory:
        parts = edit.parts()
        return EditHistory(
            total_change(parts, self.changes),
            collect_protected_keys(parts, self.keys),
            combine_edits(parts, self.combined_edits),
        )

    def text_before(self, prompt: str) -> str:
        """Return the text of the edits that act in context, as `Edit.text_before`."""
        return join_texts(self.combined_edits, prompt)

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
            for edit in self.combined_edits.values():
                stack.enter_context(edit.applied(lm))
            yield lm
