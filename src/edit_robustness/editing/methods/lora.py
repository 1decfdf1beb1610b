"""LoRA trained with PEFT on the new fact: what one would do without an editing method (Hu et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.contexts import ContextSource, context_texts
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import LowRank
from edit_robustness.editing.method import Corpus, Method
from edit_robustness.editing.methods.ft import object_batch
from edit_robustness.editing.methods.ft_epochs import shuffled_parts
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Part, Site
from edit_robustness.models.writing import generators_seeded
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT, ListSetting

_ADAPTER = "default"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Lora(Method):
    """W' = W + (alpha / rank) B A at several weights (Hu et al. 2022, eq. 3), with A and B trained by Adam.

    The adapter is PEFT's: A is drawn uniformly, B begins at 0, both are float32. The loss is that of `ft_epochs`
    without the end of text: the mean over prompts of the mean negative log-likelihood of the object's tokens. The
    prompts are each fact's statement, alone and in its contexts. The adapter has no dropout and Adam no weight decay.

    The edit holds the factors (alpha / rank) B and A as they are. PEFT's layers are taken out of the model again.

    Attributes:
        rank: Number of rows of A and of columns of B.
        alpha: Scale of the change, in multiples of 1 / rank.
        parts: The weights of a block that are adapted. If empty, those of queries and values, or the matrix of queries,
            keys and values in an architecture with only one, as PEFT has it by default for Llama, GPT-2 and others.
        layers: The layers whose weights are adapted; all if empty.
        lr: Adam's learning rate.
        epochs: Maximum number of epochs.
        step_facts: Maximum number of facts per step.
        stop_loss: Loss below which a batch is skipped, and an epoch is the last.
        context_lengths: Length in tokens of each text put before the statement, beside the bare statement.
        contexts: Source of these texts: beginnings of the corpus's texts (`corpus`), or text that the model generates
            (`model`).
        context_seed: Seed of the sampling, if the model generates them.
        seed: Seed of A, and of the order of facts in each epoch.
    """

    name: ClassVar[str] = "lora"
    batch_size: ClassVar[int | None] = None
    learns_from: ClassVar[tuple[str, ...]] = ("texts",)

    rank: PositiveInt
    alpha: PositiveInt
    parts: ListSetting[Part] = ()
    layers: ListSetting[NonNegativeInt] = ()
    lr: PositiveFloat
    epochs: PositiveInt
    step_facts: PositiveInt
    stop_loss: NonNegativeFloat
    context_lengths: ListSetting[PositiveInt]
    contexts: ContextSource = "corpus"
    context_seed: NonNegativeInt = 0
    seed: NonNegativeInt = 0

    def sites(self, lm: LanguageModel) -> tuple[Site, ...]:
        """Return the adapted weights."""
        has_one_matrix = "attention_qkv" in lm.layout.parts
        parts = self.parts or (("attention_qkv",) if has_one_matrix else ("attention_q", "attention_v"))
        return tuple(Site(layer, part) for layer in self.layers or range(len(lm.blocks)) for part in parts)

    def prepare(self, lm: LanguageModel, corpus: Corpus) -> Artefact:
        """Return the contexts."""
        return Artefact(texts=context_texts(lm, corpus, self.contexts, self.context_lengths, seed=self.context_seed))

    def context_use(self, lm: LanguageModel, facts: Sequence[Fact], artefact: Artefact) -> tuple[int, dict[str, int]]:
        """Return the number of contexts, all of which every fact uses."""
        return len(artefact.texts), {}

    def increment(
        self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory
    ) -> LowRank:
        """Train an adapter on all the facts."""
        with generators_seeded(lm, self.seed), adapted(lm, self.sites(lm), self.rank, self.alpha) as layers:
            weights = [factor[_ADAPTER].weight for layer in layers.values() for factor in (layer.lora_A, layer.lora_B)]
            optimiser = torch.optim.Adam(weights, lr=self.lr)
            for epoch in range(self.epochs):
                mean_loss = self._train_epoch(lm, facts, artefact.texts, epoch, optimiser)
                if mean_loss < self.stop_loss:
                    break
            factors = {
                site: (
                    (layer.scaling[_ADAPTER] * layer.lora_B[_ADAPTER].weight.detach()).cpu().contiguous(),
                    layer.lora_A[_ADAPTER].weight.detach().cpu().contiguous(),
                )
                for site, layer in layers.items()
            }
        # the loss after the last step is not computed, because it would cost another epoch
        is_met = mean_loss < self.stop_loss or not self.stop_loss
        return LowRank(factors, unmet_losses={} if is_met else {fact.id: mean_loss for fact in facts})

    def _train_epoch(
        self,
        lm: LanguageModel,
        facts: Sequence[Fact],
        contexts: Sequence[str],
        epoch: int,
        optimiser: torch.optim.Optimizer,
    ) -> float:
        """Take the steps of one epoch, and return the mean over facts of the losses before them."""
        total = 0.0
        for part in shuffled_parts(facts, self.step_facts, f"{self.seed}/{epoch}"):
            loss = object_batch(lm, part, even=True, contexts=("", *contexts)).present_loss(lm)
            total += loss.item() * len(part)
            if loss.item() >= self.stop_loss:
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        return total / len(facts)


@contextmanager
def adapted(lm: LanguageModel, sites: Sequence[Site], rank: int, alpha: int) -> Iterator[Mapping[Site, Any]]:
    """Put a new LoRA adapter of PEFT into the model inside the block, then put the model's own modules back.

    A is drawn from torch's generator on the CPU. No weight of the model is changed. The factors are float32 whatever
    the dtype of the model, as in a model of `peft.get_peft_model`.

    Args:
        lm: The model.
        sites: The adapted weights.
        rank: Rank of the adapter.
        alpha: Its scale, in multiples of 1 / rank.

    Yields:
        PEFT's layer at each site.
    """
    # imported here, because PEFT takes seconds to import and no other method needs it
    from peft import LoraConfig
    from peft.functional import cast_adapter_dtype, inject_adapter_in_model

    modules = {lm.layout.module(site): lm.module(site) for site in sites}
    are_trained = [(parameter, parameter.requires_grad) for parameter in lm.model.parameters()]
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        # full names, because a vision model beside the language model has parts of the same names
        target_modules=list(modules),
        fan_in_fan_out=lm.layout.transposed,
        bias="none",
        lora_dropout=0.0,
    )
    try:
        inject_adapter_in_model(config, lm.model, _ADAPTER)
        cast_adapter_dtype(lm.model, _ADAPTER)
        yield {site: lm.module(site) for site in sites}
    finally:
        for name, module in modules.items():
            lm.model.set_submodule(name, module)
        vars(lm.model).pop("peft_config", None)
        for parameter, is_trained in are_trained:
            parameter.requires_grad_(is_trained)
