"""Edits made elsewhere, asked the same questions: any folder of an edited model, or a LoRA adapter in PEFT's files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

from pydantic import StringConstraints
from pydantic.dataclasses import dataclass

from edit_robustness.editing.edits import Checkpoint
from edit_robustness.editing.method import Method, Prepared
from edit_robustness.editing.past import Past
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT


@dataclass(frozen=True, config=STRICT)
class MadeElsewhere(Method):
    """Makes nothing: the edit of a fact is what lies in its folder.

    Attributes:
        path: The folder, relative to the project. `{fact_id}` in it stands for the fact's id, where each fact has a
            folder of its own, and `{model}` for the model's name; without `{fact_id}` all facts share one folder.
    """

    name: ClassVar[str] = "checkpoint"
    at_once: ClassVar[int | None] = None

    path: Annotated[str, StringConstraints(min_length=1)]

    def increment(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared, past: Past) -> Checkpoint:
        """The folder of these facts.

        Raises:
            ValueError: If they have several.
        """
        folders = {self._folder(lm, fact) for fact in facts}
        if len(folders) > 1:
            raise ValueError(
                f"methods.checkpoint.{lm.name}.path has one folder per fact (`{{fact_id}}`), and {len(facts)} facts "
                "are edited at once: set sequence.at_once: 1, or give a path without `{fact_id}`"
            )
        return Checkpoint.of(folders.pop(), lm)

    def increments(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared) -> Iterator[Checkpoint]:
        """The folder of each fact; a shared one is read once."""
        read: dict[str, Checkpoint] = {}
        for fact in facts:
            folder = self._folder(lm, fact)
            if folder not in read:
                read[folder] = Checkpoint.of(folder, lm)
            yield read[folder]

    def _folder(self, lm: LanguageModel, fact: Fact) -> str:
        # not str.format: a path may hold other braces
        return self.path.replace("{fact_id}", fact.id).replace("{model}", lm.name)
