"""Attention on a CPU, of plain products: some queries at a time, and no key that comes after all of them.

Where products are fast (`models/products.py`) it takes 1.5 to 4.5 times less time than what torch has, which computes
all pairs of tokens where rows are padded, and writes keys and values out for each of the heads that share them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

BLOCKED = "blocked"
"""Its name in a configuration of transformers."""

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
    **others: Any,
) -> tuple[Tensor, None]:
    """softmax(scaling * query key^T + mask) value, as transformers' `sdpa` gives it.

    A single query, what is not causal or not float32, and what needs more than an added mask goes to `sdpa` itself.

    Args:
        module: The attention layer.
        query: (rows, heads, tokens, width).
        key: (rows, groups, all tokens, width); each group serves as many heads as there are more heads than groups.
        value: Shaped like the keys.
        attention_mask: (rows, 1, tokens, all tokens), 0 where a token is seen, and a very low number elsewhere.
        scaling: One over the root of the width unless it is given.
        is_causal: Whether the mask hides later tokens; the layer knows.
        dropout: Of the weights.
        others: What `sdpa` takes besides.

    Returns:
        (rows, tokens, heads, width), and no weights.
    """
    length, width = query.shape[2:]
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    more = not causal or dropout or any(others.get(name) is not None for name in _MORE)
    if attention_mask is None or not attention_mask.dtype == query.dtype == torch.float32 or length == 1 or more:
        named = {"scaling": scaling, "is_causal": is_causal, "dropout": dropout, **others}
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, **named)
    scaled = (query * (width**-0.5 if scaling is None else scaling)).unflatten(1, (key.shape[1], -1))
    blocks = [
        _block(scaled, key, value, attention_mask, start, min(start + _QUERIES, length))
        for start in range(0, length, _QUERIES)
    ]
    return torch.cat(blocks, dim=3).flatten(1, 2).transpose(1, 2), None


def _block(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, start: int, stop: int) -> Tensor:
    """What some of the queries see, (rows, groups, heads of a group, stop - start, width)."""
    seen = key.shape[2] - query.shape[3] + stop
    some = query[:, :, :, start:stop]
    weights = (some.flatten(2, 3) @ key[:, :, :seen].transpose(2, 3)).unflatten(2, some.shape[2:4])
    weights += mask[:, :, None, start:stop, :seen]
    return (weights.softmax(-1).flatten(2, 3) @ value[:, :, :seen]).unflatten(2, some.shape[2:4])


AttentionInterface.register(BLOCKED, blocked_attention)
AttentionMaskInterface.register(BLOCKED, eager_mask)
