"""ROME: a rank-one change of one MLP output weight (Meng et al. 2022), with r-ROME's single key (Gupta et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import ClassVar, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.closed_form import RowMap, cholesky_factor, dead_figures, rank_one, solver
from edit_robustness.editing.contexts import ContextSource
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import Dense, LowRank
from edit_robustness.editing.keys import keys_in_contexts, keys_in_prompts, shares_of_change
from edit_robustness.editing.method import Corpus
from edit_robustness.editing.relative_change import Share, keep_top
from edit_robustness.editing.second_moments import key_moments
from edit_robustness.editing.target import (
    ByValue,
    KlPosition,
    Precision,
    Prompts,
    optimise_value,
    split_prompts,
    unmet_losses,
)
from edit_robustness.editing.value_optimizers import OptimizerName
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT, ListSetting


@dataclass(frozen=True, config=STRICT)
class Rome(ByValue):
    """W' = W + v (C^-1 k)^T / (k^T C^-1 k), where v is what the output at the subject's last token should change by.

    k is the fact's key averaged over contexts (one k, unless `variant` says otherwise), C the second moment of the
    keys over text, and v comes from `optimise_value` (ROME's eq. 2 and 4; with v the change, W' k = W k + v holds
    exactly).

    Attributes:
        layer: The layer whose MLP output weight is edited.
        mom2_adjustment: Whether C is read. Without it, as in EasyEdit's presets, the change is v k^T / (k^T k), which
            disturbs other keys more.
        v_lr: Size of a step: Adam's learning rate for v. With `polyak` the largest step, and with `lbfgs` the first
            trial step, in multiples of the norm of the output that v changes.
        v_steps: Most losses on the way to v, the first of which is the unedited model's.
        v_stop_loss: Stop below this loss.
        clamp_norm_factor: Longest v, in multiples of the norm of the output it changes.
        kl_factor: Weight of the KL term on "{subject} is a".
        v_weight_decay: Weight of v's norm.
        context_lengths: Tokens of each text put before the statement, beside the bare statement.
        mom2_tokens: How many tokens of the corpus the second moments are taken from.
        kl_position: Where the KL term is taken: after "{subject} is a" (`prompt_end`, as the paper says), or after the
            subject's last token in it (`subject_last`, as the released code does).
        contexts: Who writes the texts before the statement: they are beginnings of the corpus's texts (`corpus`), or
            the model writes them after "The", "Therefore", "Because", "I", "You" (`model`, as the released code does).
        context_seed: Of the sampling, if the model writes them.
        v_optimizer: Optimiser of v: `adam`, `polyak` or `lbfgs` (`value_optimizers`).
        v_shares: Whether v is optimised with the share of it that the edit gives each prompt (`shares_of_change`),
            instead of all of it.
        v_precision: Numbers of the passes that find v: those of the model (`model`) or `bfloat16`.
        variant: Which key's output changes by exactly v: k (`r_rome`), or the bare statement's own key, with k only in
            C^-1 k (`rome`, as ROME's released code does; models collapse under many such edits).
        keep_top: Share of the entries of the change that are kept: those with the largest |change / weight|, as in RECT
            (arXiv 2401.04700). Below 1 the edit is dense.
    """

    name: ClassVar[str] = "rome"
    learns_from: ClassVar[tuple[str, ...]] = ("texts", "moments")

    layer: NonNegativeInt
    mom2_adjustment: bool = field(default=True, kw_only=True)
    v_lr: PositiveFloat
    v_steps: PositiveInt
    v_stop_loss: NonNegativeFloat
    clamp_norm_factor: PositiveFloat
    kl_factor: NonNegativeFloat
    v_weight_decay: NonNegativeFloat
    context_lengths: ListSetting[PositiveInt]
    mom2_tokens: PositiveInt
    kl_position: KlPosition = field(default="prompt_end", kw_only=True)
    contexts: ContextSource = field(default="corpus", kw_only=True)
    context_seed: NonNegativeInt = field(default=0, kw_only=True)
    v_optimizer: OptimizerName = field(default="adam", kw_only=True)
    v_shares: bool = field(default=False, kw_only=True)
    v_precision: Precision = field(default="model", kw_only=True)
    variant: Literal["r_rome", "rome"] = field(default="r_rome", kw_only=True)
    keep_top: Share = field(default=1.0, kw_only=True)

    @property
    def site(self) -> Site:
        """Return the edited weight."""
        return Site(self.layer, "mlp_out")

    @property
    def key_sites(self) -> tuple[Site, ...]:
        """Return the edited weight if C is used, else nothing."""
        return (self.site,) if self.mom2_adjustment else ()

    def prepare(self, lm: LanguageModel, corpus: Corpus) -> Artefact:
        """Compute the second moments of the keys, and the contexts."""
        moments = key_moments(lm, corpus, self.key_sites, tokens=self.mom2_tokens)
        tensors = {str(site): moment for site, moment in moments.items()}
        return Artefact(tensors, self.context_texts(lm, corpus), dead_figures(moments))

    def increment(
        self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory
    ) -> LowRank | Dense:
        """Compute the edit of one fact, of rank one unless `keep_top` is below 1."""
        return self._edit(lm, facts[0], artefact, self._solver(artefact))

    def increments(self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact) -> Iterator[LowRank | Dense]:
        """Yield independent edits; the second moments are factored once."""
        solve = self._solver(artefact)
        for fact in facts:
            yield self._edit(lm, fact, artefact, solve)

    def _solver(self, artefact: Artefact) -> RowMap:
        """Return the multiplication by C^-1, or the identity without C."""
        return solver(cholesky_factor(artefact.tensors[str(self.site)])) if self.mom2_adjustment else Tensor.double

    def _edit(self, lm: LanguageModel, fact: Fact, artefact: Artefact, solve: RowMap) -> LowRank | Dense:
        prompts = split_prompts(lm, fact, artefact.texts)
        shares = self._compute_shares(lm, prompts, solve) if self.v_shares else None
        value = optimise_value(lm, [self.site], fact, artefact.texts, self.objective, shares=shares)
        keys = keys_in_contexts(lm, self.site, prompts).cpu()
        factors = rank_one(value.changes[self.site].cpu(), keys.mean(0), solve, self._select_exact_key(keys))
        return keep_top(LowRank({self.site: factors}, unmet_losses=unmet_losses([fact], [value])), lm, self.keep_top)

    def _compute_shares(self, lm: LanguageModel, prompts: Prompts, solve: RowMap) -> Tensor:
        """Compute the share of v that each prompt gets, (prompts,)."""
        all_keys = keys_in_prompts(lm, [self.site], prompts)[self.site].cpu()
        keys = all_keys[:-1]
        exact_key = self._select_exact_key(keys)
        key = keys.mean(0) if exact_key is None else exact_key
        return shares_of_change(solve(keys.mean(0)[None])[0], key, all_keys)

    def _select_exact_key(self, keys: Tensor) -> Tensor | None:
        return keys[0] if self.variant == "rome" else None
