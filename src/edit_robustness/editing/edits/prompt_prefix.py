"""In-context edits: text before every prompt, with unchanged weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from edit_robustness.editing.edits.edit import Edit
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Rows


@dataclass(frozen=True)
class PromptPrefix(Edit):
    """Text before every prompt (in-context editing); with an empty text, no edit at all.

    The model is left as it is. The caller puts `text_before` before each prompt.

    Attributes:
        words: The text.
    """

    kind: ClassVar[str] = "prompt_prefix"
    words: str = ""

    @property
    def acts_in_context(self) -> bool:
        """Return whether there is any text."""
        return bool(self.words)

    def text_before(self, prompt: str) -> str:
        """Return the text, the same before every prompt."""
        return self.words

    def then(self, later: PromptPrefix) -> PromptPrefix:
        """Return the text followed by that of the later edit."""
        return replace(self, words=self.words + later.words)

    def apply_unchecked(self, lm: LanguageModel, rows: Rows | None) -> nullcontext[None]:
        """Return an empty context: the model does not change."""
        return nullcontext()

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the text."""
        return {}, {"words": self.words}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> PromptPrefix:
        """Rebuild the edit from what `to_tensors` returned."""
        return cls(texts["words"])


NO_EDIT = PromptPrefix()
"""Changes neither the model nor a prompt."""
