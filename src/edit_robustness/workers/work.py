"""Work: the items of a node as a value, which another process can do with a model of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from edit_robustness.models.language_model import LanguageModel

T = TypeVar("T")


@dataclass(frozen=True)
class Work(Generic[T]):
    """Items that one function makes on a model.

    Attributes:
        function: ``function(lm, inputs, *shared)`` yields the item of each input, in order. It is a function of a
            module, so that it has a name in another process.
        inputs: For each key what its item is made from.
        shared: What all items are made from.
    """

    function: Callable[..., Iterable[T]]
    inputs: Mapping[str, Any]
    shared: tuple[Any, ...] = field(default=(), repr=False)

    def make(self, lm: LanguageModel, keys: Sequence[str]) -> Iterable[T]:
        """Return the items of some keys, in order."""
        return self.function(lm, [self.inputs[key] for key in keys], *self.shared)

    def part(self, keys: Sequence[str]) -> Work[T]:
        """Return the work of some keys, without what they share."""
        return replace(self, inputs={key: self.inputs[key] for key in keys}, shared=())
