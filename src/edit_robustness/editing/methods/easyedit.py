"""Editing with a user's own clone of EasyEdit (Wang et al. 2023), in a process with its own Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import AfterValidator, StringConstraints
from pydantic.dataclasses import dataclass

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.easyedit.process import EasyEditFailed, Installation, Session, check_import
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import Codebook, Edit
from edit_robustness.editing.method import Method
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT

_WRAPPER = "it wraps the model in a memory of its own"
_ADAPTER = "it returns a PEFT object around the model"
_TEXT = "it changes no weight"
_SERVICE = "it edits a model behind a web service"

NOT_EXPRESSED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("WISE", "SERAC", "SERAC_MULTI", "MELO", "DEFER"), _WRAPPER),
        **dict.fromkeys(("LoRA", "QLoRA", "DPO"), _ADAPTER),
        **dict.fromkeys(("IKE", "ICE", "DeCo", "DoLa"), _TEXT),
        **dict.fromkeys(("FT-Api", "DeepEdit-Api"), _SERVICE),
    }
)
"""Methods of EasyEdit whose edits are no change of weights and no codebook, and why."""

ONE_FACT = ("ROME", "R-ROME", "KN", "GRACE")
"""Methods of EasyEdit that read the first fact of a batch and ignore the others."""

WITH_STATE = ("GRACE", "AlphaEdit", "SPHERE", "ULTRAEDIT")
"""Methods of EasyEdit that keep what a later edit of a sequence needs in their process, and not in the weights."""

_Text = Annotated[str, StringConstraints(min_length=1)]


def _refuse_wrappers(method: str) -> str:
    """Return the name of a method, after checking that its edits can be expressed."""
    for name, reason in NOT_EXPRESSED.items():
        if method.casefold() == name.casefold():
            raise ValueError(
                f"EasyEdit's {name} cannot be used here: {reason}, which is no change of weights and no codebook"
            )
    return method


Expressible = Annotated[_Text, AfterValidator(_refuse_wrappers)]
"""The name of a method of EasyEdit whose edits can be expressed here."""


@dataclass(frozen=True, config=STRICT)
class EasyEdit(Method):
    """An edit that a method of EasyEdit makes; everything after it is as for any other method.

    The method's own function is called in a process of the user's Python, on this model's weights. What it changed is
    read as the difference of the weights. Factors are stored if the method tells them and they make the edited weights
    but for the rounding of their product in float32, else the whole difference. Nothing is truncated. GRACE's keys,
    values and radii become a `Codebook`, whose entries replace the output at every token within a radius, and not at
    the last token of the prompt alone.

    Every edit starts from the same seed, and EasyEdit's state from edit to edit is kept within a sequence only. Methods
    that keep state (`WITH_STATE`) make a sequence in one process, so an interrupted one starts again.

    Attributes:
        clone: Folder of a clone of EasyEdit, relative to the project.
        python: The Python of EasyEdit's environment: a path, or the name of a command.
        method: The method's name in EasyEdit, as in `alg_name` of its hyperparameters: ``ROME``, ``AlphaEdit`` ...
        hparams: File of its hyperparameters in EasyEdit's format, relative to the project.
    """

    name: ClassVar[str] = "easyedit"
    batch_size: ClassVar[int | None] = None
    _session: ClassVar[Session | None] = None
    _state: ClassVar[EditHistory | None] = None

    clone: _Text
    python: _Text
    method: Expressible
    hparams: _Text

    @property
    def installation(self) -> Installation:
        """Return the clone and the method."""
        return Installation(self.clone, self.python, self.method, self.hparams)

    def settings(self) -> dict[str, Any]:
        """Return the hyperparameters, with checksums of EasyEdit's own and of the clone's code."""
        return {**super().settings(), **self.installation.settings()}

    def problems(self) -> Iterator[str]:
        """Yield paths that are missing or name something else."""
        return self.installation.problems()

    def check(self) -> None:
        """Import the clone once.

        Raises:
            EasyEditFailed: If its Python cannot import it, or it cannot read the hyperparameters.
        """
        check_import(self.installation)

    @contextmanager
    def opened(self, lm: LanguageModel) -> Iterator[Self]:
        """Yield the method with a process for all its edits, which starts with the first one.

        The weights of this moment are exported, which in a sequence are the unedited ones. So an interrupted sequence
        resumes with the same contexts, which EasyEdit writes with the model that it starts from.
        """
        with Session(self.installation, lm) as session:
            if not list(self.problems()):
                session.export()
            method = replace(self)
            object.__setattr__(method, "_session", session)
            yield method

    def increment(self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory) -> Edit:
        """Make one edit of these facts.

        Raises:
            EasyEditFailed: If a path is wrong, or the process cannot make the edit.
            ValueError: If the method edits one fact at a time, or makes a sequence whose state it does not have.
        """
        if self._session is None:
            with self.opened(lm) as method:
                return method.increment(lm, facts, artefact=artefact, history=history)
        if problems := list(self.problems()):
            raise EasyEditFailed("; ".join(f"methods.easyedit.{lm.name}.{problem}" for problem in problems))
        if self.method in ONE_FACT and len(facts) > 1:
            raise ValueError(
                f"EasyEdit's {self.method} edits one fact per call and ignores the others, and was given {len(facts)}: "
                "set sequence.batch_size: 1"
            )
        return self._edit(self._session, lm, facts, history)

    def increments(self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact) -> Iterator[Edit]:
        """Yield independent edits, all by one process."""
        with self.opened(lm) as method:
            for fact in facts:
                yield method.increment(lm, [fact], artefact=artefact, history=EditHistory())

    def _edit(self, session: Session, lm: LanguageModel, facts: Sequence[Fact], history: EditHistory) -> Edit:
        is_first = not history.changes and not history.combined_edits
        continues = not is_first and self.method in WITH_STATE
        if continues and not (session.is_open and self._state is not None and _same_state(self._state, history)):
            raise ValueError(
                f"EasyEdit's {self.method} keeps what earlier edits of a sequence left in its process, and this one "
                f"has not made them: remove the sequence's stored edits to make it again from its first edit"
            )
        weights = {site: lm.weight(site) for site in history.changes}
        edit = session.edit(facts, weights=weights, continues=continues).edit
        if self.method in WITH_STATE:
            object.__setattr__(self, "_state", history + edit)
        return edit


def _same_state(first: EditHistory, second: EditHistory) -> bool:
    """Return whether two states of a sequence are the same, bit for bit."""
    return _same(first.changes, second.changes) and _same(_codebook(first), _codebook(second))


def _codebook(history: EditHistory) -> Mapping[Any, torch.Tensor]:
    book = history.combined_edits.get(Codebook.kind)
    return book.to_tensors()[0] if book is not None else {}


def _same(first: Mapping[Any, torch.Tensor], second: Mapping[Any, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
