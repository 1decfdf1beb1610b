"""Artefacts that a method computes once for a model, before it edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.models.language_model import checksums


@dataclass(frozen=True, eq=False)
class Artefact:
    """Artefact that a method computes once for a model: named tensors and texts.

    Attributes:
        tensors: The tensors that edits are computed from.
        texts: The texts that edits are computed from.
        figures: Measurements made on the way, as JSON values. Edits and the run's record repeat them.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """Return a hash of the content; empty if nothing was prepared."""
        if not self.tensors and not self.texts:
            return ""
        sums = {name: (list(tensor.shape), checksums(tensor)) for name, tensor in self.tensors.items()}
        return fingerprint(sums, list(self.texts))


NO_ARTEFACT = Artefact()
"""The artefact of methods that prepare nothing."""
