"""Edits: immutable values that are applied to a model and removed again, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import MappingProxyType

from edit_robustness.editing.edits.chain import Chain
from edit_robustness.editing.edits.codebook import Codebook
from edit_robustness.editing.edits.edit import Appliable, Edit, NotCombined, NotRowwise, Origin, WrongModel
from edit_robustness.editing.edits.external import ExternalEdit
from edit_robustness.editing.edits.fact_memory import FactMemory, MemoryEntry
from edit_robustness.editing.edits.feature_statistics import FeatureStatistics
from edit_robustness.editing.edits.prompt_prefix import NO_EDIT, PromptPrefix
from edit_robustness.editing.edits.scoped import ScopedMemory
from edit_robustness.editing.edits.weights import Adam, AdamTrace, Dense, LowRank, WeightEdit, weights_changed
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Rows

__all__ = [
    "EDITS",
    "NO_EDIT",
    "Adam",
    "AdamTrace",
    "Appliable",
    "Chain",
    "Codebook",
    "Dense",
    "Edit",
    "ExternalEdit",
    "FactMemory",
    "FeatureStatistics",
    "LowRank",
    "MemoryEntry",
    "NotCombined",
    "NotRowwise",
    "Origin",
    "PromptPrefix",
    "ScopedMemory",
    "WeightEdit",
    "WrongModel",
    "all_applied",
    "weights_changed",
]

EDITS: Mapping[str, type[Edit]] = MappingProxyType(
    {
        kind.kind: kind
        for kind in (
            *(LowRank, Dense, AdamTrace, PromptPrefix, Codebook, ScopedMemory, FactMemory, FeatureStatistics),
            *(Chain, ExternalEdit),
        )
    }
)
"""Every kind of edit that can be stored in a file."""

Edit.in_order, Edit.kinds = Chain, EDITS


@contextmanager
def all_applied(lm: LanguageModel, edits: Sequence[Appliable], rows: Sequence[Rows]) -> Iterator[LanguageModel]:
    """Apply several edits to one batch, each to its own rows."""
    with ExitStack() as stack:
        for edit, edit_rows in zip(edits, rows, strict=True):
            stack.enter_context(edit.applied(lm, edit_rows))
        yield lm
