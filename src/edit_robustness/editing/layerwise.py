"""Writing values into several layers, one after the other: the steps that MEMIT, PMET and AlphaEdit share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import field
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

from edit_robustness.editing.closed_form import dead_figures
from edit_robustness.editing.edits import LowRank, weights_changed
from edit_robustness.editing.key_statistics import key_moments
from edit_robustness.editing.keys import StatementWeight, mean_key
from edit_robustness.editing.method import Corpus, Prepared
from edit_robustness.editing.past import Past
from edit_robustness.editing.target import (
    ByValue,
    ContextSource,
    KlPosition,
    optimise_value,
    split_prompts,
)
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import RESIDUAL, Site
from edit_robustness.models.tokens import pad, positions, subject_end
from edit_robustness.models.trace import output_at
from edit_robustness.progress import track
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT, Listed

_BATCH = 16
_MANY = 10


def _ascending(layers: tuple[int, ...]) -> tuple[int, ...]:
    if any(first >= second for first, second in pairwise(layers)):
        raise ValueError(f"layers must ascend, each once: they are {list(layers)}")
    return layers


@dataclass(frozen=True, config=STRICT)
class Layerwise(ByValue):
    """Finds what a place at the last layer should put out for each fact, and writes it into the layers up to there.

    In each layer, from the lowest: K are the facts' keys under the layers already written, R is what is still missing
    at the place, and the layer's change gives K a part of R (algorithm 1 of Meng et al. 2023, MEMIT). A key is a
    mean over the bare statement and the statement in its contexts.

    Attributes:
        layers: The layers whose MLP output weights are written, in order; the place is at the last of them.
        v_lr: Adam's rate for the value.
        v_steps: Most steps for the value, the first of which is the unedited model's.
        v_stop_loss: Stop below this loss.
        clamp_norm_factor: Longest change of an output, in multiples of that output's norm.
        kl_factor: Weight of the KL term on "{subject} is a".
        v_weight_decay: Weight of the change's norm.
        context_lengths: Tokens of each text put before the statement, beside the bare statement.
        mom2_tokens: How many tokens of the corpus the second moments are taken from.
        kl_position: Where the KL term is taken: after "{subject} is a" (`prompt_end`, as the paper says), or after the
            subject's last token in it (`subject_last`, as the released code does).
        contexts: Who writes the texts before the statement: they are beginnings of the corpus's texts (`corpus`), or
            the model writes them after "The", "Therefore", "Because", "I", "You" (`model`, as the released code does).
        context_seed: Of the sampling, if the model writes them.
        statement_weight: Weight of the bare statement in a key: `equal` to that of each context, or `half`, with the
            contexts sharing the other half (as in the released codes).
        goal_part: The part of the last layer whose output the values are for.
        beside: Parts of the last layer that are optimised together with it, and then not used.
    """

    learns_from: ClassVar[tuple[str, ...]] = ("texts", "moments")
    at_once: ClassVar[int | None] = None
    goal_part: ClassVar[str] = RESIDUAL
    beside: ClassVar[tuple[str, ...]] = ()

    layers: Annotated[Listed[NonNegativeInt], Field(min_length=1), AfterValidator(_ascending)]
    v_lr: PositiveFloat
    v_steps: PositiveInt
    v_stop_loss: NonNegativeFloat
    clamp_norm_factor: PositiveFloat
    kl_factor: NonNegativeFloat
    v_weight_decay: NonNegativeFloat
    context_lengths: Listed[PositiveInt]
    mom2_tokens: PositiveInt
    kl_position: KlPosition = field(default="prompt_end", kw_only=True)
    contexts: ContextSource = field(default="corpus", kw_only=True)
    context_seed: NonNegativeInt = field(default=0, kw_only=True)
    statement_weight: StatementWeight = field(default="equal", kw_only=True)

    @property
    def keeps_keys(self) -> bool:
        """Whether the keys go into the edit, for later edits to protect."""
        return False

    @property
    def key_sites(self) -> tuple[Site, ...]:
        """See `Method.key_sites`: the edited weights."""
        return tuple(Site(layer, "mlp_out") for layer in self.layers)

    @property
    def places(self) -> tuple[Site, ...]:
        """Where a value is optimised; the first is what the layers are to bring about."""
        return tuple(Site(self.layers[-1], part) for part in (self.goal_part, *self.beside))

    def prepare(self, lm: LanguageModel, corpus: Corpus) -> Prepared:
        """What `directions` needs of each site's second moments, and the contexts; one pass of the corpus."""
        moments = key_moments(lm, corpus, self.key_sites, tokens=self.mom2_tokens)
        tensors = {name: t for site in self.key_sites for name, t in self.condensed(site, moments[site]).items()}
        return Prepared(tensors, self.context_texts(lm, corpus), dead_figures(moments))

    @abstractmethod
    def condensed(self, site: Site, moments: Tensor) -> dict[str, Tensor]:
        """What is kept of a site's second moments, so that no edit factors them again."""

    @abstractmethod
    def directions(self, site: Site, keys: Tensor, prepared: Prepared, past: Past) -> Tensor:
        """`right` (facts, d_in), so that the change R @ right gives the keys (facts, d_in) the outputs R."""

    def share(self, remaining: int) -> float:
        """The part of R that a layer takes, when so many layers are still to be written, itself among them."""
        return 1 / remaining

    def increment(self, lm: LanguageModel, facts: Sequence[Fact], *, prepared: Prepared, past: Past) -> LowRank:
        """The edit of any number of facts, of that rank in each layer."""
        goals = self._goals(lm, facts, prepared.texts)
        prompts = [split_prompts(lm, fact, prepared.texts) for fact in facts]
        factors: dict[Site, tuple[Tensor, Tensor]] = {}
        keys: dict[Site, Tensor] = {}
        with ExitStack() as written:
            for done, site in enumerate(self.key_sites):
                keys[site] = torch.stack([mean_key(lm, site, split, self.statement_weight).cpu() for split in prompts])
                missing = goals - outputs_at_subjects(lm, self.places[0], facts)
                left = self.share(len(self.key_sites) - done) * missing.T
                right = self.directions(site, keys[site], prepared, past).float()
                factors[site] = left.contiguous(), right.contiguous()
                written.enter_context(weights_changed(lm, {site: left @ right}))
        return LowRank(factors, keys if self.keeps_keys else {})

    def _goals(self, lm: LanguageModel, facts: Sequence[Fact], contexts: Sequence[str]) -> Tensor:
        """What the place should put out at each subject's last token, (facts, hidden) in float32."""
        many = len(facts) >= _MANY
        shown: Iterable[Fact] = track(facts, f"{lm.name}: {self.name} values", len(facts)) if many else facts
        values = [optimise_value(lm, self.places, fact, contexts, self.objective) for fact in shown]
        return torch.stack([(v.outputs[self.places[0]] + v.changes[self.places[0]]).cpu() for v in values])


@torch.no_grad()
def outputs_at_subjects(lm: LanguageModel, place: Site, facts: Sequence[Fact]) -> Tensor:
    """What a place puts out at each subject's last token in the bare statement, (facts, hidden) float32 on the CPU."""
    ends = [subject_end(lm, fact.prompt, fact.subject) for fact in facts]
    rows = [ids[: end + 1] for ids, end in ends]
    seen: list[Tensor] = []
    for first in range(0, len(rows), _BATCH):
        ids, mask = pad(rows[first : first + _BATCH], lm.pad_id, side="left", device=lm.device)
        output = output_at(lm, place, input_ids=ids, attention_mask=mask, position_ids=positions(mask))
        seen.append(output[:, -1].float().cpu())
    return torch.cat(seen)
