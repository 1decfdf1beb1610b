"""KN: attribution finds the few MLP neurons that express a fact, and the edit rewrites them (Dai et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.contexts import statement_contexts
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import LowRank
from edit_robustness.editing.last_token import rows_of, split_at_last_token
from edit_robustness.editing.method import Corpus, Method, Unsolvable
from edit_robustness.editing.target import Prompts
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import RenderedPrompt, target_ids
from edit_robustness.models.trace import blocks_recorded, blocks_replayed, output_changed
from edit_robustness.records import Fact
from edit_robustness.setting_types import STRICT, ListSetting


@dataclass(frozen=True, config=STRICT)
class KnowledgeNeurons(Method):
    """Knowledge neurons, rewritten from the old object to the new one (section 4.3, "updating facts").

    A neuron is one input of an MLP's output weight, its value that weight's column. The value of each knowledge neuron
    changes by lambda_new e(new) - lambda_old e(old), with e the output embedding of an object's first token: the
    paper's BERT has one embedding for input and output, and what a column writes is read by the output's.

    The variant `easyedit` is what EasyEdit runs under this name on Llama, and what the studies that use it report:

    - A neuron's attribution is that of what enters the MLP's activation function, at the points k / (m - 1) for
      k = 0 .. m - 1. With one step the only point is zero.
    - It is averaged over the old object's tokens, each after the tokens that the model itself says before it.
    - Taken away are the input embeddings of what the model says after the statement, as many tokens as the new object
      has, and twice where that is one. Added are those of all the new object's tokens.

    Attributes:
        variant: `paper`, or `easyedit`; its own values of the settings below are in conf/paper2.
        steps: Points of the integral of an attribution (the paper's m).
        threshold: A neuron counts for a prompt if its attribution is above this share of the largest (t).
        sharing: It is kept if it counts for at least this share of the prompts (p), or, where none does, if none
            counts for more prompts than it.
        lambda_old: How much of the old object's embedding is taken away.
        lambda_new: How much of the new object's embedding is added.
        context_lengths: Tokens of each text put before the statement: the prompts beside the bare statement. The
            paper has paraphrases; here those are what the edit is tested with.
        batch: How many rows (a prompt at a point of its integral) are run at once.
    """

    name: ClassVar[str] = "kn"
    learns_from: ClassVar[tuple[str, ...]] = ("texts",)

    steps: PositiveInt
    threshold: NonNegativeFloat
    sharing: NonNegativeFloat
    lambda_old: NonNegativeFloat
    lambda_new: PositiveFloat
    context_lengths: ListSetting[PositiveInt]
    batch: PositiveInt
    variant: Literal["paper", "easyedit"] = "paper"

    def prepare(self, lm: LanguageModel, corpus: Corpus) -> Artefact:
        """Return the contexts."""
        return Artefact(texts=statement_contexts(lm, corpus.texts, self.context_lengths))

    def increment(
        self, lm: LanguageModel, facts: Sequence[Fact], *, artefact: Artefact, history: EditHistory
    ) -> LowRank:
        """Compute a rank-one change at each layer that has knowledge neurons of the fact.

        Raises:
            ValueError: If the fact has no old object.
        """
        fact = facts[0]
        if not fact.target_true.strip():
            raise ValueError(f"kn rewrites the old object, and {fact.id} has none: fill in its target_true")
        prompt = RenderedPrompt(fact.statement, join=fact.join)
        old, new = (target_ids(lm, prompt, target) for target in (fact.target_true, fact.target_new))
        prompts = [context + fact.statement for context in ("", *artefact.texts)]
        if self.variant == "paper":
            scores = attributions(lm, prompts, old[0], steps=self.steps, batch=self.batch)
            change = self._change(lm.model.get_output_embeddings().weight, old[:1], new[:1])
        else:
            scores = generated_attributions(lm, prompts, old, steps=self.steps, batch=self.batch)
            _, answers = continue_greedily(lm, [fact.statement], len(new))
            change = self._change(lm.model.get_input_embeddings().weight, answers[0] * (2 if len(new) == 1 else 1), new)
        neurons = shared_neurons(scores, threshold=self.threshold, sharing=self.sharing)
        layers = neurons.any(1).nonzero()[:, 0].tolist()
        # a copy for each layer, because tensors that share memory cannot be saved
        return LowRank({Site(i, "mlp_out"): (change.clone(), neurons[i].float().cpu()[None]) for i in layers})

    def _change(self, embeddings: Tensor, old: Sequence[int], new: Sequence[int]) -> Tensor:
        """Compute what is added to a neuron's value, (d_out, 1), from the tokens to subtract and to add."""
        embedding = embeddings.detach().float()
        return (self.lambda_new * embedding[new].sum(0) - self.lambda_old * embedding[old].sum(0)).cpu()[:, None]


def shared_neurons(scores: Tensor, *, threshold: float, sharing: float) -> Tensor:
    """Select the neurons that express a fact (Dai et al. 2022, section 3.3), (layers, d_in) of truth values.

    Args:
        scores: Attributions, (prompts, layers, d_in).
        threshold: The share of a prompt's largest attribution above which a neuron counts for that prompt.
        sharing: The share of prompts for which a neuron must count. If no neuron reaches it, the largest share reached.

    Raises:
        Unsolvable: If no neuron counts for any prompt.
    """
    largest = scores.amax(dim=(1, 2), keepdim=True)
    counts = ((scores > threshold * largest) & (largest > 0)).sum(0)
    if not counts.any():
        raise Unsolvable(f"no neuron counts for any prompt: lower kn's threshold (it is {threshold})")
    # less a small number, because 0.7 x 10 may be slightly above 7 in floating point
    least_count = math.ceil(sharing * len(scores) - 1e-9)
    return counts >= max(1, min(least_count, int(counts.max())))


def attributions(lm: LanguageModel, texts: Sequence[str], token: int, *, steps: int, batch: int) -> Tensor:
    """Compute each neuron's attribution to the probability P of a token after each prompt, by integrated gradients.

    With w the activations of a layer's neurons at the prompt's last token, Attr(w) = w / m * sum over k = 1 .. m of the
    gradient of P at k/m w (Dai et al. 2022, eq. 2 and 3; the whole layer is scaled at once). Each step runs only the
    last token, and only the layers from the scaled one on.

    Args:
        lm: The model, with any earlier edits applied.
        texts: The prompts.
        token: Id of the token.
        steps: The number m of points.
        batch: Number of rows, each a prompt at a point, that are run at once.

    Returns:
        (prompts, layers, d_in) in float32.
    """
    return _integrate(lm, texts, token, torch.arange(1, steps + 1) / steps, part="mlp_out", batch=batch)


def generated_attributions(
    lm: LanguageModel, texts: Sequence[str], target: list[int], *, steps: int, batch: int
) -> Tensor:
    """Compute the attributions of the variant `easyedit` (`KnowledgeNeurons`), (prompts, layers, d_in) in float32."""
    prompt_lists, _ = continue_greedily(lm, texts, len(target))
    points = torch.linspace(0, 1, steps)
    part = "mlp_gate" if "mlp_gate" in lm.layout.parts else "mlp_in"
    token_scores = [
        _integrate(lm, prompts, token, points, part=part, batch=batch)
        for prompts, token in zip(prompt_lists, target, strict=True)
    ]
    return torch.stack(token_scores).mean(0)


@torch.no_grad()
def continue_greedily(lm: LanguageModel, texts: Sequence[str], tokens: int) -> tuple[list[list[str]], list[list[int]]]:
    """Generate some tokens greedily after each prompt.

    Returns:
        The prompts before each of the tokens, and for each prompt those tokens.
    """
    prompts = [list(texts)]
    continuations: list[list[int]] = [[] for _ in texts]
    for _ in range(tokens):
        logits = split_at_last_token(lm, prompts[-1], [0]).logits(lm)[:, -1]
        for ids, token in zip(continuations, logits.argmax(-1).tolist(), strict=True):
            ids.append(token)
        prompts.append(
            [text + lm.tokenizer.decode(ids[-1:]) for text, ids in zip(prompts[-1], continuations, strict=True)]
        )
    return prompts[:-1], continuations


def _integrate(lm: LanguageModel, texts: Sequence[str], token: int, points: Tensor, *, part: str, batch: int) -> Tensor:
    """Compute activations times the mean of their gradients over some points, (prompts, layers, neurons) in float32.

    Args:
        lm: The model.
        texts: The prompts.
        token: Id of the token whose probability is explained.
        points: The shares of the activations at which gradients are taken.
        part: `mlp_out` if the activations are that weight's inputs; else they are the part's outputs.
        batch: Number of rows that are run at once.
    """
    prompts = split_at_last_token(lm, texts, [token])
    rows = torch.arange(len(texts), device=lm.device).repeat_interleave(len(points))
    shares = points.to(lm.device).repeat(len(texts))
    total = torch.zeros(len(texts), len(lm.blocks), lm.weight(Site(0, "mlp_out")).shape[1], device=lm.device)
    for row_batch, share_batch in zip(rows.split(batch), shares.split(batch), strict=True):
        total.index_add_(0, row_batch, _compute_integrands(lm, rows_of(prompts, row_batch), token, share_batch, part))
    return total / len(points)


def _compute_integrands(lm: LanguageModel, prompts: Prompts, token: int, points: Tensor, part: str) -> Tensor:
    """Compute the activations times the gradients at each row's point, (rows, layers, neurons)."""
    activations, below = _read_activations(lm, prompts, part)
    integrands = []
    for layer, values in enumerate(activations):
        site = Site(layer, part)
        # the site's output is scaled, so that the graph begins there
        weight = lm.weight(site).to(lm.device).float() if part == "mlp_out" else None
        offset = (points[:, None] - 1) * (values if weight is None else values @ weight.T)
        leaves: list[Tensor] = []

        def scale(_: Tensor, output: Tensor, offset: Tensor = offset, leaves: list[Tensor] = leaves) -> Tensor:
            leaves.append((output + offset[:, None].to(output.dtype)).detach().requires_grad_())
            return leaves[0]

        with output_changed(lm, site, scale), blocks_replayed(lm, below[:layer]):
            probability = prompts.logits(lm)[:, -1].float().softmax(-1)[:, token].sum()
        gradient = torch.autograd.grad(probability, leaves)[0][:, 0].float()
        integrands.append(values * (gradient if weight is None else gradient @ weight))
    return torch.stack(integrands, dim=1)


@torch.no_grad()
def _read_activations(lm: LanguageModel, prompts: Prompts, part: str) -> tuple[list[Tensor], list[Any]]:
    """Read each layer's activations (rows, neurons) at the last token, and the outputs of its block."""
    activations: list[Tensor] = []

    def keep(inputs: Tensor, output: Tensor) -> Tensor:
        activations.append((inputs if part == "mlp_out" else output)[:, -1].float())
        return output

    with ExitStack() as hooks:
        for layer in range(len(lm.blocks)):
            hooks.enter_context(output_changed(lm, Site(layer, part), keep))
        below = hooks.enter_context(blocks_recorded(lm, len(lm.blocks)))
        prompts.logits(lm)
    return activations, below
