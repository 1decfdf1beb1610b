"""A causal language model with its tokenizer, accessed through its layout."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from edit_robustness.models.attention import BLOCKED
from edit_robustness.models.layout import Layout, Site, layout_of
from edit_robustness.models.memory import loaded_bytes
from edit_robustness.models.products import prefer_onednn
from edit_robustness.models.shape import Shape, shape_of

_CHUNK = 1 << 24


@dataclass(frozen=True)
class RemoteWeights:
    """Weights of a model in another process, as far as this one knows them.

    Attributes:
        fingerprint: Fingerprint of the model.
        environment: The device and the dtype of its computations.
        finite: Whether its weights and its logits are finite numbers.
        size: Bytes of its weights.
    """

    fingerprint: str
    environment: Mapping[str, str]
    finite: bool
    size: int


class LanguageModel:
    """A model and its tokenizer; weights are accessed by `Site`, always as (d_out, d_in).

    Its `fingerprint` is a hash of the configuration (with that of generation and the attention implementation), the
    tokenizer and every weight's bits, of the unedited model.

    Args:
        model: A transformers causal language model. It is set to evaluation mode and needs no gradients.
        tokenizer: Its fast tokenizer.
        name: Name of the model in tables.
        remote_weights: Given if `model` is without weights (on the device `meta`), because another process holds them.
            Then the model knows its tokens and sizes, and computes nothing.

    Raises:
        ValueError: If the architecture has no layout or the tokenizer has no character offsets.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str = "model", remote_weights: RemoteWeights | None = None):
        if not tokenizer.is_fast:
            raise ValueError(f"{name}: the tokenizer has no character offsets; use its fast version")
        if prefer_onednn() and model.config._attn_implementation == "sdpa":
            model.set_attn_implementation(BLOCKED)
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.layout: Layout = layout_of(model.config.model_type)
        self.description: dict[str, str] = {"name": name}
        self.entry: Mapping[str, Any] = {}
        """Settings from which another process loads the same model."""
        self._remote_weights = remote_weights
        # computed here, before anything can have changed a weight
        self.fingerprint = remote_weights.fingerprint if remote_weights else self._fingerprint()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: another process loads the model by its `entry`."""
        raise TypeError(f"{self.name}: a model is not sent to another process, which loads it itself")

    @property
    def device(self) -> torch.device:
        """Return the device of the model's inputs and logits, and of what edits read and change."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight.device

    @property
    def devices(self) -> list[torch.device]:
        """Return the devices that have weights; more than one if the blocks are spread (`models/placement.py`)."""
        return list(dict.fromkeys(parameter.device for parameter in self.model.parameters()))

    @property
    def environment(self) -> dict[str, str]:
        """Return the device, or each of several, and the dtype of the model's computations."""
        if self._remote_weights:
            return dict(self._remote_weights.environment)
        names = [
            torch.cuda.get_device_name(device) if device.type == "cuda" else device.type for device in self.devices
        ]
        return {"device": " + ".join(names), "dtype": str(self.model.dtype).removeprefix("torch.")}

    @property
    def has_weights(self) -> bool:
        """Return whether this process holds the weights."""
        return self._remote_weights is None

    @property
    def size(self) -> int:
        """Return the bytes of the weights."""
        return self._remote_weights.size if self._remote_weights else loaded_bytes(self.model)

    @property
    def pad_id(self) -> int:
        """Return a token id for padding; padding is masked, so any id with an embedding works."""
        ids = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(i for i in ids if i is not None and i not in self.without_embedding)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Return the tokens that end a generation, from the tokenizer and from the generation settings."""
        end_ids = self.model.generation_config.eos_token_id
        id_list = end_ids if isinstance(end_ids, list) else [end_ids]
        return frozenset(i for i in [*id_list, self.tokenizer.eos_token_id] if i is not None)

    @cached_property
    def without_embedding(self) -> dict[int, str]:
        """Return special tokens with ids beyond the model's embeddings; only texts with their names use them."""
        rows = self.model.get_input_embeddings().weight.shape[0]
        entries = self.tokenizer.added_tokens_decoder.items()
        return {i: token.content for i, token in entries if token.special and i >= rows}

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Return the token ids of a text that may be continued.

        Args:
            text: The text.
            special: Whether to add the tokens that the tokenizer puts before a text (a start token). The tokens that it
                appends to a text (an end token) are always left out, since the model continues the text.

        Raises:
            ValueError: If the text contains a special token that the model has no embedding for.
        """
        return self.encode_with_offsets(text, special=special)[0]

    def encode_with_offsets(self, text: str, *, special: bool = True) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the token ids of `encode`, and the range of characters of each token."""
        encoding = self.tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
        length = len(encoding["input_ids"]) - (self.n_appended if special else 0)
        ids = encoding["input_ids"][:length]
        if unknown_ids := self.without_embedding.keys() & set(ids):
            names = ", ".join(self.without_embedding[i] for i in sorted(unknown_ids))
            raise ValueError(f"{self.name} has no embedding for {names}, which occurs in `{text[:200]}`: remove it")
        return ids, encoding["offset_mapping"][:length]

    @cached_property
    def n_appended(self) -> int:
        """Return the number of tokens that the tokenizer's post-processor appends to a text."""
        sequences = self.tokenizer("a").sequence_ids()
        return next((number for number, sequence in enumerate(reversed(sequences)) if sequence is not None), 0)

    @property
    def config(self) -> Any:
        """Return the configuration of the language model, which multimodal models store inside their own."""
        return self.model.config.get_text_config()

    @property
    def shape(self) -> Shape:
        """Return the sizes in the configuration."""
        return shape_of(self.model.config)

    @property
    def max_length(self) -> int:
        """Return the context length in tokens."""
        length: int = self.config.max_position_embeddings
        return length

    def reaches(self, tokens: int) -> bool:
        """Return whether attention covers so many tokens in every layer.

        A sliding window is counted in columns and not in tokens, so beyond it only the beginning of a row may be
        padded.
        """
        return tokens <= (getattr(self.config, "sliding_window", None) or tokens)

    @cached_property
    def finite(self) -> bool:
        """Return whether the unedited model's weights, and its logits after one token, are finite numbers."""
        if self._remote_weights:
            return self._remote_weights.finite
        with torch.no_grad():
            logits = self.model(input_ids=torch.tensor([[self.pad_id]], device=self.device)).logits
        return all(bool(tensor.isfinite().all()) for tensor in (logits, *self.model.parameters()))

    @cached_property
    def blocks(self) -> nn.ModuleList:
        """Return the transformer blocks."""
        blocks: nn.ModuleList = self.model.get_submodule(self.layout.blocks)
        return blocks

    def module(self, site: Site) -> nn.Module:
        """Return the module that contains a site's weight.

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
        """Return a view of a site's weight, (d_out, d_in); writing to it edits the model."""
        parameter = self.module(site).get_parameter("weight").detach()
        return parameter.T if self.layout.transposed else parameter

    @property
    def _attention(self) -> str:
        """Return the attention implementation; `BLOCKED` counts as `sdpa`, whose results it computes in another way."""
        name = str(self.model.config._attn_implementation)
        return "sdpa" if name == BLOCKED else name

    @property
    def settings_text(self) -> str:
        """Return the configuration, that of generation and the attention implementation, as JSON."""
        generation = _drop_loading_settings(self.model.generation_config.to_dict())
        settings = [_drop_loading_settings(self.model.config.to_dict()), generation, self._attention]
        return json.dumps(settings, sort_keys=True, default=str)

    def _fingerprint(self) -> str:
        """Compute a hash of the configuration, the tokenizer and every weight's bits."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.settings_text.encode())
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


def _drop_loading_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration, and those inside it, without settings that differ between loadings of one model."""
    settings = {name: value for name, value in config.items() if name not in _NOT_CONTENT}
    return {
        name: _drop_loading_settings(value) if isinstance(value, dict) else value for name, value in settings.items()
    }


def checksums(tensor: Tensor) -> list[int]:
    """Compute position-weighted sums of a tensor's bits modulo 2^64, one for each run of 2^24 numbers.

    They are computed on the tensor's device, so that a model on a GPU need not be copied to be identified.
    """
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    bits = tensor.contiguous().view(-1).view(kinds[tensor.element_size()])
    sums = []
    for chunk in bits.split(_CHUNK):
        places = torch.arange(1, chunk.numel() + 1, device=chunk.device) * 0x9E3779B97F4A7C1 + 0x5851F42D
        sums.append(int((chunk.long() * places).sum()))
    return sums


@contextmanager
def restore_after(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Copy tensors on entering and copy them back on leaving, also after an exception: exact, bit for bit."""
    copies = [(tensor, tensor.clone()) for tensor in tensors]
    try:
        yield
    finally:
        for tensor, copy in copies:
            tensor.copy_(copy)
