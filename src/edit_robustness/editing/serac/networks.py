"""SERAC's two networks: the scope, which finds the edit that a token asks for, and the small model that answers."""

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
from edit_robustness.models.tokens import Rendered, pad, positions, prompt_ids, subject_end, target_ids
from edit_robustness.models.trace import inputs_at
from edit_robustness.text.joining import joined

_BATCH = 16
_OF_LAYERS = ("layer_types", "no_rope_layers")
"""Settings that are a list, one entry for each layer."""


class Embedding(nn.Module):
    """One linear map of standardised states.

    Args:
        centre: Mean of the base model's states, (hidden,).
        spread: Their standard deviations, (hidden,).
        head: (width, hidden).
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, centre: Tensor, spread: Tensor, head: Tensor):
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("spread", spread)
        self.head = nn.Parameter(head)

    def forward(self, states: Tensor) -> Tensor:
        """Embeddings (..., width) of states (..., hidden), in float32."""
        return ((states.float() - self.centre) / self.spread) @ self.head.T


class Scope(nn.Module):
    """Whether a token asks for an edit (Mitchell et al. 2022, section 3.2, the variant with embeddings).

    p = exp(-d^2), where d^2 is the squared distance of what the token asks from what the edit's statement asks, plus
    that of what was spoken about, at the nearest token so far, from the statement's subject. Statements and prompts
    are embedded alike, so that an edit's own statement is in its scope whatever has been learnt.

    Attributes:
        about: Embeds what a token is about, from the state at a low layer.
        asks: Embeds what a token asks for, from the state at a higher one.
    """

    def __init__(self, about: Embedding, asks: Embedding):
        super().__init__()
        self.about, self.asks = about, asks


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """(..., n) from embeddings (..., width) to n others (n, width); by differences, exact where they are equal."""
    return torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist").square()


def truncated(lm: LanguageModel, blocks: Sequence[int], tensors: Mapping[str, Tensor]) -> Any:
    """A model of some of the base model's blocks: the given tensors by name, and for the others the base's own.

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
    with torch.device("meta"):  # neither memory nor random numbers for weights that are replaced at once
        model = type(lm.model)(config)
    origin = re.compile(rf"(?<=^{re.escape(lm.layout.blocks)}\.)\d+")
    for path, module in model.named_modules():
        source = lm.model.get_submodule(origin.sub(lambda place: str(blocks[int(place[0])]), path))
        for name, _ in module.named_parameters(recurse=False):
            tensor = tensors.get(f"{path}.{name}", getattr(source, name).detach())
            setattr(module, name, nn.Parameter(tensor, requires_grad=False))
        for name, _ in module.named_buffers(recurse=False):
            setattr(module, name, getattr(source, name))
    return model.eval()


def untaught(lm: LanguageModel, blocks: Sequence[int]) -> tuple[Any, dict[str, nn.Parameter]]:
    """The small model before it is taught, in float32, and what is taught of it: the attention of its blocks.

    Attention is what copies. The MLPs, which know things by heart, stay the base model's own, so that the objects that
    are seen in training cannot be learnt instead.
    """
    model = truncated(lm, blocks, {}).float()
    attention = lm.layout.parts["attention_out"].rpartition(".")[0]
    inside = re.compile(rf"{re.escape(lm.layout.blocks)}\.\d+\.{re.escape(attention)}\.")
    taught = {name: parameter for name, parameter in model.named_parameters() if inside.match(name)}
    for parameter in taught.values():
        parameter.data = parameter.data.clone()  # no longer the base model's own
    return model, taught


@dataclass(frozen=True)
class Networks:
    """Both networks on one model's device.

    Attributes:
        layers: The blocks whose outputs the scope reads: what a token is about, and what it asks for.
        radius: A token is in the scope of an edit at a smaller squared distance d^2: exp(-d^2) > the threshold.
        scope: The classifier.
        counterfactual: The small model, which answers after [an edit's sentence; the tokens so far].
    """

    layers: tuple[int, int]
    radius: float
    scope: Scope
    counterfactual: Any

    @classmethod
    def of(cls, lm: LanguageModel, tensors: Mapping[str, Tensor]) -> Networks:
        """The networks in an artefact's tensors (`Serac.prepare`)."""
        about, asks, *blocks = tensors["places"].tolist()
        like = lm.model.get_input_embeddings().weight
        small = {name: tensor.to(like) for name, tensor in part(tensors, "counterfactual").items()}
        scope = scope_of({name: tensor.to(lm.device) for name, tensor in part(tensors, "scope").items()})
        radius = -math.log(tensors["threshold"].item())
        return cls((about, asks), radius, scope.requires_grad_(False), truncated(lm, blocks, small))


def scope_of(tensors: Mapping[str, Tensor]) -> Scope:
    """The scope with such a state."""
    heads = [part(tensors, name) for name in ("about", "asks")]
    return Scope(*(Embedding(own["centre"], own["spread"], own["head"]) for own in heads))


@torch.no_grad()
def states_at(lm: LanguageModel, layers: tuple[int, int], rows: Sequence[Sequence[int]]) -> list[tuple[Tensor, Tensor]]:
    """What two blocks put out for each row, each (tokens, hidden).

    Raises:
        ValueError: If a block is not there or is the last one.
    """
    if max(layers) + 1 >= len(lm.blocks):
        raise ValueError(
            f"serac's settings `subject_layer` and `layer` must be below the last of {lm.name}'s blocks 0 to "
            f"{len(lm.blocks) - 1}; they are {layers[0]} and {layers[1]}"
        )
    after = [Site(layer + 1, RESIDUAL) for layer in layers]
    found: list[tuple[Tensor, Tensor]] = []
    for start in range(0, len(rows), _BATCH):
        ids, mask = pad(rows[start : start + _BATCH], lm.pad_id, side="right", device=lm.device)
        inputs = inputs_at(lm, after, input_ids=ids, attention_mask=mask, position_ids=positions(mask))
        about, asks = (inputs[site] for site in after)
        found += [(about[row, real], asks[row, real]) for row, real in enumerate(mask.bool())]
    return found


def subject_place(lm: LanguageModel, prompt: str, subject: str) -> int:
    """Where a statement's subject ends; not the first token, whose state is the same outlier whatever it is."""
    return max(1, subject_end(lm, prompt, subject)[1])


def asking(lm: LanguageModel, prompt: Rendered, target: str) -> tuple[list[int], range]:
    """Ids of a prompt and all but the last token of what shall follow, and the places that a target token follows."""
    before, after = prompt_ids(lm, prompt), target_ids(lm, prompt, target)
    ids = [*before, *after[:-1]]
    return ids, range(len(before) - 1, len(ids))


def announced(lm: LanguageModel, statement: Rendered, target: str) -> list[int]:
    """Ids of an edit's sentence, as they stand before the tokens that the small model goes on with."""
    return prompt_ids(lm, Rendered(f"{joined(statement.text, target, statement.join)}.\n"))
