"""Knowledge neurons transcribed from Dai et al. 2022: one prompt, one layer and one point at a time, no cache."""

from __future__ import annotations

import numpy as np
import torch
from naive_editing import forward, ids_of, keys_of

from edit_robustness.models.language_model import LanguageModel


def probability(lm: LanguageModel, module: torch.nn.Module, ids: list[int], activations: torch.Tensor, token: int):
    """P of a token after a prompt whose last token's neurons, the module's inputs, are given."""

    def put(_, args):
        inputs = args[0].clone()
        inputs[0, -1] = activations
        return (inputs,)

    handle = module.register_forward_pre_hook(put)
    found = forward(lm, ids)[-1, token].exp()
    handle.remove()
    return found


def attribution(lm: LanguageModel, module: torch.nn.Module, text: str, token: int, steps: int) -> np.ndarray:
    """Equation 3, (neurons,): w / m times the sum of the gradients at k/m w for k = 1 .. m."""
    ids = ids_of(lm, text)
    active = torch.tensor(keys_of(lm, module, ids)[-1]).float()
    total = torch.zeros_like(active)
    for k in range(1, steps + 1):
        point = (k / steps * active).requires_grad_()
        total += torch.autograd.grad(probability(lm, module, ids, point, token), point)[0]
    return (active * total / steps).double().numpy()


def neurons(scores: list[np.ndarray], threshold: float, sharing: float) -> set[tuple[int, int]]:
    """Section 3.3: (layer, neuron) above a share of the largest attribution in enough prompts."""
    counts: dict[tuple[int, int], int] = {}
    for own in scores:
        for layer in range(own.shape[0]):
            for neuron in range(own.shape[1]):
                if own[layer, neuron] > threshold * own.max():
                    counts[layer, neuron] = counts.get((layer, neuron), 0) + 1
    return {place for place, count in counts.items() if count / len(scores) >= sharing}


def gate_attribution(
    lm: LanguageModel, module: torch.nn.Module, text: str, target: list[int], steps: int
) -> tuple[np.ndarray, list[int]]:
    """EasyEdit's attribution of what a module puts out at the last token, (neurons,), and what the model says.

    One token of the object after the other, each after what the model says greedily; points from 0 to 1 inclusive.
    """
    totals, said = [], []
    for token in target:
        ids, seen = ids_of(lm, text), []
        handle = module.register_forward_hook(lambda _, args, output, seen=seen: seen.append(output[0, -1].detach()))
        with torch.no_grad():
            said.append(int(forward(lm, ids)[-1].argmax()))
        handle.remove()
        total = torch.zeros_like(seen[0])
        for k in range(steps):
            point = (seen[0] * (k / (steps - 1) if steps > 1 else 0.0)).requires_grad_()

            def put(_, args, output, point=point):
                output = output.clone()
                output[0, -1] = point
                return output

            handle = module.register_forward_hook(put)
            total += torch.autograd.grad(forward(lm, ids)[-1, token].exp(), point)[0]
            handle.remove()
        totals.append((seen[0] * total / steps).double().numpy())
        text += lm.tokenizer.decode([said[-1]])
    return np.mean(totals, axis=0), said
