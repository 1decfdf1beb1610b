"""PMET: MEMIT with the value of the MLP alone, attention's optimised beside it (Li et al. 2024, arXiv 2308.08742)."""

from __future__ import annotations

from math import sqrt
from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from edit_robustness.editing.methods.memit import Memit


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Pmet(Memit):
    """Optimises what attention and the MLP of the last layer put out together, and writes the MLP's part only.

    So R is what the MLP's output lacks, not the whole block's, and of n layers still to be written each takes
    1 / sqrt(n) of it. Only the last layer's own weight adds to that output; the layers below change it through its
    input, so that R hardly shrinks from layer to layer.

    The objective is ROME's. The released code also divides the likelihood's weight by ten once the object is the most
    probable continuation, and stops there when the KL term is small; that is not done here, where the stop is
    `v_stop_loss` alone.
    """

    name: ClassVar[str] = "pmet"
    goal_part: ClassVar[str] = "mlp_out"
    beside: ClassVar[tuple[str, ...]] = ("attention_out",)

    def share(self, remaining: int) -> float:
        """See `Layerwise.share`."""
        return 1 / sqrt(remaining)
