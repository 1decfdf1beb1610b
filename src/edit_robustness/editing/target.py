"""Optimising the value: the output at the subject's last token with which the model says the new object.

All locate-and-edit methods share this code (ROME, Meng et al. 2022, section 3.1 step 2 and eq. 4). Prompts are split at
the subject's last token. The tokens before it do not depend on the value, so they are run once and cached as keys and
values. Each step runs only the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import DynamicCache

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.contexts import ContextSource, context_texts
from edit_robustness.editing.method import Corpus, Method
from edit_robustness.editing.value_optimizers import OPTIMIZERS, OptimizerName
from edit_robustness.models.decode import KeysValues, fresh_cache, read_cache, without_padding
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import (
    RenderedPrompt,
    SubjectNotFound,
    last,
    pad,
    positions,
    subject_end,
    target_ids,
)
from edit_robustness.models.trace import blocks_recorded, blocks_replayed, output_changed
from edit_robustness.records import SLOT, Fact

ESSENCE = f"{SLOT} is a"
"""The essence prompt: the KL term keeps the model's output after it close to the unedited model's."""

KlPosition = Literal["prompt_end", "subject_last"]
"""Where the KL term is taken: after the essence prompt, as the paper says, or after the subject's last token in it, as
the released codes of ROME, MEMIT, PMET and AlphaEdit do."""

_SETTLED = 0.01
"""Largest KL term at which a search with a `leading_weight` stops, as in the released code of PMET."""
Precision = Literal["model", "bfloat16"]
"""Numbers of the passes that find a value: those of the model, or bfloat16 in matrix products (torch's autocast)."""


@dataclass(frozen=True)
class Objective:
    """The objective of a value and the settings of its optimiser.

    Attributes:
        lr: Size of a step: Adam's learning rate. With `polyak` the largest step, and with `lbfgs` the first trial step,
            in multiples of the norm of the output it changes.
        steps: Maximum number of losses, the first of which is the unedited model's.
        clamp: Largest change, in multiples of the norm of the output it changes.
        kl_factor: Weight of the KL term on the essence prompt.
        weight_decay: Weight of the change's norm, in units of that output's squared norm.
        stop_loss: Stop if the loss is below this.
        kl_position: Where the KL term is taken.
        leading_weight: Weight of the likelihood at steps before which the new object was the most probable continuation
            in every context. Below 1 the search also stops there if the KL term is at most .01.
        optimizer: Name of the optimiser.
        precision: Numbers of the passes.
        stop_leads: Number of losses with the new object as the most probable continuation in every context, at which
            the search stops whatever they are; 0 for no such stop (2 in ENCORE, Gupta et al. 2025, arXiv 2502.01636).
    """

    lr: float
    steps: int
    clamp: float
    kl_factor: float
    weight_decay: float
    stop_loss: float
    kl_position: KlPosition = "prompt_end"
    leading_weight: float = 1.0
    optimizer: OptimizerName = "adam"
    precision: Precision = "model"
    stop_leads: int = 0


class ByValue(Method):
    """A method that optimises values; its hyperparameters have the names that are usual in the field.

    The settings `v_optimizer`, `v_shares` and `v_precision` are described in docs/explanation/methods.md. Published
    presets have Adam, no shares, and the model's own precision.
    """

    v_lr: float
    v_steps: int
    v_stop_loss: float
    clamp_norm_factor: float
    kl_factor: float
    v_weight_decay: float
    context_lengths: tuple[int, ...]
    kl_position: KlPosition
    contexts: ContextSource
    context_seed: int
    v_optimizer: OptimizerName
    v_shares: bool
    v_precision: Precision

    @property
    def objective(self) -> Objective:
        """Return the settings of the optimiser."""
        return Objective(
            lr=self.v_lr,
            steps=self.v_steps,
            clamp=self.clamp_norm_factor,
            kl_factor=self.kl_factor,
            weight_decay=self.v_weight_decay,
            stop_loss=self.v_stop_loss,
            kl_position=self.kl_position,
            optimizer=self.v_optimizer,
            precision=self.v_precision,
        )

    def context_texts(self, lm: LanguageModel, corpus: Corpus) -> tuple[str, ...]:
        """Return the texts that are put before every statement."""
        return context_texts(lm, corpus, self.contexts, self.context_lengths, seed=self.context_seed)

    def context_use(self, lm: LanguageModel, facts: Sequence[Fact], artefact: Artefact) -> tuple[int, dict[str, int]]:
        """Count the contexts, and for each fact those in which no token contains the end of its subject."""
        number = len(artefact.texts)
        unused_counts = {fact.id: number - len(prompts_in_contexts(lm, fact, artefact.texts)) for fact in facts}
        return number, {fact: count for fact, count in unused_counts.items() if count}


@dataclass(frozen=True)
class Value:
    """The result of an optimisation.

    Attributes:
        changes: For each place the vector (hidden,) to add to its output at the subject's last token.
        outputs: For each place the output (hidden,) there before the change, after the bare statement.
        losses: Each loss that was computed.
        suffix: Number of tokens of the longest row that each step runs, which determines the time.
        is_met: Whether the search reached its goal, or has none (a stop of 0); if not, it used up its steps.
    """

    changes: Mapping[Site, Tensor]
    outputs: Mapping[Site, Tensor]
    losses: tuple[float, ...]
    suffix: int
    is_met: bool


def unmet_losses(facts: Sequence[Fact], values: Sequence[Value]) -> dict[str, float]:
    """Return the last loss of each fact whose search used up its steps without reaching its goal, by fact id."""
    return {fact.id: value.losses[-1] for fact, value in zip(facts, values, strict=True) if not value.is_met}


@dataclass(frozen=True)
class Prompts:
    """Prompts split at the subject's last token.

    The last row is the essence prompt. The others are the bare statement and the statement in each context, each
    followed by the target without its last token. The subject's last token is the first column of `tail`, whichever
    token it is in that row. The tokens after it are moved to the right end, so that the columns whose logits are needed
    are the same for all rows, and no more than the target has tokens.

    Attributes:
        head: (rows, before) ids before the subject's last token, padded on the left.
        head_mask: (rows, before), 0 where padded.
        tail: (rows, after) ids from the subject's last token on, padded after that token.
        tail_mask: (rows, after), 0 where padded.
        target: (tokens,) ids of the new object.
        states: Keys and values of the head, if it is run once; None if every step runs everything.
    """

    head: Tensor
    head_mask: Tensor
    tail: Tensor
    tail_mask: Tensor
    target: Tensor
    states: KeysValues | None = None

    @property
    def mask(self) -> Tensor:
        """Return the mask of head and tail, (rows, before + after)."""
        return torch.cat([self.head_mask, self.tail_mask], dim=1)

    @property
    def subject_column(self) -> int:
        """Return the column of the subject's last token in what each step runs."""
        return 0 if self.states is not None else self.head.shape[1]

    def logits(self, lm: LanguageModel, *, at_subject: bool = False) -> Tensor:
        """Compute the logits that predict the target, (rows, target tokens, vocabulary).

        They come from the cached head if there is one, else from the whole prompts.

        Args:
            lm: The model.
            at_subject: Whether to put one column before them: the logits after the subject's last token.
        """
        columns = last(len(self.target))
        if not at_subject and not self.ends_in_subject.any():
            return self._logits(lm, columns)
        logits = self._logits(lm, torch.cat([torch.tensor([self.subject_column]), columns]))
        first = torch.where(self.ends_in_subject[:, None], logits[:, 0], logits[:, 1])
        logits = torch.cat([logits[:, :1], first[:, None], logits[:, 2:]], dim=1)
        return logits if at_subject else logits[:, 1:]

    @cached_property
    def ends_in_subject(self) -> Tensor:
        """Return a mask (rows,) of the rows whose target directly follows the subject, with padding between the two."""
        tokens = len(self.target)
        return (self.tail_mask.sum(1) == tokens) & (self.tail.shape[1] > tokens)

    def _logits(self, lm: LanguageModel, columns: Tensor) -> Tensor:
        """Return the logits after some columns of what is run."""
        ids, place, cache = self.tail, positions(self.mask), None
        if self.states is None:
            ids = torch.cat([self.head, self.tail], dim=1)
        else:
            place, cache = place[:, self.head.shape[1] :], fresh_cache(self.states)
        logits: Tensor = lm.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=place,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=columns,
        ).logits
        return logits


def prompts_in_contexts(lm: LanguageModel, fact: Fact, contexts: Sequence[str]) -> list[tuple[list[int], int]]:
    """Return the statement after each usable context: its ids, and the index of the subject's last token.

    Context and statement are tokenized together, as the model would read them. After a context a subject may have other
    tokens than at the beginning of a text (`Athens`: `At`, `hens`, and after a space one token). A context is left out
    if no token there contains the end of the subject.
    """
    prompts = []
    for context in contexts:
        with suppress(SubjectNotFound):
            prompts.append(subject_end(lm, context + fact.prompt, fact.subject))
    return prompts


def split_prompts(lm: LanguageModel, fact: Fact, contexts: Sequence[str]) -> Prompts:
    """Split the bare statement, the statement in each context and the essence prompt at the subject's last token.

    Contexts are left out as in `prompts_in_contexts`.
    """
    statements = [subject_end(lm, fact.prompt, fact.subject), *prompts_in_contexts(lm, fact, contexts)]
    target = target_ids(lm, RenderedPrompt(fact.statement, join=fact.join), fact.target_new)
    essence = subject_end(lm, ESSENCE, fact.subject)
    heads = [ids[:end] for ids, end in [*statements, essence]]
    tails = [*[ids[end:] + target[:-1] for ids, end in statements], essence[0][essence[1] :]]
    head, head_mask = pad(heads, lm.pad_id, side="left", device=lm.device)
    after, after_mask = pad([tail[1:] for tail in tails], lm.pad_id, side="left", device=lm.device)
    ends = torch.tensor([tail[:1] for tail in tails], device=lm.device)
    return Prompts(
        head=head,
        head_mask=head_mask,
        tail=torch.cat([ends, after], dim=1),
        tail_mask=torch.cat([torch.ones_like(ends), after_mask], dim=1),
        target=torch.tensor(target, device=lm.device),
    )


@torch.no_grad()
def with_cached_head(lm: LanguageModel, prompts: Prompts) -> Prompts:
    """Return the prompts with the head run and cached; unchanged if every head is empty."""
    if prompts.head.shape[1] == 0:
        return prompts
    cache = DynamicCache()
    lm.model(
        input_ids=prompts.head,
        attention_mask=prompts.head_mask,
        position_ids=positions(prompts.head_mask),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=last(1),
    )
    return replace(prompts, states=without_padding(read_cache(cache), prompts.head_mask))


def optimise_value(
    lm: LanguageModel,
    places: Sequence[Site],
    fact: Fact,
    contexts: Sequence[str],
    objective: Objective,
    *,
    shares: Tensor | None = None,
    use_cache: bool = True,
) -> Value:
    """Find the change of some outputs at the subject's last token that makes the model say the new object.

    Minimises the mean over contexts of the target's negative log-likelihood per token, plus the divergence
    KL(edited || unedited) on the essence prompt, plus a decay. Each change stays inside a ball around its output. The
    first loss is that without a change, the unedited model's. After the last loss no step is taken, as in ROME.

    Args:
        lm: The model, with any earlier edits applied.
        places: The sites to whose outputs a change is added. The outputs must go into the residual stream.
        fact: The fact with its new object.
        contexts: Texts before the statement.
        objective: Settings of the optimiser.
        shares: The share of a change that the edit will give each prompt, (prompts,) in the order of `split_prompts`;
            None for all of it.
        use_cache: Whether to run the tokens before the subject's last token only once, and likewise the blocks below
            the first place (fast). Otherwise every step runs everything (slow, the reference).
    """
    prompts = split_prompts(lm, fact, contexts)
    if use_cache:
        prompts = with_cached_head(lm, prompts)
    optimizer = OPTIMIZERS[objective.optimizer](objective.lr, objective.steps)
    with ExitStack() as stack:
        search = _Search(lm, tuple(places), prompts, objective, shares, stack if use_cache else None)
        losses = tuple(optimizer.minimise(search))
    is_met = search.was_met or objective.stop_loss == 0
    return Value(search.read_changes(), search.outputs, losses, prompts.tail.shape[1], is_met)


class _Search:
    """The loss of the changes of one fact; it stores the unedited model's output at its first loss.

    Attributes:
        outputs: For each place the output before the change, after the bare statement.
        was_met: Whether the search has reached its goal.
    """

    def __init__(
        self,
        lm: LanguageModel,
        places: tuple[Site, ...],
        prompts: Prompts,
        objective: Objective,
        shares: Tensor | None,
        replays: ExitStack | None,
    ):
        self._lm, self._places, self._prompts, self._objective = lm, places, prompts, objective
        self._shares = None if shares is None else shares.to(lm.device)[:, None, None]
        self._replays, self._below = replays, list[Any]()
        self._before: Tensor | None = None
        self._at_subject = objective.kl_position == "subject_last"
        self._weight, self._n_leads, self._is_settled, self.was_met = 1.0, 0, False, False
        self.outputs: dict[Site, Tensor] = {}
        width = lm.config.hidden_size
        self._changes = {place: torch.zeros(width, device=lm.device, requires_grad=True) for place in places}

    @property
    def changes(self) -> list[Tensor]:
        """Return the change of each place."""
        return list(self._changes.values())

    @property
    def norms(self) -> list[Tensor]:
        """Return the norm of the output that each change changes."""
        return [self.outputs[place].norm() for place in self._places]

    @property
    def stop_loss(self) -> float:
        """Return the loss below which the search stops."""
        return self._objective.stop_loss

    def is_met(self, loss: float) -> bool:
        """Return whether the loss is below the stop, or the new object leads (`leading_weight`, `stop_leads`)."""
        self.was_met = loss < self._objective.stop_loss or self._is_settled
        return self.was_met

    def loss(self) -> Tensor:
        """Compute the objective at the present changes."""
        is_first = self._before is None
        if self._replays is not None and self._below:
            self._replays.enter_context(blocks_replayed(self._lm, self._below))
            self._below = []
        with ExitStack() as hooks:
            for place in self._places:
                hooks.enter_context(output_changed(self._lm, place, self._build_hook(place)))
            if is_first:
                self._below = hooks.enter_context(blocks_recorded(self._lm, min(p.layer for p in self._places)))
            if self._objective.precision == "bfloat16":
                hooks.enter_context(torch.autocast(self._lm.device.type, torch.bfloat16))
            logits = self._prompts.logits(self._lm, at_subject=self._at_subject)
        essence = logits[-1, 0 if self._at_subject else -1].float().log_softmax(-1)
        log_probabilities = logits[:-1, -len(self._prompts.target) :].float().log_softmax(-1)
        if self._before is None:
            self._before = essence.detach()
        target = self._prompts.target.expand(len(log_probabilities), -1)
        likelihood = log_probabilities.gather(2, target[:, :, None]).mean()
        divergence = self._objective.kl_factor * (essence.exp() * (essence - self._before)).sum()
        loss = -self._weight * likelihood + divergence + self._objective.weight_decay * self._decay()
        if self._objective.leading_weight < 1 or self._objective.stop_leads:
            self._note_lead(bool((log_probabilities.argmax(-1) == target).all()), divergence.item())
        return loss

    def _note_lead(self, leads: bool, divergence: float) -> None:
        """Note whether the new object leads in every context, which may end the search or lower its weight."""
        objective = self._objective
        self._n_leads += leads
        self._is_settled = 0 < objective.stop_leads <= self._n_leads
        if objective.leading_weight < 1:
            self._weight = objective.leading_weight if leads else 1.0
            self._is_settled |= leads and divergence <= _SETTLED

    @torch.no_grad()
    def project(self) -> None:
        """Shorten changes that are outside of their balls."""
        for place, change in self._changes.items():
            change *= (self._objective.clamp * self.outputs[place].norm() / change.norm()).clamp(max=1)

    def read_changes(self) -> dict[Site, Tensor]:
        """Return the changes found so far, by place."""
        return {place: change.detach() for place, change in self._changes.items()}

    def _decay(self) -> Tensor:
        return sum(
            (change.norm() / self.outputs[place].norm() ** 2 for place, change in self._changes.items()),
            torch.zeros((), device=self._lm.device),
        )

    def _build_hook(self, place: Site) -> Callable[[Tensor, Tensor], Tensor]:
        column, change = self._prompts.subject_column, self._changes[place]

        def add(_: Tensor, output: Tensor) -> Tensor:
            if place not in self.outputs:
                self.outputs[place] = output[0, column].detach().float()
            row_change = change if self._shares is None else self._shares * change
            column_output = output[:, column : column + 1] + row_change.to(output.dtype)
            return torch.cat([output[:, :column], column_output, output[:, column + 1 :]], dim=1)

        return add
