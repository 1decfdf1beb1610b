"""Who says each token: the base model, or for a token in an edit's scope the small model, told of that edit.

Hooks on the model itself, so that whoever holds it (generation, an evaluation harness) gets the routed logits. With
a cache a call sees new tokens only, while the scope and the small model need all of them: their ids, and what each is
about, travel in the cache itself, as one more layer, which whoever selects or reorders its rows carries along.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from edit_robustness.editing.serac.networks import (
    Networks,
    announced,
    asking,
    squared_distances,
    states_at,
    subject_place,
)
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import RESIDUAL, Site
from edit_robustness.models.tokens import Rendered, pad, positions
from edit_robustness.models.trace import output_changed
from edit_robustness.records import fill

_BATCH = 32

_BASE = -1
"""Stands for no edit: the base model speaks."""

Entry = tuple[str, str, str, str | None]
"""What the memory keeps of a fact: the prompt with a slot, its subject, the new object, and what stands before that
(None: as usual)."""


@dataclass(frozen=True)
class Index:
    """The memory as the scope sees it.

    Attributes:
        subjects: (edits, width) embeddings of what each statement is about.
        keys: (keys, width) embeddings of what it asks for, where it is about to say a token of the new object.
        owners: (keys,) the number of the edit of each key.
        sentences: Ids of each edit's sentence.
        radius: See `Networks`.
    """

    subjects: Tensor
    keys: Tensor
    owners: Tensor
    sentences: list[list[int]]
    radius: float

    @classmethod
    @torch.no_grad()
    def of(cls, lm: LanguageModel, networks: Networks, memory: Sequence[Entry]) -> Index:
        """The memory's statements and new objects, run through the model once."""
        prompts = [Rendered(fill(prompt, subject), join=join) for prompt, subject, _, join in memory]
        asked = [asking(lm, prompt, entry[2]) for prompt, entry in zip(prompts, memory, strict=True)]
        states = states_at(lm, networks.layers, [ids for ids, _ in asked])
        ends = [subject_place(lm, prompt, subject) for prompt, subject, *_ in memory]
        subjects = [about[end] for (about, _), end in zip(states, ends, strict=True)]
        keys = [asks[list(own)] for (_, asks), (_, own) in zip(states, asked, strict=True)]
        owners = [number for number, (_, own) in enumerate(asked) for _ in own]
        return cls(
            networks.scope.about(torch.stack(subjects)),
            networks.scope.asks(torch.cat(keys)),
            torch.tensor(owners, device=lm.device),
            [announced(lm, prompt, entry[2]) for prompt, entry in zip(prompts, memory, strict=True)],
            networks.radius,
        )

    def nearest(self, asks: Tensor, about: Tensor) -> Tensor:
        """The edit in whose scope each token is, (rows, tokens), or -1: the nearest one, of two the later.

        Args:
            asks: (rows, tokens, width) embeddings of what the tokens ask for.
            about: (rows, tokens, edits) squared distance of the nearest token so far from each edit's subject.
        """
        later_first = self.owners.flip(0)
        distances, key = (squared_distances(asks, self.keys.flip(0)) + about[..., later_first]).min(-1)
        return later_first[key].where(distances < self.radius, _BASE)


class Router:
    """Routes a model's tokens for as long as it is `on`."""

    def __init__(self, lm: LanguageModel, networks: Networks, memory: Sequence[Entry]):
        self._lm, self._networks = lm, networks
        self._index = Index.of(lm, networks, memory)
        self._names = [name for name in inspect.signature(type(lm.model).forward).parameters if name != "self"]
        self._states: dict[int, Tensor] = {}
        self._layer = 0

    @contextmanager
    def on(self) -> Iterator[None]:
        """Hooks for the length of the block; its layer of a cache follows those of the model and of outer routers."""
        model = self._lm.model
        outer = [hook for hook in model._forward_pre_hooks.values() if isinstance(_owner(hook), Router)]
        self._layer = len(self._lm.blocks) + len(outer)
        with ExitStack() as stack:
            for layer in set(self._networks.layers):
                stack.enter_context(output_changed(self._lm, Site(layer, RESIDUAL), partial(self._watch, layer)))
            stack.callback(model.register_forward_pre_hook(self._before, with_kwargs=True).remove)
            stack.callback(model.register_forward_hook(self._after, with_kwargs=True).remove)
            yield

    def _watch(self, layer: int, _: Tensor, output: Tensor) -> Tensor:
        self._states[layer] = output
        return output

    def _before(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[()], dict[str, Any]]:
        """All arguments by name, and a cache where the model would make one."""
        kwargs = {**dict(zip(self._names, args, strict=False)), **kwargs}
        if kwargs.get("input_ids") is None:
            raise ValueError("serac's edits are found by token ids; call the model with `input_ids`, not embeddings")
        if (mask := kwargs.get("attention_mask")) is not None and getattr(mask, "ndim", None) != 2:
            raise ValueError("serac's edits need an attention mask of the shape (rows, tokens), or none")
        config = self._lm.config
        cached = config.use_cache if kwargs.get("use_cache") is None else kwargs["use_cache"]
        if cached and kwargs.get("past_key_values") is None:
            kwargs["past_key_values"] = DynamicCache(config=config)
        return (), {**kwargs, "return_dict": True}

    def _after(self, model: Any, _: tuple[()], kwargs: dict[str, Any], output: Any) -> Any:
        """The small model's logits where a token is in scope; the base model's own otherwise."""
        ids, mask, keep = kwargs["input_ids"], kwargs.get("attention_mask"), kwargs.get("logits_to_keep", 0)
        seen, about = self._seen(ids, kwargs.get("past_key_values"))
        real = torch.ones_like(seen).bool() if mask is None else mask.bool()
        new = torch.arange(ids.shape[1], device=seen.device)
        new = new[-keep if keep else 0 :] if isinstance(keep, int) else new[keep.to(new.device)]
        kept = new + seen.shape[1] - ids.shape[1]
        edits = self._edits(self._states[self._networks.layers[1]][:, new], about, real, kept)
        rows, places = (edits != _BASE).nonzero(as_tuple=True)
        if len(rows):
            logits = output.logits.clone()
            logits[rows, places] = self._said(seen, real, rows, kept[places], edits[rows, places]).to(logits.dtype)
            output.logits = logits
            if kwargs.get("labels") is not None:
                size = self._lm.config.vocab_size
                output.loss = model.loss_function(logits=logits, labels=kwargs["labels"], vocab_size=size)
        return output

    @torch.no_grad()
    def _seen(self, ids: Tensor, cache: Any) -> tuple[Tensor, Tensor]:
        """The ids of all tokens so far, (rows, tokens), and what they are about, (rows, tokens, width).

        With a cache they are kept there together, as numbers (rows, 1, tokens, 1 + width) that hold ids exactly.
        """
        about = self._networks.scope.about(self._states[self._networks.layers[0]])
        if cache is None:
            return ids, about
        told = torch.cat([ids[..., None].float(), about], dim=-1)[:, None]
        if len(cache.layers) == self._layer:
            cache.layers.append(DynamicLayer())
        length, layer = cache.get_seq_length(), cache.layers[self._layer]
        if layer.get_seq_length() != length - ids.shape[1]:
            raise ValueError(
                "a serac edit got a cache that was filled without it; run the prompt again inside `edit.applied(lm)`"
            )
        kept, _ = layer.update(told, told)
        return kept[:, 0, :, 0].long(), kept[:, 0, :, 1:]

    @torch.no_grad()
    def _edits(self, states: Tensor, about: Tensor, real: Tensor, kept: Tensor) -> Tensor:
        """The edit that each kept token is in scope of, (rows, kept), or -1.

        Padding is in no scope, nor is what does not fit into the small model's context after the sentence.
        """
        far = squared_distances(about, self._index.subjects).masked_fill(~real[..., None], torch.inf)
        edits = self._index.nearest(self._networks.scope.asks(states), far.cummin(1).values[:, kept])
        sentences = torch.tensor([len(ids) for ids in self._index.sentences], device=edits.device)
        fits = sentences[edits] + real.cumsum(1)[:, kept] <= self._lm.max_length
        return edits.where(real[:, kept] & fits, _BASE)

    @torch.no_grad()
    def _said(self, seen: Tensor, real: Tensor, rows: Tensor, places: Tensor, edits: Tensor) -> Tensor:
        """The small model's logits after some places, (places, vocabulary), each row told of the place's edit."""
        pairs, which = torch.stack([rows, edits]).unique(dim=1, return_inverse=True)
        ends = torch.zeros_like(pairs[0]).scatter_reduce(0, which, places, "amax") + 1
        texts = []
        for (row, edit), end in zip(pairs.T.tolist(), ends.tolist(), strict=True):
            texts.append([*self._index.sentences[edit], *seen[row, :end][real[row, :end]].tolist()])
        count = real.cumsum(1)
        behind = count[rows, ends[which] - 1] - count[rows, places]
        offsets, column = behind.unique(return_inverse=True)
        logits = [
            self._continued(texts[start : start + _BATCH], -1 - offsets) for start in range(0, len(texts), _BATCH)
        ]
        return torch.cat(logits)[which, column]

    def _continued(self, texts: list[list[int]], columns: Tensor) -> Tensor:
        """The small model's logits in some columns, counted from the end, (texts, columns, vocabulary)."""
        ids, mask = pad(texts, self._lm.pad_id, side="left", device=self._lm.device)
        return self._networks.counterfactual(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions(mask),
            use_cache=False,
            logits_to_keep=columns,
        ).logits


def _owner(hook: Any) -> Any:
    """What a hook is a method of."""
    return getattr(hook, "__self__", None)
