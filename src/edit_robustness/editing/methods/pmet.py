"""PMET: MEMIT on the MLP's output alone, optimised together with attention's (Li et al. 2024, arXiv 2308.08742)."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from edit_robustness.editing.methods.memit import Memit
from edit_robustness.editing.target import Objective
from edit_robustness.setting_types import STRICT


@dataclass(frozen=True, config=STRICT)
class Pmet(Memit):
    """Optimises the outputs of attention and of the MLP of the last layer together, and writes only the MLP's.

    So R is what the MLP's output lacks, not the whole block's, and of n layers not yet changed each takes 1 / sqrt(n)
    of it. Only the last layer's own weight adds to that output. The layers below change it through its input, so that R
    hardly shrinks from layer to layer.

    The objective is ROME's.

    Attributes:
        leading_weight: Weight of the likelihood while the new object is the most probable continuation in every
            context. The released code has .1, and then also stops there once the KL term is at most .01.
    """

    name: ClassVar[str] = "pmet"
    goal_part: ClassVar[str] = "mlp_out"
    beside: ClassVar[tuple[str, ...]] = ("attention_out",)

    leading_weight: Annotated[float, Field(gt=0, le=1)] = 1.0
    protect_history: bool = False  # neither its paper nor its code has one

    @property
    def objective(self) -> Objective:
        """Return ROME's objective with the leading weight."""
        return replace(super().objective, leading_weight=self.leading_weight)

    def share(self, remaining_layers: int) -> float:
        """Return 1 / sqrt(n) for n layers not yet changed."""
        return 1 / sqrt(remaining_layers)
