"""Routing of each token to the base model, or to the small model that reads the edit in whose scope the token is.

The hooks are on the model itself, so that every caller (generation, an evaluation harness) gets the routed logits. With
a cache a call contains new tokens only, while the scope and the small model need all of them. Their ids and subject
embeddings are stored in the cache itself, as one more layer, so that selecting or reordering the cache's rows includes
them.
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
    sentence_ids,
    squared_distances,
    states_at,
    subject_place,
    target_positions,
)
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import RESIDUAL, Site
from edit_robustness.models.tokens import RenderedPrompt, pad, positions
from edit_robustness.models.trace import output_changed
from edit_robustness.records import fill

_BATCH = 32

_BASE = -1
"""Stands for no edit: the base model generates the token."""

Entry = tuple[str, str, str, str | None]
"""A fact in the memory: the prompt with a slot, its subject, the new object, and the text before the object (None: the
usual one, `text.joining`)."""


@dataclass(frozen=True)
class Index:
    """The memory as the scope reads it.

    Attributes:
        subjects: (edits, width) embeddings of the subject of each statement.
        keys: (keys, width) embeddings of the question of each statement, before each token of the new object.
        owners: (keys,) the number of the edit of each key.
        sentences: Ids of each edit's sentence.
        radius: Squared distance below which a token is in scope (`Networks.radius`).
    """

    subjects: Tensor
    keys: Tensor
    owners: Tensor
    sentences: list[list[int]]
    radius: float

    @classmethod
    @torch.no_grad()
    def of(cls, lm: LanguageModel, networks: Networks, memory: Sequence[Entry]) -> Index:
        """Run the memory's statements and new objects through the model once, and embed them."""
        prompts = [RenderedPrompt(fill(prompt, subject), join=join) for prompt, subject, _, join in memory]
        prompt_tokens = [target_positions(lm, prompt, entry[2]) for prompt, entry in zip(prompts, memory, strict=True)]
        states = states_at(lm, networks.layers, [ids for ids, _ in prompt_tokens])
        ends = [subject_place(lm, prompt, subject) for prompt, subject, *_ in memory]
        subjects = [about[end] for (about, _), end in zip(states, ends, strict=True)]
        keys = [asks[list(places)] for (_, asks), (_, places) in zip(states, prompt_tokens, strict=True)]
        owners = [number for number, (_, places) in enumerate(prompt_tokens) for _ in places]
        return cls(
            networks.scope.about(torch.stack(subjects)),
            networks.scope.asks(torch.cat(keys)),
            torch.tensor(owners, device=lm.device),
            [sentence_ids(lm, prompt, entry[2]) for prompt, entry in zip(prompts, memory, strict=True)],
            networks.radius,
        )

    def nearest(self, asks: Tensor, about: Tensor) -> Tensor:
        """Find the edit in whose scope each token is, (rows, tokens), or -1: the nearest one, of two the later.

        Args:
            asks: (rows, tokens, width) embeddings of the tokens' questions.
            about: (rows, tokens, edits) squared distance of the nearest token so far from each edit's subject.
        """
        later_first = self.owners.flip(0)
        distances, key = (squared_distances(asks, self.keys.flip(0)) + about[..., later_first]).min(-1)
        return later_first[key].where(distances < self.radius, _BASE)


class Router:
    """Hooks that route a model's tokens while `on` is active."""

    def __init__(self, lm: LanguageModel, networks: Networks, memory: Sequence[Entry]):
        self._lm, self._networks = lm, networks
        self._index = Index.of(lm, networks, memory)
        self._names = [name for name in inspect.signature(type(lm.model).forward).parameters if name != "self"]
        self._states: dict[int, Tensor] = {}
        self._layer = 0

    @contextmanager
    def on(self) -> Iterator[None]:
        """Set the hooks inside the block; the router's cache layer follows those of the model and of outer routers."""
        model = self._lm.model
        outer = [hook for hook in model._forward_pre_hooks.values() if isinstance(_get_owner(hook), Router)]
        self._layer = len(self._lm.blocks) + len(outer)
        with ExitStack() as stack:
            for layer in set(self._networks.layers):
                stack.enter_context(output_changed(self._lm, Site(layer, RESIDUAL), partial(self._watch, layer)))
            stack.callback(model.register_forward_pre_hook(self._prepare_call, with_kwargs=True).remove)
            stack.callback(model.register_forward_hook(self._route_logits, with_kwargs=True).remove)
            yield

    def _watch(self, layer: int, _: Tensor, output: Tensor) -> Tensor:
        self._states[layer] = output
        return output

    def _prepare_call(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[()], dict[str, Any]]:
        """Pass all arguments by name, and add a cache if the model would create one."""
        kwargs = {**dict(zip(self._names, args, strict=False)), **kwargs}
        if kwargs.get("input_ids") is None:
            raise ValueError("serac's edits are found by token ids; call the model with `input_ids`, not embeddings")
        if (mask := kwargs.get("attention_mask")) is not None and getattr(mask, "ndim", None) != 2:
            raise ValueError("serac's edits need an attention mask of the shape (rows, tokens), or none")
        config = self._lm.config
        use_cache = config.use_cache if kwargs.get("use_cache") is None else kwargs["use_cache"]
        if use_cache and kwargs.get("past_key_values") is None:
            kwargs["past_key_values"] = DynamicCache(config=config)
        return (), {**kwargs, "return_dict": True}

    def _route_logits(self, model: Any, _: tuple[()], kwargs: dict[str, Any], output: Any) -> Any:
        """Replace the logits by the small model's where a token is in scope."""
        ids, mask, keep = kwargs["input_ids"], kwargs.get("attention_mask"), kwargs.get("logits_to_keep", 0)
        all_ids, about = self._gather_tokens(ids, kwargs.get("past_key_values"))
        real = torch.ones_like(all_ids).bool() if mask is None else mask.bool()
        new_columns = torch.arange(ids.shape[1], device=all_ids.device)
        new_columns = (
            new_columns[-keep if keep else 0 :] if isinstance(keep, int) else new_columns[keep.to(new_columns.device)]
        )
        columns = new_columns + all_ids.shape[1] - ids.shape[1]
        edits = self._find_edits(self._states[self._networks.layers[1]][:, new_columns], about, real, columns)
        rows, places = (edits != _BASE).nonzero(as_tuple=True)
        if len(rows):
            logits = output.logits.clone()
            logits[rows, places] = self._answer_logits(all_ids, real, rows, columns[places], edits[rows, places]).to(
                logits.dtype
            )
            output.logits = logits
            if kwargs.get("labels") is not None:
                size = self._lm.config.vocab_size
                output.loss = model.loss_function(logits=logits, labels=kwargs["labels"], vocab_size=size)
        return output

    @torch.no_grad()
    def _gather_tokens(self, ids: Tensor, cache: Any) -> tuple[Tensor, Tensor]:
        """Return the ids of all tokens so far, (rows, tokens), and their subject embeddings, (rows, tokens, width).

        With a cache they are stored there together, as numbers (rows, 1, tokens, 1 + width) that represent ids exactly.
        """
        about = self._networks.scope.about(self._states[self._networks.layers[0]])
        if cache is None:
            return ids, about
        entry = torch.cat([ids[..., None].float(), about], dim=-1)[:, None]
        if len(cache.layers) == self._layer:
            cache.layers.append(DynamicLayer())
        length, layer = cache.get_seq_length(), cache.layers[self._layer]
        if layer.get_seq_length() != length - ids.shape[1]:
            raise ValueError(
                "a serac edit got a cache that was filled without it; run the prompt again inside `edit.applied(lm)`"
            )
        entries, _ = layer.update(entry, entry)
        return entries[:, 0, :, 0].long(), entries[:, 0, :, 1:]

    @torch.no_grad()
    def _find_edits(self, states: Tensor, about: Tensor, real: Tensor, columns: Tensor) -> Tensor:
        """Find the edit in whose scope each token of some columns is, (rows, columns), or -1.

        Padding is in no scope, nor is a token whose text does not fit into the small model's context after the
        sentence.
        """
        distances = squared_distances(about, self._index.subjects).masked_fill(~real[..., None], torch.inf)
        edits = self._index.nearest(self._networks.scope.asks(states), distances.cummin(1).values[:, columns])
        sentences = torch.tensor([len(ids) for ids in self._index.sentences], device=edits.device)
        fits = sentences[edits] + real.cumsum(1)[:, columns] <= self._lm.max_length
        return edits.where(real[:, columns] & fits, _BASE)

    @torch.no_grad()
    def _answer_logits(self, all_ids: Tensor, real: Tensor, rows: Tensor, places: Tensor, edits: Tensor) -> Tensor:
        """Compute the small model's logits after some places, (places, vocabulary), each with its edit's sentence."""
        pairs, pair_index = torch.stack([rows, edits]).unique(dim=1, return_inverse=True)
        ends = torch.zeros_like(pairs[0]).scatter_reduce(0, pair_index, places, "amax") + 1
        texts = []
        for (row, edit), end in zip(pairs.T.tolist(), ends.tolist(), strict=True):
            texts.append([*self._index.sentences[edit], *all_ids[row, :end][real[row, :end]].tolist()])
        count = real.cumsum(1)
        distances = count[rows, ends[pair_index] - 1] - count[rows, places]
        offsets, column = distances.unique(return_inverse=True)
        logits = [
            self._run_counterfactual(texts[start : start + _BATCH], -1 - offsets)
            for start in range(0, len(texts), _BATCH)
        ]
        return torch.cat(logits)[pair_index, column]

    def _run_counterfactual(self, texts: list[list[int]], columns: Tensor) -> Tensor:
        """Compute the small model's logits in some columns, counted from the end, (texts, columns, vocabulary)."""
        ids, mask = pad(texts, self._lm.pad_id, side="left", device=self._lm.device)
        logits: Tensor = self._networks.counterfactual(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions(mask),
            use_cache=False,
            logits_to_keep=columns,
        ).logits
        return logits


def _get_owner(hook: Any) -> Any:
    """Return the object that a hook is a method of."""
    return getattr(hook, "__self__", None)
