"""No edit: the unedited model, which every edit is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic.dataclasses import dataclass

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import PromptPrefix
from edit_robustness.editing.method import Method
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import UNEDITED, Fact
from edit_robustness.setting_types import STRICT


@dataclass(frozen=True, config=STRICT)
class Unedited(Method):
    """The method that leaves the model unchanged."""

    name: ClassVar[str] = UNEDITED
    batch_size: ClassVar[int | None] = None

    def increment(
        self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory
    ) -> PromptPrefix:
        """Return an edit with an empty text."""
        return PromptPrefix()
