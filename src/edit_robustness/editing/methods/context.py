"""The new fact as one sentence before every prompt: the baseline that every edit should beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic.dataclasses import dataclass

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import PromptPrefix
from edit_robustness.editing.method import Method
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.prompts.demonstrations import sentence
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT


@dataclass(frozen=True, config=STRICT)
class Context(Method):
    """A baseline that puts the new facts before the prompt, one sentence per fact."""

    name: ClassVar[str] = "context"
    batch_size: ClassVar[int | None] = None
    is_in_context: ClassVar[bool] = True

    def increment(
        self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory
    ) -> PromptPrefix:
        """Return the facts' sentences as text before prompts, each on its own line."""
        return PromptPrefix("".join(f"{sentence(fact)}\n" for fact in facts))
