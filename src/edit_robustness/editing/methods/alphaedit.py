"""AlphaEdit: MEMIT inside the null space of what the model knows (Fang et al. 2025, arXiv 2410.02355)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor

from edit_robustness.editing.closed_form import least_squares, null_space, projector
from edit_robustness.editing.layerwise import Layerwise
from edit_robustness.editing.method import Prepared
from edit_robustness.editing.past import Past
from edit_robustness.models.layout import Site


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AlphaEdit(Layerwise):
    """In each layer W' = W + R K^T P (K_p K_p^T P + K K^T P + L2 I)^-1, with R and K as in MEMIT.

    P projects onto the null space of C, the second moment of the layer's keys over text: the change does not touch
    what the layer puts out for those keys. K_p are the keys of the edits that came before, which come with those edits
    (`Past.keys`); the released code keeps K_p K_p^T in a global.

    Attributes:
        nullspace_threshold: Eigenvalues of C, the mean of k k^T, below this count as zero.
        l2: Weight of the change's squared norm: 1 in the paper's equation, 10 in its released hyperparameters (`L2`).
    """

    name: ClassVar[str] = "alphaedit"

    nullspace_threshold: PositiveFloat
    l2: PositiveFloat

    @property
    def keeps_keys(self) -> bool:
        """See `Layerwise.keeps_keys`."""
        return True

    def condensed(self, site: Site, moments: Tensor) -> dict[str, Tensor]:
        """A basis of the null space or of its complement, whichever has fewer dimensions."""
        basis, spans = null_space(moments, self.nullspace_threshold)
        return {f"{site}.{'null_space' if spans else 'complement'}": basis}

    def directions(self, site: Site, keys: Tensor, prepared: Prepared, past: Past) -> Tensor:
        """K^T P (K_p K_p^T P + K K^T P + L2 I)^-1."""
        spans = f"{site}.null_space" in prepared.tensors
        basis = prepared.tensors[f"{site}.{'null_space' if spans else 'complement'}"]
        project = projector(basis, spans)
        return least_squares(keys, lambda rows: project(rows) / self.l2, past.keys.get(site))
