"""Edits of words: text before every prompt, weights untouched."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from edit_robustness.editing.edits.edit import Edit
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Rows


@dataclass(frozen=True)
class Frame(Edit):
    """Words before every prompt: in-context editing, and with no words no edit at all.

    The model is left alone; whoever asks puts `prefix` before the prompt.

    Attributes:
        words: The text.
    """

    kind: ClassVar[str] = "frame"
    words: str = ""

    @property
    def prefix(self) -> str:
        """See `Edit.prefix`."""
        return self.words

    def put_on(self, lm: LanguageModel, rows: Rows | None) -> nullcontext[None]:
        """See `Edit.put_on`."""
        return nullcontext()

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """See `Edit.to_tensors`."""
        return {}, {"words": self.words}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> Frame:
        """See `Edit.from_tensors`."""
        return cls(texts["words"])
