"""MEND's networks, which compute an edit from a fact's fine-tuning gradient (Mitchell et al. 2022, section 3).

The gradient of a weight (d_out, d_in) is a sum over tokens of outer products delta u^T: u is the weight's input at a
token, and delta is the gradient of the loss with respect to its output there. The networks read the two vectors of each
token and never the matrix: a few thousand numbers instead of millions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import RenderedPrompt, last, pad, positions, prompt_ids, target_ids
from edit_robustness.models.trace import output_changed

Row = tuple[list[int], list[int]]
"""Token ids of a text, and of the tokens to predict after it."""


def prompt_and_answer_ids(lm: LanguageModel, text: str, answer: str, join: str | None = None) -> Row:
    """Return the token ids of a prompt and of the answer that follows it.

    Args:
        lm: The model.
        text: The prompt.
        answer: The answer.
        join: Text between them; None for the usual one (`text.joining`).
    """
    prompt = RenderedPrompt(text, join=join)
    return prompt_ids(lm, prompt), target_ids(lm, prompt, answer)


@dataclass(frozen=True)
class Batch:
    """Rows padded on the left, so that the predicted tokens of all rows are in the last columns.

    Attributes:
        ids: (rows, tokens), each text with its predicted tokens except the last.
        mask: (rows, tokens), 0 where padded.
        labels: (rows, columns), the tokens that the last columns predict, or `_NOT_ASKED`.
    """

    ids: Tensor
    mask: Tensor
    labels: Tensor

    @classmethod
    def of(cls, lm: LanguageModel, rows: Sequence[Row]) -> Self:
        """Build the batch of some rows."""
        ids, mask = pad([before + after[:-1] for before, after in rows], lm.pad_id, side="left", device=lm.device)
        labels, _ = pad([after for _, after in rows], _NOT_ASKED, side="left", device=lm.device)
        return cls(ids, mask, labels)

    def logits(self, lm: LanguageModel) -> Tensor:
        """Compute the logits that predict the labels, (rows, columns, vocabulary) in float32."""
        logits: Tensor = lm.model(
            input_ids=self.ids,
            attention_mask=self.mask,
            position_ids=positions(self.mask),
            use_cache=False,
            logits_to_keep=last(self.labels.shape[1]),
        ).logits
        return logits.float()

    def losses(self, logits: Tensor) -> Tensor:
        """Compute the mean negative log-likelihood of each row's labels, (rows,)."""
        token_losses = cross_entropy(
            logits.flatten(0, 1), self.labels.flatten(), ignore_index=_NOT_ASKED, reduction="none"
        )
        return self._means(token_losses.view_as(self.labels))

    def divergences(self, before: Tensor, after: Tensor) -> Tensor:
        """Compute KL(before

        after), the mean of each row's columns, (rows,).
        """
        log_before, log_after = before.log_softmax(-1), after.log_softmax(-1)
        return self._means((log_before.exp() * (log_before - log_after)).sum(-1))

    def _means(self, columns: Tensor) -> Tensor:
        is_label = self.labels != _NOT_ASKED
        return columns.where(is_label, 0).sum(1) / is_label.sum(1)


_NOT_ASKED = -100


@dataclass(frozen=True)
class TokenGradient:
    """A weight's gradient in factors: for each row the sum over tokens of `deltas` x `inputs`.

    Attributes:
        inputs: (rows, tokens, d_in), u, in float32.
        deltas: (rows, tokens, d_out), delta, in float32.
        carries: (rows, tokens), whether the gradient is not zero; a normalised zero would not be zero.
    """

    inputs: Tensor
    deltas: Tensor
    carries: Tensor


def token_gradients(
    lm: LanguageModel, sites: Sequence[Site], batch: Batch, rows: int | None = None
) -> tuple[dict[Site, TokenGradient], Tensor]:
    """Compute the gradient of each row's own loss by each weight, in factors, from one forward and one backward pass.

    Args:
        lm: The model; its parameters need no gradients.
        sites: The weights.
        batch: The texts.
        rows: Number of first rows whose gradients to compute; all if None.

    Returns:
        The gradients, and the batch's logits, detached.
    """
    inputs: dict[Site, Tensor] = {}
    zeros: dict[Site, Tensor] = {}

    def build_hook(site: Site) -> Callable[[Tensor, Tensor], Tensor]:
        def add(site_input: Tensor, output: Tensor) -> Tensor:
            inputs[site], zeros[site] = site_input.detach(), torch.zeros_like(output, requires_grad=True)
            return output + zeros[site]

        return add

    with ExitStack() as hooks:
        for site in sites:
            hooks.enter_context(output_changed(lm, site, build_hook(site)))
        logits = batch.logits(lm)
    deltas = torch.autograd.grad(batch.losses(logits)[:rows].sum(), [zeros[site] for site in sites])
    gradients = {}
    for site, delta in zip(sites, deltas, strict=True):
        carries = batch.mask[:rows].bool() & (delta[:rows] != 0).any(-1)
        gradients[site] = TokenGradient(inputs[site][:rows].float(), delta[:rows].float(), carries)
    return gradients, logits.detach()


class GradientEditors:
    """A network for each shape of weight, shared by the sites of that shape, with a scale and an offset per site.

    From z, the normalised u and delta of a token concatenated, a network computes (equation 3 of the paper; ReLU)

        h = z + ReLU(s1 * (U1 V1 z + b1) + o1),   g = h + ReLU(s2 * (U2 V2 h + b2) + o2)

    where g is the new u and delta, and the edit is -rate * sum over tokens of delta u^T. U1 and U2 start at zero, so
    that an untrained network is the identity, and its edit is a gradient step of normalised u and delta.

    Args:
        tensors: For each shape U, V and b of both layers, for each site s and o, the rate, and of all the tokens seen
            in training their number, mean and sum of squared deviations.
    """

    def __init__(self, tensors: Mapping[str, Tensor]):
        self.tensors = dict(tensors)

    @classmethod
    def build_identity(cls, lm: LanguageModel, sites: Sequence[Site], *, rank: int, rate: float, seed: int) -> Self:
        """Build identity networks; the same for the same seed, whatever the state of torch's generator."""
        generator = torch.Generator().manual_seed(seed)
        tensors: dict[str, Tensor] = {}
        for site in sites:
            d_out, d_in = lm.weight(site).shape
            shape, width = f"{d_out}x{d_in}", d_out + d_in
            for layer in _LAYERS:
                if f"{shape}.U{layer}" not in tensors:
                    tensors[f"{shape}.U{layer}"] = torch.zeros(width, rank)
                    tensors[f"{shape}.V{layer}"] = torch.randn(rank, width, generator=generator)
                    tensors[f"{shape}.b{layer}"] = torch.zeros(width)
                tensors[f"{site}.s{layer}"], tensors[f"{site}.o{layer}"] = torch.ones(width), torch.zeros(width)
            tensors[f"{site}.rate"] = torch.tensor(rate)
            tensors[f"{site}.mean"] = torch.zeros(width, dtype=torch.float64)
            tensors[f"{site}.squares"] = torch.zeros(width, dtype=torch.float64)
            tensors[f"{site}.count"] = torch.zeros((), dtype=torch.float64)
        return cls({name: tensor.to(lm.device) for name, tensor in tensors.items()})

    @property
    def learned_tensors(self) -> dict[str, Tensor]:
        """Return all tensors but the statistics."""
        return {name: tensor for name, tensor in self.tensors.items() if not name.endswith(_STATISTICS)}

    @torch.no_grad()
    def see(self, site: Site, gradient: TokenGradient) -> None:
        """Add a gradient's tokens to the running statistics (Welford's recurrence for batches: Chan et al.)."""
        tokens = torch.cat([gradient.inputs, gradient.deltas], dim=-1)[gradient.carries].double()
        if not len(tokens):
            return
        mean, squares, count = (self.tensors[f"{site}{name}"] for name in _STATISTICS)
        total, centre = count + len(tokens), tokens.mean(0)
        shift = centre - mean
        squares.add_((tokens - centre).square().sum(0)).add_(shift.square() * count * len(tokens) / total)
        mean.add_(shift * len(tokens) / total)
        count.copy_(total)

    def factors(self, site: Site, gradient: TokenGradient) -> tuple[Tensor, Tensor]:
        """Compute the edit of each row as `left` (rows, tokens, d_out) and `right` (rows, tokens, d_in).

        The change of the weight is the sum over tokens of left x right; left is zero where the gradient is zero.
        """
        d_in, d_out = gradient.inputs.shape[-1], gradient.deltas.shape[-1]
        g = self._normalise(site, torch.cat([gradient.inputs, gradient.deltas], dim=-1))
        for layer in _LAYERS:
            u, v, b = (self.tensors[f"{d_out}x{d_in}.{letter}{layer}"] for letter in "UVb")
            s, o = (self.tensors[f"{site}.{letter}{layer}"] for letter in "so")
            # not relu: the network starts at zero, where the gradient of relu is zero, so it would never learn
            g = g + (s * (g @ v.T @ u.T + b) + o).clamp(min=0)
        right, delta = g.split([d_in, d_out], dim=-1)
        return (-self.tensors[f"{site}.rate"] * delta).where(gradient.carries[..., None], 0), right

    def _normalise(self, site: Site, tokens: Tensor) -> Tensor:
        mean, squares, count = (self.tensors[f"{site}{name}"] for name in _STATISTICS)
        deviation = (squares / (count - 1).clamp(min=1)).sqrt()
        # otherwise a unit that was hardly ever active in training would get an unbounded value when it is active
        floor = _FLOOR * deviation.mean() + torch.finfo(torch.float64).tiny
        return ((tokens - mean) / deviation.clamp(min=floor)).float()


_LAYERS = (1, 2)
_STATISTICS = (".mean", ".squares", ".count")
_FLOOR = 0.01
"""Minimum deviation, as a share of the mean deviation."""
