"""Naive transcriptions of what editing computes fast: one prompt at a time, no padding, no cache, explicit inverses.

They are written from the papers and for the tokenizer of bytes, so that they share no code with what they check.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact


def ids_of(lm: LanguageModel, text: str) -> list[int]:
    return lm.tokenizer(text)["input_ids"]


def forward(lm: LanguageModel, ids: list[int]) -> Tensor:
    """Log-probabilities after each token, (tokens, vocabulary)."""
    return lm.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float().log_softmax(-1)


def keys_of(lm: LanguageModel, module: torch.nn.Module, ids: list[int]) -> np.ndarray:
    """What enters a module at each token, (tokens, d_in)."""
    inputs = []
    handle = module.register_forward_pre_hook(lambda _, args: inputs.append(args[0][0].detach().double().numpy()))
    with torch.no_grad():
        forward(lm, ids)
    handle.remove()
    return inputs[0]


def subject_place(lm: LanguageModel, prompt: str, subject: str) -> int:
    """The subject's last byte, for a tokenizer of bytes."""
    return len(ids_of(lm, prompt.split("{}")[0] + subject)) - 1


def mean_key(lm: LanguageModel, module: torch.nn.Module, fact: Fact, contexts: tuple[str, ...]) -> np.ndarray:
    """Meng et al. 2022, eq. 3: the average over contexts of the key at the subject's last token."""
    keys = []
    for context in ("", *contexts):
        prompt = context + fact.prompt
        place = subject_place(lm, prompt, fact.subject)
        keys.append(keys_of(lm, module, ids_of(lm, prompt.replace("{}", fact.subject)))[place])
    return np.mean(keys, axis=0)


def second_moment(lm: LanguageModel, module: torch.nn.Module, texts: list[str]) -> np.ndarray:
    """E[k k^T] over all tokens of some texts."""
    total, count = 0.0, 0
    for text in texts:
        for key in keys_of(lm, module, ids_of(lm, text)):
            total, count = total + np.outer(key, key), count + 1
    return total / count


def rome(weight: np.ndarray, moment: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Meng et al. 2022, eq. 2: the weight W + L (C^-1 k)^T with L = (v - W k) / ((C^-1 k)^T k)."""
    inverse = np.linalg.inv(moment)
    direction = inverse @ key
    return weight + np.outer((value - weight @ key) / (direction @ key), direction)


def value_loss(
    lm: LanguageModel,
    module: torch.nn.Module,
    fact: Fact,
    contexts: tuple[str, ...],
    change: Tensor,
    *,
    kl_factor: float,
    weight_decay: float,
    kl_at_subject: bool = False,
    shares: Sequence[float] | None = None,
) -> float:
    """Meng et al. 2022, eq. 4, with the decay of its code: the objective of the value, prompt by prompt.

    With `shares` each prompt, the last of which is the essence, gets its share of the change.
    """
    parts = shares or [1.0] * (2 + len(contexts))

    def run(ids: list[int], place: int, shift: Tensor) -> tuple[Tensor, float]:
        norms = []

        def add(_, args, output):
            norms.append(float(output[0, place].norm()))
            output = output.clone()
            output[0, place] += shift
            return output

        handle = module.register_forward_hook(add)
        with torch.no_grad():
            logprobs = forward(lm, ids)
        handle.remove()
        return logprobs, norms[0]

    target = ids_of(lm, fact.target_new if fact.prompt[-1].isspace() else " " + fact.target_new)
    likelihoods, size = [], 0.0
    for number, context in enumerate(("", *contexts)):
        prompt = context + fact.prompt
        ids = ids_of(lm, prompt.replace("{}", fact.subject))
        logprobs, norm = run(ids + target, subject_place(lm, prompt, fact.subject), parts[number] * change)
        likelihoods.append(np.mean([float(logprobs[len(ids) - 1 + i, token]) for i, token in enumerate(target)]))
        size = norm if number == 0 else size
    essence, place = ids_of(lm, f"{fact.subject} is a"), subject_place(lm, "{} is a", fact.subject)
    column = place if kl_at_subject else -1
    after = run(essence, place, parts[-1] * change)[0][column].double()
    before_change = run(essence, place, torch.zeros_like(change))[0][column].double()
    divergence = float((after.exp() * (after - before_change)).sum())
    return -np.mean(likelihoods) + kl_factor * divergence + weight_decay * float(change.norm()) / size**2


def fine_tune(
    lm: LanguageModel,
    module: torch.nn.Module,
    facts: list[Fact],
    *,
    lr: float,
    steps: int,
    stop_loss: float,
    by_rows: bool = False,
) -> tuple[Tensor, list[float]]:
    """Adam on a module's own weight, the loss on the objects' tokens only; the model is changed.

    The loss is the mean over tokens, or `by_rows` the mean over facts of each fact's mean over tokens.

    Returns:
        The weight's change as it is stored, and the loss of each step.
    """
    before = module.weight.detach().clone()
    module.weight.requires_grad_()
    optimiser = torch.optim.Adam([module.weight], lr=lr)
    losses = []
    for step in range(steps):
        total, count = 0.0, 0
        for fact in facts:
            ids, target = ids_of(lm, fact.statement), ids_of(lm, " " + fact.target_new)
            logprobs = forward(lm, ids + target)
            weight, size = (1 / len(target), 1) if by_rows else (1, len(target))
            total = total - weight * sum(logprobs[len(ids) - 1 + i, token] for i, token in enumerate(target))
            count += size
        loss = total / count
        losses.append(loss.item())
        if step and losses[-1] < stop_loss:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return (module.weight - before).detach(), losses


def continuation(lm: LanguageModel, ids: list[int], target: list[int]) -> tuple[float, bool]:
    """A target's summed log-probability after a prompt, and whether each of its tokens is the most probable one."""
    with torch.no_grad():
        logprobs = forward(lm, ids + target)[len(ids) - 1 : -1]
    target_ids = torch.tensor(target)
    return float(logprobs.gather(1, target_ids[:, None]).sum()), bool((logprobs.argmax(-1) == target_ids).all())
