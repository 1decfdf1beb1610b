"""No edit: the unedited model, the baseline of every comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic.dataclasses import dataclass

from edit_robustness.editing.edits import Frame
from edit_robustness.editing.method import Method
from edit_robustness.editing.past import Past
from edit_robustness.editing.prepared import Prepared
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT


@dataclass(frozen=True, config=STRICT)
class NoEdit(Method):
    """A baseline that leaves the model unchanged."""

    name: ClassVar[str] = "none"
    at_once: ClassVar[int | None] = None

    def increment(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared, past: Past) -> Frame:
        """Return an edit with an empty text."""
        return Frame()
