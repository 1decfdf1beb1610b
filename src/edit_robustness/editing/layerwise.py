"""Methods that write values into several layers, one after the other: the steps common to MEMIT, PMET and AlphaEdit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import field, replace
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from pydantic.dataclasses import dataclass
from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.closed_form import dead_figures
from edit_robustness.editing.contexts import ContextSource
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import Dense, LowRank, weights_changed
from edit_robustness.editing.keys import StatementWeight, keys_in_prompts, mean_key, shares_of_change, weigh_keys
from edit_robustness.editing.method import Corpus
from edit_robustness.editing.relative_change import Share, keep_top
from edit_robustness.editing.second_moments import key_moments
from edit_robustness.editing.target import (
    ByValue,
    KlPosition,
    Objective,
    Precision,
    Value,
    optimise_value,
    split_prompts,
    unmet_losses,
)
from edit_robustness.editing.value_optimizers import OptimizerName
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import RESIDUAL, Site
from edit_robustness.models.tokens import pad, positions, subject_end
from edit_robustness.models.trace import output_at
from edit_robustness.progress import track
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT, ListSetting

_BATCH = 16
_MANY = 10


def _check_ascending(layers: tuple[int, ...]) -> tuple[int, ...]:
    if any(first >= second for first, second in pairwise(layers)):
        raise ValueError(f"layers must ascend strictly; they are {list(layers)}")
    return layers


@dataclass(frozen=True, config=STRICT)
class Layerwise(ByValue):
    """A method that optimises an output of the last layer for each fact, and spreads it over the layers up to there.

    In each layer, from the lowest: K are the facts' keys with the lower layers already changed, R is the difference
    between the optimised and the present output, and the layer's change maps K to a part of R (MEMIT, Meng et al. 2023,
    algorithm 1). A key is a mean over the bare statement and the statement in its contexts.

    Attributes:
        layers: The layers whose MLP output weights are changed, in order; the values are optimised at the last of them.
        v_lr: Size of a step: Adam's learning rate for the value. With `polyak` the largest step, and with `lbfgs` the
            first trial step, in multiples of the norm of the output that the value changes.
        v_steps: Maximum number of losses on the way to the value, the first of which is the unedited model's.
        v_stop_loss: Stop below this loss.
        clamp_norm_factor: Largest change of an output, in multiples of that output's norm.
        kl_factor: Weight of the KL term on "{subject} is a".
        v_weight_decay: Weight of the change's norm.
        context_lengths: Length in tokens of each text put before the statement, beside the bare statement.
        mom2_tokens: Number of corpus tokens from which the second moments are computed.
        kl_position: Where the KL term is taken: after "{subject} is a" (`prompt_end`, as the paper says), or after the
            subject's last token in it (`subject_last`, as the released code does).
        contexts: Source of the texts before the statement: beginnings of the corpus's texts (`corpus`), or text that
            the model generates after "The", "Therefore", "Because", "I", "You" (`model`, as the released code does).
        context_seed: Seed of the sampling, if the model generates them.
        v_optimizer: Optimiser of the value: `adam`, `polyak` or `lbfgs` (`value_optimizers`).
        v_shares: Whether the value is optimised with the share of it that the edit gives each prompt
            (`shares_of_change`), instead of all of it.
        v_precision: Numbers of the passes that find the value: those of the model (`model`) or `bfloat16`.
        v_stop_leads: Number of losses with the new object as the most probable continuation in every context, at which
            the search stops, as in ENCORE (Gupta et al. 2025, arXiv 2502.01636), which has 2; 0 for no such stop.
        statement_weight: Weight of the bare statement in a key: `equal` to that of each context, or `half`, with the
            contexts sharing the other half (as in the released codes).
        keep_top: Share of the entries of each weight's change that are kept: those with the largest |change / weight|,
            as in RECT (arXiv 2401.04700). It is applied once all layers have been computed. Below 1 the edit is dense.
        goal_part: The part of the last layer whose output the values are for.
        beside: Parts of the last layer that are optimised together with it, and then not used.
    """

    learns_from: ClassVar[tuple[str, ...]] = ("texts", "moments")
    batch_size: ClassVar[int | None] = None
    goal_part: ClassVar[str] = RESIDUAL
    beside: ClassVar[tuple[str, ...]] = ()

    layers: Annotated[ListSetting[NonNegativeInt], Field(min_length=1), AfterValidator(_check_ascending)]
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
    v_stop_leads: NonNegativeInt = field(default=0, kw_only=True)
    statement_weight: StatementWeight = field(default="equal", kw_only=True)
    keep_top: Share = field(default=1.0, kw_only=True)

    @property
    def objective(self) -> Objective:
        """Return the settings of the search, with the stop of ENCORE."""
        return replace(super().objective, stop_leads=self.v_stop_leads)

    @property
    def keeps_keys(self) -> bool:
        """Return whether the edit stores its keys, for later edits to protect."""
        return False

    @property
    def key_sites(self) -> tuple[Site, ...]:
        """Return the edited weights."""
        return tuple(Site(layer, "mlp_out") for layer in self.layers)

    @property
    def places(self) -> tuple[Site, ...]:
        """Return the sites where a value is optimised; the layers are changed to produce the first one."""
        return tuple(Site(self.layers[-1], part) for part in (self.goal_part, *self.beside))

    def prepare(self, lm: LanguageModel, corpus: Corpus) -> Artefact:
        """Compute the tensors that `directions` needs and the contexts, in one pass over the corpus."""
        moments = key_moments(lm, corpus, self.key_sites, tokens=self.mom2_tokens)
        tensors = {
            name: tensor for site in self.key_sites for name, tensor in self.condense(site, moments[site]).items()
        }
        return Artefact(tensors, self.context_texts(lm, corpus), dead_figures(moments))

    @abstractmethod
    def condense(self, site: Site, moments: Tensor) -> dict[str, Tensor]:
        """Compute from a site's second moments the tensors to store, so that no edit factors them again."""

    @abstractmethod
    def directions(self, site: Site, keys: Tensor, artefact: Artefact, history: EditHistory) -> Tensor:
        """Compute `right` (facts, d_in), so that the change R @ right maps the keys (facts, d_in) to the outputs R."""

    def share(self, remaining_layers: int) -> float:
        """Return the part of R that a layer takes, given the number of layers not yet changed, including itself."""
        return 1 / remaining_layers

    def increment(
        self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory
    ) -> LowRank | Dense:
        """Compute the edit of any number of facts; its rank in each layer is the number of facts, unless `keep_top`."""
        values = self._optimise_values(lm, facts, artefact, history)
        place = self.places[0]
        goals = torch.stack([(value.outputs[place] + value.changes[place]).cpu() for value in values])
        prompts = [split_prompts(lm, fact, artefact.texts) for fact in facts]
        factors: dict[Site, tuple[Tensor, Tensor]] = {}
        keys: dict[Site, Tensor] = {}
        with ExitStack() as stack:
            for number, site in enumerate(self.key_sites):
                keys[site] = torch.stack(
                    [mean_key(lm, site, fact_prompts, self.statement_weight).cpu() for fact_prompts in prompts]
                )
                residual = goals - outputs_at_subjects(lm, place, facts)
                left_factor = self.share(len(self.key_sites) - number) * residual.T
                right_factor = self.directions(site, keys[site], artefact, history).float()
                factors[site] = left_factor.contiguous(), right_factor.contiguous()
                stack.enter_context(weights_changed(lm, {site: left_factor @ right_factor}))
        edit = LowRank(factors, keys if self.keeps_keys else {}, unmet_losses=unmet_losses(facts, values))
        return keep_top(edit, lm, self.keep_top)

    def _optimise_values(
        self, lm: LanguageModel, facts: Sequence[Fact], artefact: Artefact, history: EditHistory
    ) -> list[Value]:
        """Find the value of each fact."""
        show_progress = len(facts) >= _MANY
        iterator: Iterable[Fact] = (
            track(facts, f"{lm.name}: {self.name} values", len(facts)) if show_progress else facts
        )
        return [
            optimise_value(
                lm,
                self.places,
                fact,
                artefact.texts,
                self.objective,
                shares=self._compute_shares(lm, fact, artefact, history) if self.v_shares else None,
            )
            for fact in iterator
        ]

    def _compute_shares(self, lm: LanguageModel, fact: Fact, artefact: Artefact, history: EditHistory) -> Tensor:
        """Compute the share of a fact's value that each prompt gets, (prompts,), if the fact were edited by itself.

        It is the mean over the layers whose weights add to the place of the value: all of them for the residual stream,
        to which each contributes an equal part, and otherwise the last.
        """
        sites = self.key_sites if self.goal_part == RESIDUAL else self.key_sites[-1:]
        prompts = split_prompts(lm, fact, artefact.texts)
        all_keys = keys_in_prompts(lm, sites, prompts)
        shares = []
        for site in sites:
            keys = all_keys[site].cpu()
            key = weigh_keys(keys[:-1], self.statement_weight)
            shares.append(shares_of_change(self.directions(site, key[None], artefact, history)[0], key, keys))
        return torch.stack(shares).mean(0)


@torch.no_grad()
def outputs_at_subjects(lm: LanguageModel, place: Site, facts: Sequence[Fact]) -> Tensor:
    """Compute a site's output at the subject's end in each bare statement, (facts, hidden) float32 on the CPU."""
    ends = [subject_end(lm, fact.prompt, fact.subject) for fact in facts]
    rows = [ids[: end + 1] for ids, end in ends]
    outputs: list[Tensor] = []
    for first in range(0, len(rows), _BATCH):
        ids, mask = pad(rows[first : first + _BATCH], lm.pad_id, side="left", device=lm.device)
        output = output_at(lm, place, input_ids=ids, attention_mask=mask, position_ids=positions(mask))
        outputs.append(output[:, -1].float().cpu())
    return torch.cat(outputs)
