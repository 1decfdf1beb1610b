"""Attention on a CPU, of plain products: some queries at a time, and no key that comes after all of them.

Where products are fast (`models/products.py`) it takes 1.5 to 4.5 times less time than what torch has, which computes
all pairs of tokens where rows are padded, and writes keys and values out for each of the heads that share them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask
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

    A single query, what is not causal or not float32, and what needs more than a mask goes to `sdpa` itself.

    Args:
        module: The attention layer.
        query: (rows, heads, tokens, width).
        key: (rows, groups, all tokens, width); each group serves as many heads as there are more heads than groups.
        value: Shaped like the keys.
        attention_mask: (rows, 1, tokens, all tokens), true (or 0) where a token is seen; nothing hides only what
            comes later.
        scaling: One over the root of the width unless it is given.
        is_causal: Whether later tokens are hidden where there is no mask; the layer knows.
        dropout: Of the weights.
        others: What `sdpa` takes besides.

    Returns:
        (rows, tokens, heads, width), and no weights.
    """
    length, width = query.shape[2:]
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    masked = attention_mask is not None or length == key.shape[2]
    more = dropout or any(others.get(name) is not None for name in _MORE)
    if length == 1 or not causal or not masked or more or query.dtype != torch.float32:
        named = {"scaling": scaling, "is_causal": is_causal, "dropout": dropout, **others}
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, **named)
    if attention_mask is None:
        attention_mask = torch.ones(length, length, dtype=torch.bool, device=query.device).tril()[None, None]
    scaled = query * (width**-0.5 if scaling is None else scaling)
    scaled = scaled.unflatten(1, (key.shape[1], -1))
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
    own = mask[:, :, None, start:stop, :seen]
    # not minus infinity: a token of padding sees nothing, and softmax would make it NaN
    hidden = torch.finfo(weights.dtype).min
    weights = weights.masked_fill_(~own, hidden) if own.dtype == torch.bool else weights.add_(own)
    return (weights.softmax(-1).flatten(2, 3) @ value[:, :, :seen]).unflatten(2, some.shape[2:4])


AttentionInterface.register(BLOCKED, blocked_attention)
AttentionMaskInterface.register(BLOCKED, sdpa_mask)
