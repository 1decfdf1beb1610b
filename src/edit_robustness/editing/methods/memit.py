"""MEMIT: many facts at once, each spread over several MLP output weights (Meng et al. 2023, arXiv 2210.07229)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.closed_form import cholesky_factor, least_squares, solver
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.layerwise import Layerwise
from edit_robustness.models.layout import Site
from edit_robustness.setting_types import STRICT


@dataclass(frozen=True, config=STRICT)
class Memit(Layerwise):
    """In each layer W' = W + R K^T (lambda C + K K^T)^-1 (eq. 14), R a part of what the block's output still lacks.

    C is the second moment of the layer's keys over text, and lambda is the number of such keys that the change is
    weighed against. Of n layers not yet changed each takes 1/n of what is missing (algorithm 1).

    In a sequence the paper's change does not depend on earlier edits. With `protect_history` it is weighed against
    their keys K_p too, which are stored in those edits (`EditHistory.keys`): R K^T (lambda C + K_p K_p^T + K K^T)^-1,
    as in studies of sequential editing (arXiv 2605.26670, 2605.09285).

    EMMET (Gupta et al. 2024, arXiv 2403.14236) is this method with lambda = mom2_update_weight x emmet_lambda of its
    released hyperparameters, on its one layer. ENCORE (Gupta et al. 2025, arXiv 2502.01636) adds `norm_weight` (20) and
    `v_stop_leads` (2).

    Attributes:
        mom2_update_weight: lambda. C is the mean of k k^T, so the scale of lambda is that of the number of dimensions
            of a key.
        norm_weight: Weight of the change's squared norm, a multiple of the identity that is added to lambda C; 0 in
            MEMIT.
        protect_history: Whether an edit protects the keys of the edits before it. Makes no difference to single edits.
    """

    name: ClassVar[str] = "memit"

    mom2_update_weight: PositiveFloat
    norm_weight: NonNegativeFloat = 0.0
    protect_history: bool = True

    @property
    def keeps_keys(self) -> bool:
        """Return whether later edits protect the keys."""
        return self.protect_history

    def condense(self, site: Site, moments: Tensor) -> dict[str, Tensor]:
        """Compute the Cholesky factor of C, or of C + norm_weight / lambda I."""
        if self.norm_weight:
            moments = moments + self.norm_weight / self.mom2_update_weight * torch.eye(
                len(moments), dtype=moments.dtype
            )
        return {str(site): cholesky_factor(moments)}

    def directions(self, site: Site, keys: Tensor, artefact: Artefact, history: EditHistory) -> Tensor:
        """Compute K^T (lambda C + norm_weight I + K_p K_p^T + K K^T)^-1; K_p only if `protect_history` is set."""
        solve = solver(artefact.tensors[str(site)])
        earlier_keys = history.keys.get(site) if self.protect_history else None
        return least_squares(keys, lambda rows: solve(rows) / self.mom2_update_weight, earlier_keys)
