"""Attention on a CPU by matrix products: a block of queries at a time, without the keys that come after all of them.

Where products are fast (`models/products.py`) it takes 1.5 to 4.5 times less time than torch's, which computes all
pairs of tokens if rows are padded, and copies keys and values for each of the heads that share them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

BLOCKED = "blocked"
"""Name of this attention implementation in configurations of transformers."""

_QUERIES = 128
_MORE = ("softcap", "position_bias", "cache")


def blocked_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    is_causal: bool | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """Compute softmax(scaling * query key^T + mask) value, with the results of transformers' `sdpa`.

    Calls with a single query, without causality, in another dtype than float32, or with more than an added mask are
    passed to `sdpa` itself.

    Args:
        module: The attention layer.
        query: (rows, heads, tokens, width).
        key: (rows, groups, all tokens, width); each group serves heads / groups heads.
        value: Shaped like the keys.
        attention_mask: (rows, 1, tokens, all tokens), 0 where a token is visible, and a very low number elsewhere.
        scaling: One over the root of the width if None.
        is_causal: Whether the mask hides later tokens; the layer's own setting if None.
        dropout: Dropout of the weights.
        options: Further arguments of `sdpa`.

    Returns:
        (rows, tokens, heads, width), and None in place of the weights.
    """
    length, width = query.shape[2:]
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    needs_sdpa = not causal or dropout or any(options.get(name) is not None for name in _MORE)
    if attention_mask is None or not attention_mask.dtype == query.dtype == torch.float32 or length == 1 or needs_sdpa:
        arguments = {"scaling": scaling, "is_causal": is_causal, "dropout": dropout, **options}
        sdpa: Callable[..., tuple[Tensor, None]] = ALL_ATTENTION_FUNCTIONS["sdpa"]
        return sdpa(module, query, key, value, attention_mask, **arguments)
    scaled_query = (query * (width**-0.5 if scaling is None else scaling)).unflatten(1, (key.shape[1], -1))
    blocks = [
        _attend(scaled_query, key, value, attention_mask, start, min(start + _QUERIES, length))
        for start in range(0, length, _QUERIES)
    ]
    return torch.cat(blocks, dim=3).flatten(1, 2).transpose(1, 2), None


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, start: int, stop: int) -> Tensor:
    """Compute the attention of some of the queries, (rows, groups, heads per group, stop - start, width)."""
    key_count = key.shape[2] - query.shape[3] + stop
    queries = query[:, :, :, start:stop]
    weights = (queries.flatten(2, 3) @ key[:, :, :key_count].transpose(2, 3)).unflatten(2, queries.shape[2:4])
    weights += mask[:, :, None, start:stop, :key_count]
    attended: Tensor = (weights.softmax(-1).flatten(2, 3) @ value[:, :, :key_count]).unflatten(2, queries.shape[2:4])
    return attended


AttentionInterface.register(BLOCKED, blocked_attention)
AttentionMaskInterface.register(BLOCKED, eager_mask)
