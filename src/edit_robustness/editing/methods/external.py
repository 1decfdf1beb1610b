"""Evaluation of external edits: any folder with an edited model, or with a LoRA adapter in PEFT's format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

from pydantic import StringConstraints
from pydantic.dataclasses import dataclass

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import ExternalEdit
from edit_robustness.editing.method import Method
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT


@dataclass(frozen=True, config=STRICT)
class External(Method):
    """Edits made outside this project: the edit of a fact is read from its folder.

    Attributes:
        path: The folder, relative to the project. `{fact_id}` in it stands for the fact's id, if each fact has its own
            folder, and `{model}` for the model's name. Without `{fact_id}` all facts share one folder.
    """

    name: ClassVar[str] = "external"
    batch_size: ClassVar[int | None] = None

    path: Annotated[str, StringConstraints(min_length=1)]

    def increment(
        self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory
    ) -> ExternalEdit:
        """Return the edit in the folder of these facts.

        Raises:
            ValueError: If they have several folders.
        """
        folders = {self._folder(lm, fact) for fact in facts}
        if len(folders) > 1:
            raise ValueError(
                f"methods.external.{lm.name}.path has one folder per fact (`{{fact_id}}`), and {len(facts)} facts "
                "are edited at once: set sequence.batch_size: 1, or give a path without `{fact_id}`"
            )
        return ExternalEdit.of(folders.pop(), lm)

    def increments(self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact) -> Iterator[ExternalEdit]:
        """Yield the edit in each fact's folder; a shared folder is read once."""
        edits: dict[str, ExternalEdit] = {}
        for fact in facts:
            folder = self._folder(lm, fact)
            if folder not in edits:
                edits[folder] = ExternalEdit.of(folder, lm)
            yield edits[folder]

    def _folder(self, lm: LanguageModel, fact: Fact) -> str:
        # not str.format, because a path may contain other braces
        return self.path.replace("{fact_id}", fact.id).replace("{model}", lm.name)
