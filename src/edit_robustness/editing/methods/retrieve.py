"""Edits as a memory: before each prompt stand the edited facts that it is about, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import FactMemory, MemoryEntry
from edit_robustness.editing.edits.fact_memory import Key, latest_entries
from edit_robustness.editing.method import Method
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.prompts.demonstrations import sentence
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT


@dataclass(frozen=True, config=STRICT)
class Retrieve(Method):
    """A baseline that retrieves the edited facts that a prompt is about and puts them before it, one sentence each.

    After one edit this is `context` with a threshold. After many edits it keeps the text before a prompt short, and
    prompts about other things get none. `editing.retrieval` defines which facts are close to a prompt. Nothing is
    learned, so that the first edit of a memory is retrieved as the last one.

    Attributes:
        shown: Maximum number of facts before a prompt, the closest last.
        threshold: Smallest share of the words of a fact's key that a prompt must contain.
        key: The text of a fact that prompts are compared with: the names of its `subject` with its aliases, or its
            `statement`.
    """

    name: ClassVar[str] = "retrieve"
    batch_size: ClassVar[int | None] = None
    is_in_context: ClassVar[bool] = True

    shown: PositiveInt = 3
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    key: Key = "subject"

    def increment(
        self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory
    ) -> FactMemory:
        """Return the memory of these facts; that of a sequence is combined from its edits."""
        entries = [
            MemoryEntry((fact.subject, *fact.subject_aliases), fact.relation, fact.statement, sentence(fact))
            for fact in facts
        ]
        return FactMemory(latest_entries(entries), self.shown, self.threshold, self.key)
