"""The new fact as one sentence before every prompt: the baseline that every edit should beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic.dataclasses import dataclass

from edit_robustness.editing.edits import Frame
from edit_robustness.editing.method import Method
from edit_robustness.editing.past import Past
from edit_robustness.editing.prepared import Prepared
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.prompts.demonstrations import sentence
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT


@dataclass(frozen=True, config=STRICT)
class Context(Method):
    """A baseline that puts the new facts before the prompt, one sentence per fact."""

    name: ClassVar[str] = "context"
    at_once: ClassVar[int | None] = None
    in_words: ClassVar[bool] = True

    def increment(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared, past: Past) -> Frame:
        """Return the facts' sentences as text before prompts, each on its own line."""
        return Frame("".join(f"{sentence(fact)}\n" for fact in facts))
