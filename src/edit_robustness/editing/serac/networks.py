"""SERAC's two networks: the scope, which finds the edit that a token asks for, and the counterfactual small model."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edit_robustness.editing.training import part
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import RESIDUAL, Site
from edit_robustness.models.tokens import RenderedPrompt, pad, positions, prompt_ids, subject_end, target_ids
from edit_robustness.models.trace import inputs_at
from edit_robustness.text.joining import join_prompt

_BATCH = 16
_OF_LAYERS = ("layer_types", "no_rope_layers")
"""Settings of transformers that are a list with one entry per layer."""


class Embedding(nn.Module):
    """A linear map of standardised states.

    Args:
        centre: Mean of the base model's states, (hidden,).
        spread: Their standard deviations, (hidden,).
        head: Weight of the map, (width, hidden).
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, centre: Tensor, spread: Tensor, head: Tensor):
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("spread", spread)
        self.head = nn.Parameter(head)

    def forward(self, states: Tensor) -> Tensor:
        """Compute embeddings (..., width) of states (..., hidden), in float32."""
        return ((states.float() - self.centre) / self.spread) @ self.head.T


class Scope(nn.Module):
    """Classifier of whether a token is in the scope of an edit (Mitchell et al. 2022, section 3.2, with embeddings).

    p = exp(-d^2), where d^2 is the sum of two squared distances: of the token's question from that of the edit's
    statement, and of the subject at the nearest token so far from the statement's subject. Statements and prompts are
    embedded in the same way, so that an edit's own statement is always in its scope.

    Attributes:
        about: Embedding of the subject, from the state at a low layer.
        asks: Embedding of the question, from the state at a higher layer.
    """

    def __init__(self, about: Embedding, asks: Embedding):
        super().__init__()
        self.about, self.asks = about, asks


def squared_distances(embeddings: Tensor, centres: Tensor) -> Tensor:
    """Compute squared distances (..., n) from embeddings (..., width) to n centres (n, width).

    They are computed from differences, so that equal vectors have a distance of exactly 0.
    """
    return torch.cdist(embeddings, centres, compute_mode="donot_use_mm_for_euclid_dist").square()


def build_truncated(lm: LanguageModel, blocks: Sequence[int], tensors: Mapping[str, Tensor]) -> Any:
    """Build a model of some of the base model's blocks, with the given tensors by name and otherwise the base's own.

    It is on the model's device. Blocks that are on another one are copied.

    Raises:
        ValueError: If the base model does not have these blocks.
    """
    if not all(0 <= block < len(lm.blocks) for block in blocks):
        raise ValueError(f"{lm.name} has blocks 0 to {len(lm.blocks) - 1}; serac's setting `blocks` is {list(blocks)}")
    config = copy.deepcopy(lm.model.config)
    text = config.get_text_config()
    text.num_hidden_layers = len(blocks)
    for name in _OF_LAYERS:
        if getattr(text, name, None):
            setattr(text, name, [getattr(text, name)[block] for block in blocks])
    with torch.device("meta"):  # takes no memory or random numbers for weights that are replaced immediately
        model = type(lm.model)(config)
    origin = re.compile(rf"(?<=^{re.escape(lm.layout.blocks)}\.)\d+")
    for path, module in model.named_modules():
        source = lm.model.get_submodule(origin.sub(lambda place: str(blocks[int(place[0])]), path))
        for name, _ in module.named_parameters(recurse=False):
            tensor = tensors.get(f"{path}.{name}", getattr(source, name).detach().to(lm.device))
            setattr(module, name, nn.Parameter(tensor, requires_grad=False))
        for name, _ in module.named_buffers(recurse=False):
            setattr(module, name, getattr(source, name).to(lm.device))
    return model.eval()


def build_small_model(lm: LanguageModel, blocks: Sequence[int]) -> tuple[Any, dict[str, nn.Parameter]]:
    """Build the untrained small model in float32, and return it with its trainable parameters: its blocks' attention.

    Attention copies. The MLPs store knowledge, and they stay the base model's own, so that the small model cannot
    memorise the objects that occur in training.
    """
    model = build_truncated(lm, blocks, {}).float()
    attention = lm.layout.parts["attention_out"].rpartition(".")[0]
    pattern = re.compile(rf"{re.escape(lm.layout.blocks)}\.\d+\.{re.escape(attention)}\.")
    parameters = {name: parameter for name, parameter in model.named_parameters() if pattern.match(name)}
    for parameter in parameters.values():
        parameter.data = parameter.data.clone()  # a copy, so that training does not change the base model
    return model, parameters


@dataclass(frozen=True)
class Networks:
    """Both networks on one model's device.

    Attributes:
        layers: The blocks whose outputs the scope reads, for the subject and for the question.
        radius: A token is in the scope of an edit at a smaller squared distance d^2: exp(-d^2) > the threshold.
        scope: The classifier.
        counterfactual: The small model, which continues [an edit's sentence; the tokens so far].
    """

    layers: tuple[int, int]
    radius: float
    scope: Scope
    counterfactual: Any

    @classmethod
    def of(cls, lm: LanguageModel, tensors: Mapping[str, Tensor]) -> Networks:
        """Build the networks from an artefact's tensors (`Serac.prepare`)."""
        about, asks, *blocks = tensors["places"].tolist()
        like = lm.model.get_input_embeddings().weight
        small = {name: tensor.to(like) for name, tensor in part(tensors, "counterfactual").items()}
        scope = scope_of({name: tensor.to(lm.device) for name, tensor in part(tensors, "scope").items()})
        radius = -math.log(tensors["threshold"].item())
        return cls((about, asks), radius, scope.requires_grad_(False), build_truncated(lm, blocks, small))


def scope_of(tensors: Mapping[str, Tensor]) -> Scope:
    """Build the scope from its tensors."""
    heads = [part(tensors, name) for name in ("about", "asks")]
    return Scope(*(Embedding(head["centre"], head["spread"], head["head"]) for head in heads))


@torch.no_grad()
def states_at(lm: LanguageModel, layers: tuple[int, int], rows: Sequence[Sequence[int]]) -> list[tuple[Tensor, Tensor]]:
    """Compute the outputs of two blocks for each row, each (tokens, hidden).

    Raises:
        ValueError: If a block does not exist or is the last one.
    """
    if max(layers) + 1 >= len(lm.blocks):
        raise ValueError(
            f"serac's settings `subject_layer` and `layer` must be below the last of {lm.name}'s blocks 0 to "
            f"{len(lm.blocks) - 1}; they are {layers[0]} and {layers[1]}"
        )
    sites = [Site(layer + 1, RESIDUAL) for layer in layers]
    states: list[tuple[Tensor, Tensor]] = []
    for start in range(0, len(rows), _BATCH):
        ids, mask = pad(rows[start : start + _BATCH], lm.pad_id, side="right", device=lm.device)
        inputs = inputs_at(lm, sites, input_ids=ids, attention_mask=mask, position_ids=positions(mask))
        about, asks = (inputs[site] for site in sites)
        states += [(about[row, real], asks[row, real]) for row, real in enumerate(mask.bool())]
    return states


def subject_place(lm: LanguageModel, prompt: str, subject: str) -> int:
    """Return the position of the subject's last token in a statement, at least 1.

    The state of the first token is the same outlier for any token, so it is not used.
    """
    return max(1, subject_end(lm, prompt, subject)[1])


def target_positions(lm: LanguageModel, prompt: RenderedPrompt, target: str) -> tuple[list[int], range]:
    """Return the ids of a prompt and its target without the last token, and the positions before target tokens."""
    before, after = prompt_ids(lm, prompt), target_ids(lm, prompt, target)
    ids = [*before, *after[:-1]]
    return ids, range(len(before) - 1, len(ids))


def sentence_ids(lm: LanguageModel, statement: RenderedPrompt, target: str) -> list[int]:
    """Return the ids of an edit's sentence, as they stand before the tokens that the small model continues."""
    return prompt_ids(lm, RenderedPrompt(f"{join_prompt(statement.text, target, statement.join)}.\n"))
