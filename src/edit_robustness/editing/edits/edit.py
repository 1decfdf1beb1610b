"""The interface of all edits: a value with an origin that is applied to a model inside a `with` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Protocol, Self

from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.rows import Rows


class NotRowwise(Exception):
    """An edit cannot act on some rows of a batch only, so it must be evaluated by itself."""


class WrongModel(ValueError):
    """An edit was made for another model."""


class NotCombined(TypeError):
    """Two edits cannot be applied one after the other."""


class Appliable(Protocol):
    """Anything that can be applied to a model inside a `with` block: an edit, or the state after a sequence."""

    def text_before(self, prompt: str) -> str:
        """Return the text to put before a prompt; `Edit.text_before` describes the argument."""

    def applied(self, lm: LanguageModel, rows: Rows | None = None) -> AbstractContextManager[LanguageModel]:
        """Apply it to the model inside the block; `Edit.applied` describes the arguments."""


@dataclass(frozen=True)
class Origin:
    """Origin of an edit.

    Attributes:
        method: Name of the method, a key of METHODS.
        model: Fingerprint of the model that it was made for.
        settings: The method's hyperparameters.
        facts: Ids of the edited facts.
        artefact: Fingerprint of the artefact that the method had prepared; empty if there is none.
        contexts: Number of contexts per fact; 0 for a method without contexts.
        unused_contexts: For facts whose contexts could not all be used, the number of unused ones.
        unmet_losses: For facts whose value was optimised without reaching the loss at which it stops, the last loss.
    """

    method: str
    model: str
    settings: Mapping[str, Any]
    facts: tuple[str, ...]
    artefact: str = ""
    contexts: int = 0
    unused_contexts: Mapping[str, int] = field(default_factory=dict)
    unmet_losses: Mapping[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return the origin as JSON values, for a file."""
        return asdict(self)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Origin:
        """Rebuild an origin from what `plain` returned."""
        return cls(**{**values, "facts": tuple(values["facts"])})


@dataclass(frozen=True, eq=False)
class Edit(ABC):
    """An immutable change of a model.

    Attributes:
        in_order: Makes one edit of several, in order.
        kinds: Every kind of edit by its name.
        kind: Name of the kind in files.
        acts_by_hooks: Whether it has effects that are neither weights nor text, so that a later edit of its kind must
            be combined with it (`then`).
        keeps_state: Whether it has no effect on the model and is only there for later edits, combined with theirs.
        origin: Where it comes from. An edit without an origin is applied to any model that it fits.
        unmet_losses: What its origin will say of its optimisation; empty once it has an origin (`Origin.unmet_losses`).
    """

    # set by the package, because a chain and all the kinds are edits themselves
    in_order: ClassVar[Callable[[tuple[Edit, ...]], Edit]]
    kinds: ClassVar[Mapping[str, type[Edit]]]

    kind: ClassVar[str]
    acts_by_hooks: ClassVar[bool] = False
    keeps_state: ClassVar[bool] = False
    origin: Origin | None = field(default=None, kw_only=True, compare=False, repr=False)
    unmet_losses: Mapping[str, float] = field(default_factory=dict, kw_only=True, compare=False, repr=False)

    @property
    def acts_in_context(self) -> bool:
        """Return whether it puts text before prompts, so that a later edit of its kind must be combined with it."""
        return False

    def text_before(self, prompt: str) -> str:
        """Return the text to put before a prompt; empty for an edit that does not act in context.

        Args:
            prompt: The prompt without few-shot examples and chat template; in a conversation all turns of the user.
        """
        return ""

    @contextmanager
    def applied(self, lm: LanguageModel, rows: Rows | None = None) -> Iterator[LanguageModel]:
        """Apply the edit to the model inside the block.

        Without `rows` weights are copied, changed, and copied back on leaving, also after an exception (or hooks are
        set and removed). With `rows` hooks act on those rows of every batch only.

        Args:
            lm: The model.
            rows: The rows to edit; all if None.

        Raises:
            WrongModel: If the edit was made for another model.
            NotRowwise: If the edit cannot act on single rows.
        """
        self.check_model(lm)
        with self.apply_unchecked(lm, rows):
            yield lm

    def check_model(self, lm: LanguageModel) -> None:
        """Check that the edit was made for this model.

        Raises:
            WrongModel: If it was made for another one.
        """
        if self.origin is not None and self.origin.model != lm.fingerprint:
            raise WrongModel(
                f"this {self.origin.method} edit of {', '.join(self.origin.facts)} was made for the model with "
                f"fingerprint {self.origin.model}; {lm.name} has {lm.fingerprint}: load that model, or edit this one"
            )

    @abstractmethod
    def apply_unchecked(self, lm: LanguageModel, rows: Rows | None) -> AbstractContextManager[Any]:
        """Apply the edit inside the block, without checking the model."""

    def dense(self) -> Mapping[Site, Tensor]:
        """Return the change of each weight, (d_out, d_in) in float32; empty if no weight changes."""
        return {}

    @property
    def protected_keys(self) -> Mapping[Site, Tensor]:
        """Return the keys whose outputs later edits should not change, (keys, d_in) at each site."""
        return {}

    def parts(self) -> tuple[Edit, ...]:
        """Return the single edits that it consists of, in order; a single edit returns itself."""
        return (self,)

    def then(self, later: Self) -> Self:
        """Combine this edit with a later one of the same kind, for edits that act by hooks or in context.

        Raises:
            NotCombined: If edits of this kind cannot be combined.
        """
        raise NotCombined(f"two edits of the kind `{self.kind}` cannot act one after the other")

    def with_artefact(self, artefact: Artefact) -> Self:
        """Return the edit with the artefact that it refers to, if it needs one to be applied."""
        return self

    def __add__(self, later: Edit) -> Edit:
        """Return a chain of this edit and the later one."""
        return Edit.in_order((*self.parts(), *later.parts()))

    def with_origin(self, origin: Origin) -> Self:
        """Return the edit with an origin."""
        return replace(self, origin=origin, unmet_losses={})

    @abstractmethod
    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the tensors of a file, and the texts of its header."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> Self:
        """Rebuild the edit from what `to_tensors` returned."""
