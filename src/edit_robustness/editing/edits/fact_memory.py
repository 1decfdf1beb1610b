"""Edits as a memory of facts: before each prompt stand those facts of the memory that the prompt is about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

from torch import Tensor

from edit_robustness.editing.edits.edit import Edit, NotCombined
from edit_robustness.editing.retrieval import Index, Scored
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Rows

Key = Literal["subject", "statement"]
"""The text of a fact that prompts are compared with."""


@dataclass(frozen=True)
class MemoryEntry:
    """A fact in a memory.

    Attributes:
        names: Names of its subject, the one of the statement first.
        relation: Its relation.
        statement: The statement up to the object.
        sentence: The new fact as a sentence, which stands before prompts.
    """

    names: tuple[str, ...]
    relation: str
    statement: str
    sentence: str

    @property
    def identities(self) -> frozenset[tuple[str, ...]]:
        """Return what a later fact has in common with this one if it replaces it."""
        return frozenset({(self.names[0], self.relation), (self.statement,)})


@dataclass(frozen=True)
class FactMemory(Edit):
    """A memory of facts, of which the closest ones stand before a prompt (`editing.retrieval`). No weight changes.

    The most similar fact comes last, next to the prompt, as in IKE. A prompt that is close to no fact gets no text. A
    fact replaces an earlier one of the same subject and relation, or of the same statement.

    Attributes:
        entries: The facts, in the order of their edits, without those that a later one replaces (`latest_entries`).
        shown: Maximum number of facts before a prompt.
        threshold: Smallest share of the words of a key that a prompt must contain, above 0 and up to 1.
        key: The text of a fact that prompts are compared with: the names of its `subject`, or its `statement`.
    """

    kind: ClassVar[str] = "fact_memory"
    entries: tuple[MemoryEntry, ...]
    shown: int
    threshold: float
    key: Key

    @property
    def acts_in_context(self) -> bool:
        """Return whether there is any fact."""
        return bool(self.entries)

    def text_before(self, prompt: str) -> str:
        """Return the sentences of the closest facts, each on its own line and the closest last."""
        return "".join(f"{self.entries[fact.number].sentence}\n" for fact in reversed(self.retrieve(prompt)))

    def retrieve(self, prompt: str) -> list[Scored]:
        """Return the facts that stand before a prompt, the closest first; of two that are equally close the later."""
        return self._index.search(prompt, threshold=self.threshold, limit=self.shown)

    def apply_unchecked(self, lm: LanguageModel, rows: Rows | None) -> nullcontext[None]:
        """Return an empty context: the model does not change."""
        return nullcontext()

    def then(self, later: FactMemory) -> FactMemory:
        """Return the memory with the later facts, which replace those of the same subject and relation.

        Raises:
            NotCombined: If the later memory is searched with other settings.
        """
        settings, later_settings = ((edit.shown, edit.threshold, edit.key) for edit in (self, later))
        if later_settings != settings:
            raise NotCombined(
                f"memories with the settings (shown, threshold, key) {settings} and {later_settings} cannot be joined: "
                "edit with the same settings of retrieve"
            )
        return replace(self, entries=latest_entries((*self.entries, *later.entries)))

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the facts and the settings as JSON."""
        entries = json.dumps([astuple(entry) for entry in self.entries], ensure_ascii=False)
        return {}, {"entries": entries, "settings": json.dumps([self.shown, self.threshold, self.key])}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> FactMemory:
        """Rebuild the memory from what `to_tensors` returned."""
        rows = json.loads(texts["entries"])
        entries = tuple(MemoryEntry(tuple(names), *sentences) for names, *sentences in rows)
        return cls(entries, *json.loads(texts["settings"]))

    @cached_property
    def _index(self) -> Index:
        keys = [entry.names if self.key == "subject" else (entry.statement,) for entry in self.entries]
        return Index(keys, [entry.statement for entry in self.entries])


def latest_entries(entries: Sequence[MemoryEntry]) -> tuple[MemoryEntry, ...]:
    """Return the facts that no later one replaces, in order."""
    latest: list[MemoryEntry] = []
    identities: set[tuple[str, ...]] = set()
    for entry in reversed(entries):
        if identities.isdisjoint(entry.identities):
            latest.append(entry)
            identities |= entry.identities
    return tuple(reversed(latest))
