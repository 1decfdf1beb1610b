"""A chain of edits, one after the other, as a single edit: the value of `a + b`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edits.edit import Edit, Origin
from edit_robustness.editing.edits.weights import WeightEdit, weights_changed
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.rows import Rows


@dataclass(frozen=True, eq=False)
class Chain(Edit):
    """Edits in order. Weight changes are added in that order, as in a sequence of edits.

    Attributes:
        edits: At least two, none of them a chain.
    """

    kind: ClassVar[str] = "chain"
    edits: tuple[Edit, ...]

    @property
    def acts_in_context(self) -> bool:
        """Return whether one of the edits does."""
        return any(edit.acts_in_context for edit in self.edits)

    def text_before(self, prompt: str) -> str:
        """Return the text of the edits that act in context."""
        return join_texts(self._combined, prompt)

    @property
    def protected_keys(self) -> Mapping[Site, Tensor]:
        """Return the protected keys of all the edits."""
        return collect_protected_keys(self.edits)

    def parts(self) -> tuple[Edit, ...]:
        """Return the edits in order."""
        return self.edits

    def check_model(self, lm: LanguageModel) -> None:
        """Check the model against the chain's own origin, and every part."""
        super().check_model(lm)
        for edit in self.edits:
            edit.check_model(lm)

    def with_origin(self, origin: Origin) -> Chain:
        """Return the chain with an origin, which its parts without one get, too: in a longer chain they stand alone."""
        edits = tuple(edit if edit.origin else edit.with_origin(origin) for edit in self.edits)
        return Chain(edits, origin=origin)

    def dense(self) -> dict[Site, Tensor]:
        """Return the sum of the edits' weight changes."""
        return total_change(self.edits)

    def with_artefact(self, artefact: Artefact) -> Chain:
        """Return the chain with the artefact passed to every part."""
        return Chain(tuple(edit.with_artefact(artefact) for edit in self.edits), origin=self.origin)

    @contextmanager
    def apply_unchecked(self, lm: LanguageModel, rows: Rows | None) -> Iterator[None]:
        """Apply the weight changes, as one sum or by rows, and one combined edit for each other kind."""
        with ExitStack() as stack:
            if rows is None:
                stack.enter_context(weights_changed(lm, self.dense()))
            else:
                for edit in self.edits:
                    if isinstance(edit, WeightEdit):
                        stack.enter_context(edit.apply_unchecked(lm, rows))
            for edit in self._combined.values():
                stack.enter_context(edit.apply_unchecked(lm, rows))
            yield

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the tensors of all parts under numbered names, and a JSON header for each part."""
        tensors, texts = {}, {}
        for number, edit in enumerate(self.edits):
            part_tensors, words = edit.to_tensors()
            tensors.update({f"{number}/{name}": tensor for name, tensor in part_tensors.items()})
            entry = {"kind": edit.kind, "texts": words, "origin": edit.origin.plain() if edit.origin else None}
            texts[str(number)] = json.dumps(entry, ensure_ascii=False)
        return tensors, texts

    @cached_property
    def _combined(self) -> Mapping[str, Edit]:
        """Return one edit for each kind that is combined, once for all prompts."""
        return combine_edits(self.edits)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> Chain:
        """Rebuild the chain from what `to_tensors` returned."""
        edits: list[Edit] = []
        for number in range(len(texts)):
            entry, mark = json.loads(texts[str(number)]), f"{number}/"
            part_tensors = {
                name.removeprefix(mark): tensor for name, tensor in tensors.items() if name.startswith(mark)
            }
            edit = Edit.kinds[entry["kind"]].from_tensors(part_tensors, entry["texts"])
            edits.append(edit.with_origin(Origin.parse(entry["origin"])) if entry["origin"] else edit)
        return cls(tuple(edits))


def total_change(edits: Iterable[Edit], before: Mapping[Site, Tensor] | None = None) -> dict[Site, Tensor]:
    """Add up the edits' changes at each site, one by one in order, on top of `before`."""
    total = dict(before or {})
    for edit in edits:
        for site, change in edit.dense().items():
            total[site] = total[site] + change if site in total else change
    return total


def collect_protected_keys(edits: Iterable[Edit], before: Mapping[Site, Tensor] | None = None) -> dict[Site, Tensor]:
    """Collect the keys that the edits protect at each site, in order, after those of `before`."""
    keys = dict(before or {})
    for edit in edits:
        for site, new_keys in edit.protected_keys.items():
            keys[site] = torch.cat([keys[site], new_keys]) if site in keys else new_keys
    return keys


def combine_edits(edits: Iterable[Edit], before: Mapping[str, Edit] | None = None) -> dict[str, Edit]:
    """Combine edits that act by hooks or in context, or keep state, into one of each kind, on top of `before`."""
    by_kind = dict(before or {})
    for edit in edits:
        if edit.acts_by_hooks or edit.acts_in_context or edit.keeps_state:
            by_kind[edit.kind] = by_kind[edit.kind].then(edit) if edit.kind in by_kind else edit
    return by_kind


def join_texts(by_kind: Mapping[str, Edit], prompt: str) -> str:
    """Return the text that combined edits put before a prompt, the kind that came first at the beginning."""
    return "".join(edit.text_before(prompt) for edit in by_kind.values())
