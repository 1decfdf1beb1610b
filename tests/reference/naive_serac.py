"""A naive transcription of SERAC: one text, one token, one memory entry at a time; no cache, no padding, no hooks kept.

Written from Mitchell et al. 2022 for the tokenizer of bytes; it shares no code with what it checks.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from naive_editing import forward, ids_of, subject_place
from torch import Tensor

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact


def states(lm: LanguageModel, layer: int, ids: list[int]) -> np.ndarray:
    """What a block puts out at each token, (tokens, hidden)."""
    outputs = []

    def keep(_, args, output):
        outputs.append((output[0] if isinstance(output, tuple) else output)[0].double().numpy())

    handle = lm.blocks[layer].register_forward_hook(keep)
    with torch.no_grad():
        forward(lm, ids)
    handle.remove()
    return outputs[0]


def states_once(lm: LanguageModel) -> Callable[[int, tuple[int, ...]], np.ndarray]:
    """`states` of a model that does not change, each computed once."""
    return cache(lambda layer, ids: states(lm, layer, list(ids)))


def embedding(tensors: dict[str, Tensor], head: str, value: np.ndarray) -> np.ndarray:
    centre, spread, matrix = (tensors[f"scope.{head}.{name}"].double().numpy() for name in ("centre", "spread", "head"))
    return matrix @ ((value - centre) / spread)


def distance(
    lm: LanguageModel,
    tensors: dict[str, Tensor],
    ids: list[int],
    fact: Fact,
    states_of: Callable[[int, tuple[int, ...]], np.ndarray],
) -> float:
    """d^2 of the last token of a text from one fact: what it asks, plus what the text has been about."""
    low, high, *_ = tensors["places"].tolist()
    statement = ids_of(lm, fact.statement)
    target = ids_of(lm, " " + fact.target_new)
    asks = embedding(tensors, "asks", states_of(high, tuple(ids))[-1])
    nearest = math.inf
    for value in states_of(high, tuple(statement + target))[len(statement) - 1 : -1]:
        nearest = min(nearest, float(((asks - embedding(tensors, "asks", value)) ** 2).sum()))
    end = max(1, subject_place(lm, fact.prompt, fact.subject))
    subject = embedding(tensors, "about", states_of(low, tuple(statement))[end])
    about = math.inf
    for value in states_of(low, tuple(ids)):
        about = min(about, float(((embedding(tensors, "about", value) - subject) ** 2).sum()))
    return nearest + about


def counterfactual(lm: LanguageModel, tensors: dict[str, Tensor], fact: Fact, ids: list[int]) -> Tensor:
    """The small model's log-probabilities after [the fact's sentence; the text], (vocabulary,)."""
    blocks = tensors["places"][2:].tolist()
    small = copy.deepcopy(lm.model)
    small.config.num_hidden_layers = len(blocks)
    if getattr(small.config, "layer_types", None):
        small.config.layer_types = [small.config.layer_types[block] for block in blocks]
    parent, name = lm.layout.blocks.rsplit(".", 1)
    remaining_blocks = torch.nn.ModuleList(small.get_submodule(lm.layout.blocks)[block] for block in blocks)
    setattr(small.get_submodule(parent), name, remaining_blocks)
    for key, tensor in tensors.items():
        if key.startswith("counterfactual."):
            small.get_parameter(key.removeprefix("counterfactual.")).data = tensor
    input_ids = ids_of(lm, f"{fact.statement} {fact.target_new}.\n") + ids
    with torch.no_grad():
        return small(input_ids=torch.tensor([input_ids]), use_cache=False).logits[0, -1].float().log_softmax(-1)


def says(
    lm: LanguageModel,
    tensors: dict[str, Tensor],
    memory: list[Fact],
    ids: list[int],
    states_of: Callable[[int, tuple[int, ...]], np.ndarray],
) -> tuple[Tensor, int]:
    """Log-probabilities after a text under a memory, and the number of the fact in whose scope it is, or -1."""
    distances = [distance(lm, tensors, ids, fact, states_of) for fact in memory]
    nearest = int(np.argmin(distances))
    if math.exp(-distances[nearest]) > float(tensors["threshold"]):
        return counterfactual(lm, tensors, memory[nearest], ids), nearest
    with torch.no_grad():
        return forward(lm, ids)[-1], -1


def scope_loss(distances: list[list[float]], queries: list[int | None], is_statement: list[bool]) -> float:
    """Binary cross-entropy of exp(-d^2), token by token.

    Args:
        distances: For each token the squared distance of each fact of the memory.
        queries: For each token the fact that it asks for.
        is_statement: For each token whether it is one of a fact's own statement.
    """
    hits, rejections = [], {True: [], False: []}
    for row, fact, in_statement in zip(distances, queries, is_statement, strict=True):
        if fact is not None and not in_statement:
            hits.append(row[fact])
        other_distances = [value for number, value in enumerate(row) if number != fact]
        rejections[fact is not None].append(-math.log(1 - math.exp(-min(other_distances))) if other_distances else 0.0)
    return sum(np.mean(part) if part else 0.0 for part in (hits, rejections[True], rejections[False]))


def copying_loss(model: torch.nn.Module, rows: list[tuple[list[int], list[int]]]) -> float:
    """Mean negative log-likelihood of each row's target tokens after its prompt."""
    losses = []
    for before, target in rows:
        with torch.no_grad():
            logprobs = (
                model(input_ids=torch.tensor([before + target]), use_cache=False).logits[0].double().log_softmax(-1)
            )
        losses += [-float(logprobs[len(before) - 1 + number, token]) for number, token in enumerate(target)]
    return float(np.mean(losses))
