"""A causal language model with its tokenizer, seen through its layout."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from edit_robustness.models.attention import BLOCKED
from edit_robustness.models.layout import Layout, Site, layout_of
from edit_robustness.models.products import prefer_onednn
from edit_robustness.models.shape import Shape, shape_of

_CHUNK = 1 << 24


class LanguageModel:
    """A model and its tokenizer; weights are reached by `Site`, always as (d_out, d_in).

    Its `fingerprint` is a hash of configuration (that of generation and the form of attention too), tokenizer and every
    weight's bits, of the unedited model.

    Args:
        model: A transformers causal language model; it is put in evaluation mode and needs no gradients.
        tokenizer: Its fast tokenizer.
        name: What the model is called in tables.

    Raises:
        ValueError: If the architecture has no layout or the tokenizer has no character offsets.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str = "model"):
        if not tokenizer.is_fast:
            raise ValueError(f"{name}: the tokenizer has no character offsets; use its fast version")
        if prefer_onednn() and model.config._attn_implementation == "sdpa":
            model.set_attn_implementation(BLOCKED)
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.layout: Layout = layout_of(model.config.model_type)
        self.description: dict[str, str] = {"name": name}
        # taken at once, before anything can have changed a weight
        self.fingerprint = self._fingerprint()

    @property
    def device(self) -> torch.device:
        """Where the model's inputs go."""
        return self.model.get_input_embeddings().weight.device

    @property
    def environment(self) -> dict[str, str]:
        """Where and in which precision the model computes."""
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return {"device": device, "dtype": str(self.model.dtype).removeprefix("torch.")}

    @property
    def pad_id(self) -> int:
        """A token id to pad with; what is padded is masked, so any id serves."""
        ids = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(i for i in ids if i is not None and i not in self.without_embedding)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end a generation, of the tokenizer and of the generation settings."""
        configured = self.model.generation_config.eos_token_id
        several = configured if isinstance(configured, list) else [configured]
        return frozenset(i for i in [*several, self.tokenizer.eos_token_id] if i is not None)

    @cached_property
    def without_embedding(self) -> dict[int, str]:
        """Special tokens whose ids are beyond the model's embeddings; only a text that names one calls it up."""
        rows = self.model.get_input_embeddings().weight.shape[0]
        added = self.tokenizer.added_tokens_decoder.items()
        return {i: token.content for i, token in added if token.special and i >= rows}

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of a text that may go on.

        Args:
            text: The text.
            special: Whether to put before it what the tokenizer puts there (a start token). What the tokenizer
                appends to a text (an end token) is left out always, since what is asked of the model comes after it.

        Raises:
            ValueError: If the text names a special token that the model has no embedding for.
        """
        return self.encode_with_offsets(text, special=special)[0]

    def encode_with_offsets(self, text: str, *, special: bool = True) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids as `encode` gives them, and the range of characters of each."""
        encoded = self.tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
        kept = len(encoded["input_ids"]) - (self.appended if special else 0)
        ids = encoded["input_ids"][:kept]
        if unknown := self.without_embedding.keys() & set(ids):
            names = ", ".join(self.without_embedding[i] for i in sorted(unknown))
            raise ValueError(f"{self.name} has no embedding for {names}, which stands in `{text[:200]}`: take it out")
        return ids, encoded["offset_mapping"][:kept]

    @cached_property
    def appended(self) -> int:
        """How many tokens the tokenizer's post-processor puts after a text."""
        sequences = self.tokenizer("a").sequence_ids()
        return next((number for number, sequence in enumerate(reversed(sequences)) if sequence is not None), 0)

    @property
    def config(self) -> Any:
        """Settings of the language model itself, which a model that takes images too keeps inside its own."""
        return self.model.config.get_text_config()

    @property
    def shape(self) -> Shape:
        """The sizes that its configuration states."""
        return shape_of(self.model.config)

    @property
    def max_length(self) -> int:
        """The longest input in tokens."""
        return self.config.max_position_embeddings

    def reaches(self, tokens: int) -> bool:
        """Whether attention reaches all of so many tokens back, in every layer.

        Past a sliding window it reaches back so many columns, not tokens: nothing may be padded but a row's beginning.
        """
        return tokens <= (getattr(self.config, "sliding_window", None) or tokens)

    @cached_property
    def finite(self) -> bool:
        """Whether the unedited model's weights, and what it says after a token, are numbers at all."""
        with torch.no_grad():
            said = self.model(input_ids=torch.tensor([[self.pad_id]], device=self.device)).logits
        return all(bool(each.isfinite().all()) for each in (said, *self.model.parameters()))

    @cached_property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks."""
        return self.model.get_submodule(self.layout.blocks)

    def module(self, site: Site) -> nn.Module:
        """The module that holds a site's weight.

        Raises:
            ValueError: If the model has no such layer, or its architecture no such part.
        """
        if not 0 <= site.layer < len(self.blocks):
            raise ValueError(f"{self.name} has layers 0 to {len(self.blocks) - 1}; the setting asks for {site.layer}")
        if site.part not in self.layout.parts:
            raise ValueError(
                f"{self.name} is a {self.model.config.model_type}, which has no part `{site.part}`; "
                f"its parts are {', '.join(self.layout.parts)}"
            )
        return self.blocks[site.layer].get_submodule(self.layout.parts[site.part])

    def weight(self, site: Site) -> Tensor:
        """A view of a site's weight, (d_out, d_in); writing to it edits the model."""
        stored = self.module(site).get_parameter("weight").detach()
        return stored.T if self.layout.transposed else stored

    @property
    def _attention(self) -> str:
        """Name of the form of attention; ours is one of computing what `sdpa` gives, so a machine without it agrees."""
        name = str(self.model.config._attn_implementation)
        return "sdpa" if name == BLOCKED else name

    def _fingerprint(self) -> str:
        """A hash of configuration, tokenizer and every weight's bits."""
        digest = hashlib.blake2b(digest_size=16)
        generation = _content(self.model.generation_config.to_dict())
        settings = [_content(self.model.config.to_dict()), generation, self._attention]
        digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
        digest.update(self.tokenizer.backend_tokenizer.to_str().encode())
        digest.update(str(self.tokenizer.chat_template).encode())
        for name, parameter in self.model.named_parameters():
            digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
            digest.update(b"".join(v.to_bytes(8, "little", signed=True) for v in checksums(parameter.detach())))
        return digest.hexdigest()


_NOT_CONTENT = frozenset(
    {
        *("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "_attn_implementation"),
        "_from_model_config",
    }
)


def _content(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration, and those inside it, without what differs from one loading of the same model to the next."""
    kept = {name: value for name, value in config.items() if name not in _NOT_CONTENT}
    return {name: _content(value) if isinstance(value, dict) else value for name, value in kept.items()}


def checksums(tensor: Tensor) -> list[int]:
    """Position-weighted sums of a tensor's bits modulo 2^64, one for each run of 2^24 numbers.

    Computed where the tensor lies, so that a model on a GPU need not be copied to be recognised.
    """
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    bits = tensor.contiguous().view(-1).view(kinds[tensor.element_size()])
    sums = []
    for chunk in bits.split(_CHUNK):
        places = torch.arange(1, chunk.numel() + 1, device=chunk.device) * 0x9E3779B97F4A7C1 + 0x5851F42D
        sums.append(int((chunk.long() * places).sum()))
    return sums


@contextmanager
def restored(tensors: Iterable[Tensor]):
    """Copy tensors on entering and copy them back on leaving, also after an exception: exact, bit for bit."""
    saved = [(tensor, tensor.clone()) for tensor in tensors]
    try:
        yield
    finally:
        for tensor, copy in saved:
            tensor.copy_(copy)
