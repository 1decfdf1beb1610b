"""Edits as a memory beside the model: facts as text, and the networks that retrieve and use them (SERAC)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edits.edit import Edit, NotCombined, NotRowwise
from edit_robustness.editing.serac.networks import Networks
from edit_robustness.editing.serac.routing import Entry, Router
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Rows


@dataclass(frozen=True, eq=False)
class ScopedMemory(Edit):
    """A memory of facts: a small model that reads a fact generates the tokens in its scope, the model all others.

    The weights are unchanged. A cache that is filled under the edit stores the tokens' ids beside keys and values.
    Without the edit they are not read.

    Attributes:
        memory: For each fact its prompt (with a slot for the subject), subject, new object and join.
        trained: Fingerprint of the networks that the memory needs.
        networks: Those networks (`with_artefact`); not part of the value, and not stored in its file.
    """

    kind: ClassVar[str] = "scoped"
    acts_by_hooks: ClassVar[bool] = True
    memory: tuple[Entry, ...]
    trained: str
    networks: Artefact | None = field(default=None, compare=False, repr=False)

    def with_artefact(self, artefact: Artefact) -> ScopedMemory:
        """Return the edit with its networks.

        Raises:
            ValueError: If they are not the networks that it was made with.
        """
        if artefact.fingerprint != self.trained:
            raise ValueError(
                f"a serac edit of {self.memory[0][1]} needs the networks {self.trained}, but got "
                f"{artefact.fingerprint or 'none'}: pass those that it was made with, or edit again"
            )
        return replace(self, networks=artefact)

    def then(self, later: ScopedMemory) -> ScopedMemory:
        """Return the memory with the later facts added; of two that are equally near, the later one applies.

        Raises:
            NotCombined: If the later memory needs other networks.
        """
        if later.trained != self.trained:
            raise NotCombined(
                f"serac edits with the networks {self.trained} and {later.trained} cannot share a memory; "
                "make them again with the same networks"
            )
        return replace(self, memory=self.memory + later.memory, networks=self.networks or later.networks)

    @contextmanager
    def apply_unchecked(self, lm: LanguageModel, rows: Rows | None) -> Iterator[None]:
        """Route tokens between the model and the small model, by hooks.

        Raises:
            NotRowwise: If rows are given.
            ValueError: If the edit has no networks.
        """
        if rows is not None:
            raise NotRowwise("a serac edit routes whole batches, so it must be evaluated by itself")
        if self.networks is None:
            raise ValueError(
                f"a serac edit of {self.memory[0][1]} cannot be applied without its networks: "
                "pass the method's artefact with edit.with_artefact(artefact)"
            )
        with Router(lm, Networks.of(lm, self.networks.tensors), self.memory).on():
            yield

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the memory as JSON, and the fingerprint of the networks."""
        return {}, {"memory": json.dumps(self.memory, ensure_ascii=False), "trained": self.trained}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> ScopedMemory:
        """Rebuild the edit from what `to_tensors` returned; edits of earlier releases have no join."""
        # edits of earlier releases have no join
        memory = tuple((*entry, None)[:4] for entry in json.loads(texts["memory"]))
        return cls(memory, texts["trained"])
