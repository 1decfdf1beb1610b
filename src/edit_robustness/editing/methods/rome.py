"""ROME: a rank-one change of one MLP output weight (Meng et al. 2022), with r-ROME's single key (Gupta et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import torch
from pydantic import ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from edit_robustness.editing.edits import LowRank
from edit_robustness.editing.key_statistics import second_moments
from edit_robustness.editing.method import Corpus, Method, Prepared
from edit_robustness.editing.past import Past
from edit_robustness.editing.target import Objective, optimise_value, statement_contexts
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.records import Fact


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Rome(Method):
    """W' = W + v (C^-1 k)^T / (k^T C^-1 k), where v is what the output at the subject's last token should change by.

    k is the fact's key averaged over contexts (one k, everywhere), C the second moment of the keys over text, and v
    comes from `optimise_value` (ROME's eq. 2 and 4; with v the change, W' k = W k + v holds exactly).

    Attributes:
        layer: The layer whose MLP output weight is edited.
        v_lr: Adam's rate for v.
        v_steps: Most steps for v.
        v_stop_loss: Stop below this loss.
        clamp_norm_factor: Longest v, in multiples of the norm of the output it changes.
        kl_factor: Weight of the KL term on "{subject} is a".
        v_weight_decay: Weight of v's norm.
        context_lengths: Tokens of each text put before the statement, beside the bare statement.
        mom2_tokens: How many tokens of the corpus the second moments are taken from.
    """

    name: ClassVar[str] = "rome"
    learns_from: ClassVar[tuple[str, ...]] = ("texts",)

    layer: NonNegativeInt
    v_lr: PositiveFloat
    v_steps: PositiveInt
    v_stop_loss: NonNegativeFloat
    clamp_norm_factor: PositiveFloat
    kl_factor: NonNegativeFloat
    v_weight_decay: NonNegativeFloat
    context_lengths: tuple[PositiveInt, ...]
    mom2_tokens: PositiveInt

    @property
    def site(self) -> Site:
        """The edited weight."""
        return Site(self.layer, "mlp_out")

    @property
    def objective(self) -> Objective:
        """How v is optimised."""
        return Objective(
            lr=self.v_lr,
            steps=self.v_steps,
            clamp=self.clamp_norm_factor,
            kl_factor=self.kl_factor,
            weight_decay=self.v_weight_decay,
            stop_loss=self.v_stop_loss,
        )

    def prepare(self, lm: LanguageModel, corpus: Corpus) -> Prepared:
        """The second moments of the keys, and the contexts."""
        moments = second_moments(lm, corpus.texts, [self.site], tokens=self.mom2_tokens)
        contexts = statement_contexts(lm, corpus.texts, self.context_lengths)
        return Prepared({str(self.site): moments[self.site]}, contexts)

    def edit(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared, past: Past) -> LowRank:
        """The rank-one edit of one fact."""
        self.check(facts)
        return self._edit(lm, facts[0], prepared, solver(prepared.tensors[str(self.site)]))

    def edit_each(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared) -> Iterator[LowRank]:
        """Independent edits; the second moments are factored once."""
        solve = solver(prepared.tensors[str(self.site)])
        for fact in facts:
            yield self._edit(lm, fact, prepared, solve)

    def _edit(self, lm: LanguageModel, fact: Fact, prepared: Prepared, solve: Callable[[Tensor], Tensor]) -> LowRank:
        value = optimise_value(lm, self.site, fact, prepared.texts, self.objective)
        return LowRank({self.site: rank_one(value.change.cpu(), value.key.cpu(), solve)})


def solver(moments: Tensor) -> Callable[[Tensor], Tensor]:
    """A function that solves C x = k for a key (d_in,), C factored once in float64.

    Raises:
        ValueError: If C is singular.
    """
    factor, failed = torch.linalg.cholesky_ex(moments.double())
    if failed:
        raise ValueError("the second moments of the keys are singular: take them from more text (mom2_tokens)")
    return lambda key: torch.cholesky_solve(key.double()[:, None], factor)[:, 0]


def rank_one(change: Tensor, key: Tensor, solve: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """`left` (d_out, 1) and `right` (1, d_in) with left @ right @ key = change, least disturbing to other keys."""
    direction = solve(key)
    right = direction / (direction @ key.double())
    return change.float()[:, None], right.float()[None]
