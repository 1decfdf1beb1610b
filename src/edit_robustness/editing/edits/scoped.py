"""Edits as a memory beside the model: facts in words, and the networks that find and use them (SERAC)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from edit_robustness.editing.edits.edit import Edit, NotCombined, NotRowwise
from edit_robustness.editing.serac.networks import Networks
from edit_robustness.editing.serac.routing import Entry, Router
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Rows

if TYPE_CHECKING:
    from edit_robustness.editing.method import Prepared


@dataclass(frozen=True, eq=False)
class Scoped(Edit):
    """A memory of facts: a token in the scope of one is said by a small model that is told it, others by the model.

    The weights are untouched. A cache that is filled under the edit keeps the tokens' ids beside keys and values;
    without the edit they are never read.

    Attributes:
        memory: Each fact's prompt (a slot for the subject), subject and new object.
        trained: Fingerprint of the networks that the memory needs.
        networks: Those networks (`with_prepared`); no part of the value, and never in its file.
    """

    kind: ClassVar[str] = "scoped"
    acts_by_hooks: ClassVar[bool] = True
    memory: tuple[Entry, ...]
    trained: str
    networks: Prepared | None = field(default=None, compare=False, repr=False)

    def with_prepared(self, prepared: Prepared) -> Scoped:
        """The edit with its networks.

        Raises:
            ValueError: If they are not those that it was made with.
        """
        if prepared.fingerprint != self.trained:
            raise ValueError(
                f"a serac edit of {self.memory[0][1]} needs the networks {self.trained}, and was given "
                f"{prepared.fingerprint or 'none'}: give it those that it was made with, or edit again"
            )
        return replace(self, networks=prepared)

    def then(self, later: Scoped) -> Scoped:
        """The memory with the later facts; of two that are equally near, the later one counts."""
        if later.trained != self.trained:
            raise NotCombined(
                f"serac edits with the networks {self.trained} and {later.trained} cannot share a memory; "
                "make them again with the same networks"
            )
        return replace(self, memory=self.memory + later.memory, networks=self.networks or later.networks)

    @contextmanager
    def put_on(self, lm: LanguageModel, rows: Rows | None) -> Iterator[None]:
        """See `Edit.put_on`."""
        if rows is not None:
            raise NotRowwise("a serac edit routes whole batches; ask it by itself")
        if self.networks is None:
            raise ValueError(
                f"a serac edit of {self.memory[0][1]} cannot act without its networks; "
                "give it what the method prepared: edit.with_prepared(prepared)"
            )
        with Router(lm, Networks.of(lm, self.networks.tensors), self.memory).on():
            yield

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """See `Edit.to_tensors`."""
        return {}, {"memory": json.dumps(self.memory, ensure_ascii=False), "trained": self.trained}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> Scoped:
        """See `Edit.from_tensors`."""
        # edits of earlier releases hold no join
        memory = tuple((*entry, None)[:4] for entry in json.loads(texts["memory"]))
        return cls(memory, texts["trained"])
