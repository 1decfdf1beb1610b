"""Knowledge neurons transcribed from Dai et al. 2022: one prompt, one layer and one point at a time, no cache."""

from __future__ import annotations

import numpy as np
import torch
from naive_editing import forward, ids_of, keys_of

from edit_robustness.models.language_model import LanguageModel


def probability(lm: LanguageModel, module: torch.nn.Module, ids: list[int], activations: torch.Tensor, token: int):
    """P of a token after a prompt whose last token's neurons, the module's inputs, are given."""

    def replace_values(_, args):
        inputs = args[0].clone()
        inputs[0, -1] = activations
        return (inputs,)

    handle = module.register_forward_pre_hook(replace_values)
    value = forward(lm, ids)[-1, token].exp()
    handle.remove()
    return value


def attribution(lm: LanguageModel, module: torch.nn.Module, text: str, token: int, steps: int) -> np.ndarray:
    """Equation 3, (neurons,): w / m times the sum of the gradients at k/m w for k = 1 .. m."""
    ids = ids_of(lm, text)
    active = torch.tensor(keys_of(lm, module, ids)[-1]).float()
    total = torch.zeros_like(active)
    for k in range(1, steps + 1):
        point = (k / steps * active).requires_grad_()
        total += torch.autograd.grad(probability(lm, module, ids, point, token), point)[0]
    return (active * total / steps).double().numpy()


def neurons(scores: list[np.ndarray], threshold: float, share: float) -> set[tuple[int, int]]:
    """Section 3.3: (layer, neuron) above a share of the largest attribution in enough prompts."""
    counts: dict[tuple[int, int], int] = {}
    for attribution in scores:
        for layer in range(attribution.shape[0]):
            for neuron in range(attribution.shape[1]):
                if attribution[layer, neuron] > threshold * attribution.max():
                    counts[layer, neuron] = counts.get((layer, neuron), 0) + 1
    return {place for place, count in counts.items() if count / len(scores) >= share}


def gate_attribution(
    lm: LanguageModel, module: torch.nn.Module, text: str, target: list[int], steps: int
) -> tuple[np.ndarray, list[int]]:
    """EasyEdit's attribution of what a module puts out at the last token, (neurons,), and what the model says.

    One token of the object after the other, each after what the model says greedily; points from 0 to 1 inclusive.
    """
    totals, answer_ids = [], []
    for token in target:
        ids, gates = ids_of(lm, text), []
        handle = module.register_forward_hook(lambda _, args, output, gates=gates: gates.append(output[0, -1].detach()))
        with torch.no_grad():
            answer_ids.append(int(forward(lm, ids)[-1].argmax()))
        handle.remove()
        total = torch.zeros_like(gates[0])
        for k in range(steps):
            point = (gates[0] * (k / (steps - 1) if steps > 1 else 0.0)).requires_grad_()

            def replace_values(_, args, output, point=point):
                output = output.clone()
                output[0, -1] = point
                return output

            handle = module.register_forward_hook(replace_values)
            total += torch.autograd.grad(forward(lm, ids)[-1, token].exp(), point)[0]
            handle.remove()
        totals.append((gates[0] * total / steps).double().numpy())
        text += lm.tokenizer.decode([answer_ids[-1]])
    return np.mean(totals, axis=0), answer_ids
