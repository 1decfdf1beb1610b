"""What every edit is: a value with a place of origin, applied to a model for the length of a block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from torch import Tensor

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.rows import Rows

if TYPE_CHECKING:
    from edit_robustness.editing.method import Prepared


class NotRowwise(Exception):
    """An edit that cannot act on some rows of a batch only, and must be asked by itself."""


class WrongModel(ValueError):
    """An edit that was made for another model."""


class NotCombined(TypeError):
    """Edits of which one cannot stand after another."""


class Appliable(Protocol):
    """What can be put on a model for the length of a block: an edit, or all that a sequence of edits left behind."""

    @property
    def prefix(self) -> str:
        """Text before every prompt."""

    def applied(self, lm: LanguageModel, rows: Rows | None = None) -> AbstractContextManager[LanguageModel]:
        """See `Edit.applied`."""


@dataclass(frozen=True)
class Origin:
    """Where an edit comes from.

    Attributes:
        method: Row of METHODS.
        model: Fingerprint of the model it was made for.
        settings: The method's hyperparameters.
        facts: Ids of the facts that it makes true.
        prepared: Fingerprint of what the method had prepared; empty for nothing.
        contexts: How many contexts the method has for each fact; 0 for a method without contexts.
        unused_contexts: How many of them could not be used, for the facts where there are such.
    """

    method: str
    model: str
    settings: Mapping[str, Any]
    facts: tuple[str, ...]
    prepared: str = ""
    contexts: int = 0
    unused_contexts: Mapping[str, int] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As plain values, for a file."""
        return asdict(self)

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Origin:
        """The inverse of `plain`."""
        return cls(**{**plain, "facts": tuple(plain["facts"])})


@dataclass(frozen=True, eq=False)
class Edit(ABC):
    """A change of a model, as an immutable value.

    Attributes:
        kind: Name under which files keep it.
        acts_by_hooks: Whether it has effects that are not weights nor words, so that a later edit of its kind must be
            put together with it (`then`).
        origin: Where it comes from; an edit without origin is applied to any model that it fits.
        prefix: Text that stands before every prompt; empty for all but frames.
    """

    kind: ClassVar[str]
    acts_by_hooks: ClassVar[bool] = False
    origin: Origin | None = field(default=None, kw_only=True, compare=False, repr=False)

    @property
    def prefix(self) -> str:
        """Text before every prompt."""
        return ""

    @contextmanager
    def applied(self, lm: LanguageModel, rows: Rows | None = None) -> Iterator[LanguageModel]:
        """The same model, edited for the length of the block.

        Without `rows` weights are copied, changed, and copied back on leaving, also after an exception (or hooks set
        and removed). With `rows` hooks act on those rows of every batch only.

        Raises:
            WrongModel: If the edit was made for another model.
            NotRowwise: If the edit cannot act on single rows.
        """
        self.check_model(lm)
        with self.put_on(lm, rows):
            yield lm

    def check_model(self, lm: LanguageModel) -> None:
        """Refuse a model that the edit was not made for."""
        if self.origin is not None and self.origin.model != lm.fingerprint:
            raise WrongModel(
                f"this {self.origin.method} edit of {', '.join(self.origin.facts)} was made for the model with "
                f"fingerprint {self.origin.model}; {lm.name} has {lm.fingerprint}: load that model, or edit this one"
            )

    @abstractmethod
    def put_on(self, lm: LanguageModel, rows: Rows | None) -> AbstractContextManager[Any]:
        """What `applied` does once the model has been checked."""

    def dense(self) -> Mapping[Site, Tensor]:
        """The change of each weight, (d_out, d_in) in float32; empty where no weight changes."""
        return {}

    @property
    def protects(self) -> Mapping[Site, Tensor]:
        """Keys whose outputs later edits shall leave alone, (keys, d_in) at each site."""
        return {}

    def parts(self) -> tuple[Edit, ...]:
        """The single edits that it is made of, in order; itself where it is one."""
        return (self,)

    def then(self, later: Self) -> Self:
        """One edit that does what `later` does after this one, for edits of one kind that act by hooks.

        Raises:
            NotCombined: If the kind has no such thing.
        """
        raise NotCombined(f"two edits of the kind `{self.kind}` cannot act one after the other")

    def with_prepared(self, prepared: Prepared) -> Self:
        """The edit with the artefact that it names, where it needs one to be applied."""
        return self

    def __add__(self, later: Edit) -> Edit:
        """This edit, then the later one."""
        from edit_robustness.editing.edits.chain import Chain  # a chain is an edit too

        return Chain((*self.parts(), *later.parts()))

    def signed(self, origin: Origin) -> Self:
        """The same edit with its origin."""
        return replace(self, origin=origin)

    @abstractmethod
    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """What a file holds: tensors, and texts for its header."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> Self:
        """The inverse of `to_tensors`."""
