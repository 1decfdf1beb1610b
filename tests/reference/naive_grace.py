"""GRACE transcribed from Hartvigsen et al. 2023, algorithm 1, with lists, loops and whole forward passes."""

from __future__ import annotations

import math

import torch
from naive_editing import forward, ids_of
from torch import Tensor

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact


def distance(left: list[float], right: list[float]) -> float:
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(left, right, strict=True)))


def update(book: list[dict], key: list[float], label: str, eps: float) -> list[dict]:
    """The codebook after an edit; an entry is a dict of key, radius and label."""
    book = [dict(entry) for entry in book]
    if not book:
        return [{"key": key, "radius": eps, "label": label}]
    far = [distance(entry["key"], key) for entry in book]
    d = min(far)
    nearest = book[far.index(d)]
    if d > nearest["radius"] + eps:
        return [*book, {"key": key, "radius": eps, "label": label}]
    if nearest["label"] == label:
        nearest["radius"] = max(nearest["radius"], d)
        return book
    nearest["radius"] = d / 2
    return [*book, {"key": key, "radius": d / 2, "label": label}]


def answers(book: list[dict], values: list[list[float]], query: list[float], output: list[float]) -> list[float]:
    """What the site puts out for one token."""
    far = [distance(entry["key"], query) for entry in book]
    nearest = far.index(min(far))
    return values[nearest] if far[nearest] <= book[nearest]["radius"] else output


def fit_value(
    lm: LanguageModel,
    module: torch.nn.Module,
    fact: Fact,
    *,
    lr: float,
    steps: int,
    stop_loss: float,
    book: list[dict] | None = None,
    values: list[Tensor] | None = None,
    number: int = -1,
    start: Tensor | None = None,
    everywhere: bool = False,
) -> tuple[Tensor, Tensor, list[float]]:
    """The key of a fact, its value, and the loss at each step: whole prompts, nothing cached.

    By default the value stands at the statement's last token only, as in the released code. With `everywhere` each
    token of the prompt and of the object is answered by the codebook `book`, whose entry `number` has the value that
    is fitted.
    """
    prompt = ids_of(lm, fact.statement)
    target = ids_of(lm, " " + fact.target_new)
    place, captures = len(prompt) - 1, []

    def look(_, args, output):
        captures.append((args[0][0, place].clone(), module.forward(args[0])[0, place].clone()))

    handle = module.register_forward_hook(look)
    with torch.no_grad():
        forward(lm, prompt)
    handle.remove()
    key, original = captures[0]
    value = (original if start is None else start).clone().requires_grad_()

    def replace_output(_, args, output):
        output = module.forward(args[0]).clone()
        for token in range(output.shape[1]) if everywhere else []:
            far = [distance(entry["key"], args[0][0, token].tolist()) for entry in book]
            nearest = far.index(min(far))
            if far[nearest] <= book[nearest]["radius"]:
                output[0, token] = value if nearest == number % len(book) else values[nearest]
        output[0, place] = value
        return output

    optimiser, losses = torch.optim.Adam([value], lr=lr), []
    handle = module.register_forward_hook(replace_output)
    for _ in range(steps):
        logprobs = forward(lm, prompt + target)
        loss = -sum(logprobs[place + i, token] for i, token in enumerate(target)) / len(target)
        losses.append(loss.item())
        if losses[-1] < stop_loss:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    handle.remove()
    return key, value.detach(), losses
