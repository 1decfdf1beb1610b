"""Edits one after the other, as one edit: what `a + b` gives."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from edit_robustness.editing.edits.edit import Edit, Origin
from edit_robustness.editing.edits.weights import WeightEdit, weights_changed
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.rows import Rows

if TYPE_CHECKING:
    from edit_robustness.editing.method import Prepared


@dataclass(frozen=True, eq=False)
class Chain(Edit):
    """Edits in order; `+` means "then", and weights are added in that order, as a sequence of edits adds them.

    Attributes:
        edits: At least two, none of them a chain.
    """

    kind: ClassVar[str] = "chain"
    edits: tuple[Edit, ...]

    @property
    def prefix(self) -> str:
        """See `Edit.prefix`."""
        return "".join(edit.prefix for edit in self.edits)

    @property
    def protects(self) -> Mapping[Site, Tensor]:
        """See `Edit.protects`."""
        return protected(self.edits)

    def parts(self) -> tuple[Edit, ...]:
        """See `Edit.parts`."""
        return self.edits

    def check_model(self, lm: LanguageModel) -> None:
        """See `Edit.check_model`; every part is checked."""
        for edit in self.edits:
            edit.check_model(lm)

    def dense(self) -> dict[Site, Tensor]:
        """See `Edit.dense`."""
        return total_change(self.edits)

    def with_prepared(self, prepared: Prepared) -> Chain:
        """See `Edit.with_prepared`."""
        return Chain(tuple(edit.with_prepared(prepared) for edit in self.edits), origin=self.origin)

    @contextmanager
    def put_on(self, lm: LanguageModel, rows: Rows | None) -> Iterator[None]:
        """See `Edit.put_on`."""
        with ExitStack() as stack:
            if rows is None:
                stack.enter_context(weights_changed(lm, self.dense()))
            else:
                for edit in self.edits:
                    if isinstance(edit, WeightEdit):
                        stack.enter_context(edit.put_on(lm, rows))
            for edit in hooked(self.edits).values():
                stack.enter_context(edit.put_on(lm, rows))
            yield

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """See `Edit.to_tensors`."""
        tensors, texts = {}, {}
        for number, edit in enumerate(self.edits):
            own, words = edit.to_tensors()
            tensors.update({f"{number}/{name}": tensor for name, tensor in own.items()})
            held = {"kind": edit.kind, "texts": words, "origin": edit.origin.plain() if edit.origin else None}
            texts[str(number)] = json.dumps(held, ensure_ascii=False)
        return tensors, texts

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> Chain:
        """See `Edit.from_tensors`."""
        from edit_robustness.editing.edits import EDITS  # the table holds this class too

        edits: list[Edit] = []
        for number in range(len(texts)):
            held, mark = json.loads(texts[str(number)]), f"{number}/"
            own = {name.removeprefix(mark): tensor for name, tensor in tensors.items() if name.startswith(mark)}
            edit = EDITS[held["kind"]].from_tensors(own, held["texts"])
            edits.append(edit.signed(Origin.parse(held["origin"])) if held["origin"] else edit)
        return cls(tuple(edits))


def total_change(edits: Iterable[Edit], before: Mapping[Site, Tensor] | None = None) -> dict[Site, Tensor]:
    """The sum of the edits' changes at each site, added one by one in order, on top of `before`."""
    total = dict(before or {})
    for edit in edits:
        for site, change in edit.dense().items():
            total[site] = total[site] + change if site in total else change
    return total


def protected(edits: Iterable[Edit], before: Mapping[Site, Tensor] | None = None) -> dict[Site, Tensor]:
    """The keys that the edits protect at each site, in order, after those of `before`."""
    keys = dict(before or {})
    for edit in edits:
        for site, own in edit.protects.items():
            keys[site] = torch.cat([keys[site], own]) if site in keys else own
    return keys


def hooked(edits: Iterable[Edit], before: Mapping[str, Edit] | None = None) -> dict[str, Edit]:
    """Edits that act by hooks, put together to one of each kind, on top of `before`."""
    together = dict(before or {})
    for edit in edits:
        if edit.acts_by_hooks:
            together[edit.kind] = together[edit.kind].then(edit) if edit.kind in together else edit
    return together
