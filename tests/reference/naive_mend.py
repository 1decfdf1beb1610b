"""Naive transcription of MEND (Mitchell et al. 2022): one prompt and one token at a time, weights really changed.

Written from the paper and for the tokenizer of bytes, so that it shares no code with what it checks.
"""

from __future__ import annotations

import numpy as np
import torch
from naive_editing import forward, ids_of
from torch import Tensor

from edit_robustness.models.language_model import LanguageModel


def likelihood_loss(lm: LanguageModel, before: list[int], after: list[int]) -> Tensor:
    """The mean negative log-likelihood of some tokens after others."""
    logprobs = forward(lm, before + after)
    return -sum(logprobs[len(before) - 1 + i, token] for i, token in enumerate(after)) / len(after)


def weight_gradient(lm: LanguageModel, module: torch.nn.Module, rows: list[tuple[list[int], list[int]]]) -> Tensor:
    """Autograd's gradient of a module's own weight, as it is stored, summed over rows."""
    module.weight.requires_grad_()
    loss = sum(likelihood_loss(lm, before, after) for before, after in rows)
    (gradient,) = torch.autograd.grad(loss, module.weight)
    module.weight.requires_grad_(False)
    return gradient


def token_vectors(lm: LanguageModel, module: torch.nn.Module, text: str, answer: str) -> list[tuple]:
    """For each token u and delta, what enters the module and the loss's gradient by what leaves it."""
    inputs, outputs = [], []

    def keep(_, args, output):
        inputs.append(args[0][0])
        outputs.append(output)

    hooks = [
        module.register_forward_hook(keep),
        lm.model.get_input_embeddings().register_forward_hook(lambda _, args, output: output.requires_grad_()),
    ]
    try:
        loss = likelihood_loss(lm, ids_of(lm, text), ids_of(lm, " " + answer))
    finally:
        for hook in hooks:
            hook.remove()
    (deltas,) = torch.autograd.grad(loss, outputs)
    tokens = zip(inputs[0].detach().double().numpy(), deltas[0].double().numpy(), strict=True)
    return [(u, delta) for u, delta in tokens if np.any(delta != 0)]


def mean_and_deviation(vectors: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Welford's recurrence, one vector at a time."""
    mean, squares = np.zeros_like(vectors[0]), np.zeros_like(vectors[0])
    for count, vector in enumerate(vectors, 1):
        away = vector - mean
        mean = mean + away / count
        squares = squares + away * (vector - mean)
    return mean, np.sqrt(squares / (len(vectors) - 1))


def network(z: np.ndarray, shape_tensors: dict[str, np.ndarray], site_tensors: dict[str, np.ndarray]) -> np.ndarray:
    """Equation 3: two low-rank residual layers; U, V, b of the shape, s and o of the layer."""
    for layer in "12":
        inner = shape_tensors["U" + layer] @ (shape_tensors["V" + layer] @ z) + shape_tensors["b" + layer]
        z = z + np.maximum(0, site_tensors["s" + layer] * inner + site_tensors["o" + layer])
    return z


def change(tokens: list[tuple], tensors: dict[str, np.ndarray], site: str) -> np.ndarray:
    """The edit of one weight (d_out, d_in) from the vectors of its tokens."""
    d_in, d_out = len(tokens[0][0]), len(tokens[0][1])
    shape_tensors = {name: tensors[f"{d_out}x{d_in}.{name}"] for name in ("U1", "V1", "b1", "U2", "V2", "b2")}
    site_tensors = {name: tensors[f"{site}.{name}"] for name in ("s1", "o1", "s2", "o2")}
    deviation = np.sqrt(tensors[f"{site}.squares"] / (tensors[f"{site}.count"] - 1))
    deviation = np.maximum(deviation, 0.01 * deviation.mean())
    total = np.zeros((d_out, d_in))
    for u, delta in tokens:
        g = network((np.concatenate([u, delta]) - tensors[f"{site}.mean"]) / deviation, shape_tensors, site_tensors)
        total -= tensors[f"{site}.rate"] * np.outer(g[d_in:], g[:d_in])
    return total


def divergence(before: Tensor, after: Tensor) -> float:
    """KL(before || after) of log-probabilities (tokens, vocabulary), the mean over tokens."""
    return float((before.exp() * (before - after)).sum(-1).mean())
