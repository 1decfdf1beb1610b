"""One prefill per prompt, then greedy decoding and teacher forcing from it.

Prompts are padded on the left, so that every row's last token is in the last column. The greedy loop gives the tokens
of transformers' `generate`. Rows whose sentence has ended leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from edit_robustness.models.generating import Ends, Generation, Row
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Owners
from edit_robustness.models.sentences import FULL_WIDTH_ENDS, LINE_BREAKS
from edit_robustness.models.thinking import Thinking
from edit_robustness.models.tokens import last, pad, positions

KeysValues = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, each (rows, heads, tokens, head width)."""


_CROWDED = 0.8
"""Rows leave the batch when at most this share of it is unfinished, because each removal copies the cache."""

_ROOM = 16
"""Number of new tokens for which a cache has room at first, and by which it grows at least."""


@dataclass(frozen=True)
class Prefill:
    """Prompts after their forward pass.

    Attributes:
        states: Keys and values of the prompts.
        mask: (rows, tokens), 0 where padded.
        logits: (rows, vocabulary) after the last token of each prompt.
    """

    states: KeysValues
    mask: Tensor
    logits: Tensor


@dataclass(frozen=True)
class TargetScore:
    """Score of a target after a prompt: summed log-probability, token count, and whether every token was the argmax."""

    logprob: float
    tokens: int
    match: bool


def bytes_per_token(lm: LanguageModel) -> int:
    """Return the number of bytes of one token's keys and values."""
    config = lm.config
    heads: int = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    dtype: torch.dtype = lm.model.dtype
    return 2 * len(lm.blocks) * heads * width * dtype.itemsize


def memory_at_hand(lm: LanguageModel) -> int:
    """Return the bytes that one batch may use: half of the free memory of its fullest GPU; 2 GB on a CPU."""
    if lm.device.type != "cuda":
        return 2 << 30
    free: int = min(torch.cuda.mem_get_info(device)[0] for device in lm.devices)
    return free // 2


def fresh_cache(states: KeysValues) -> DynamicCache:
    """Return a cache with the given states, to be extended by one forward pass without changing them."""
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(states):
        cache.update(keys, values, layer)
    return cache


class _RoomyLayer(DynamicLayer):
    """A cache layer with room for further tokens; transformers' own copies its content at every step.

    When the room is used up, it is enlarged. So little memory is held for rows that end soon, and a row that continues
    for long is copied with the few others that do.
    """

    def __init__(self, keys: Tensor, values: Tensor, room: int):
        super().__init__()
        self.lazy_initialization(keys, values)
        self._used, shape = keys.shape[2], (*keys.shape[:2], keys.shape[2] + room, keys.shape[3])
        self._buffers = [tensor.new_empty(shape) for tensor in (keys, values)]
        self._write(keys, values, 0)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        start, self._used = self._used, self._used + key_states.shape[2]
        if self._used > self._buffers[0].shape[2]:
            extra = max(_ROOM, self._used // 8)
            self._buffers = [_widen(buffer[:, :, :start], self._used + extra) for buffer in self._buffers]
        self._write(key_states, value_states, start)
        return self._expose()

    def batch_select_indices(self, indices: Tensor) -> None:
        self._buffers = [buffer[indices.to(buffer.device)] for buffer in self._buffers]
        self._expose()

    def _write(self, keys: Tensor, values: Tensor, start: int) -> None:
        for buffer, tensor in zip(self._buffers, (keys, values), strict=True):
            buffer[:, :, start : self._used] = tensor
        self._expose()

    def _expose(self) -> tuple[Tensor, Tensor]:
        keys, values = (buffer[:, :, : self._used] for buffer in self._buffers)
        self.keys, self.values = keys, values
        return keys, values


def _widen(tensor: Tensor, columns: int) -> Tensor:
    """Return a copy with room for so many columns."""
    wide = tensor.new_empty((*tensor.shape[:2], columns, tensor.shape[3]))
    wide[:, :, : tensor.shape[2]] = tensor
    return wide


def roomy_cache(states: Iterable[tuple[Tensor, Tensor]], room: int) -> DynamicCache:
    """Return a cache with the given states, which can take `room` more tokens before it copies them."""
    cache = DynamicCache()
    cache.layers = [_RoomyLayer(keys, values, room) for keys, values in states]
    return cache


def read_cache(cache: DynamicCache) -> KeysValues:
    """Return the keys and values of a cache."""
    layers: list[Any] = cache.layers
    return [(layer.keys, layer.values) for layer in layers]


def select_rows(states: KeysValues, index: Tensor) -> KeysValues:
    """Select rows of the states; an index may repeat."""
    # layers may be on several devices
    return [(keys[index.to(keys.device)], values[index.to(values.device)]) for keys, values in states]


def without_padding(states: KeysValues, mask: Tensor) -> KeysValues:
    """Set states at padded positions to 0: a fully padded row may contain NaN there, and 0 x NaN is NaN."""
    keep = mask[:, None, :, None].bool()
    return [(keys.where(keep.to(keys.device), 0), values.where(keep.to(values.device), 0)) for keys, values in states]


@torch.no_grad()
def prefill(lm: LanguageModel, rows: Sequence[Sequence[int]], before: Prefill | None = None) -> Prefill:
    """Run one forward pass over prompts of different lengths.

    Args:
        lm: The model.
        rows: Token ids of each prompt, none empty.
        before: Text before each prompt that was already run.

    Raises:
        ValueError: If a prompt with the text before it is longer than the model's context.
    """
    return extend(lm, rows, before)[0]


@torch.no_grad()
def extend(
    lm: LanguageModel,
    rows: Sequence[Sequence[int]],
    before: Prefill | None = None,
    *,
    parents: Tensor | None = None,
    columns: int = 1,
) -> tuple[Prefill, Tensor]:
    """Run one forward pass as `prefill` does, and return the logits after the last columns too.

    Args:
        lm: The model.
        rows: Token ids of each prompt, none empty.
        before: Text before the prompts that was already run.
        parents: For each prompt the row of `before` that it follows, (rows,); the row of the same number if None.
        columns: Number of last tokens after which to return logits; shorter prompts have padding there.

    Returns:
        The prompts, and the logits (rows, columns, vocabulary).

    Raises:
        ValueError: If a prompt with the text before it is longer than the model's context.
    """
    ids, mask = pad(rows, lm.pad_id, side="left", device=lm.device)
    cache, full_mask = DynamicCache(), mask
    if before is not None:
        index = torch.arange(len(rows), device=lm.device) if parents is None else parents
        full_mask = torch.cat([before.mask[index], mask], dim=1)
        states = before.states if parents is None else (_select_rows(layer, index) for layer in before.states)
        cache = roomy_cache(states, ids.shape[1])
    longest = int(full_mask.sum(1).max())
    if longest > lm.max_length:
        raise ValueError(f"a prompt of {longest} tokens does not fit into {lm.name}'s context of {lm.max_length}")
    logits = _forward(lm, ids, full_mask, cache, logits_to_keep=last(columns))
    # a copy, because a view would keep the logits of all columns in memory
    final = logits[:, -1].clone() if columns > 1 else logits[:, -1]
    return Prefill(read_cache(cache), full_mask, final), logits


def _select_rows(layer: tuple[Tensor, Tensor], index: Tensor) -> tuple[Tensor, Tensor]:
    """Select rows of a layer's keys and values; a single row is expanded without copying."""
    keys, values = layer
    if len(keys) == 1:
        return keys.expand(len(index), -1, -1, -1), values.expand(len(index), -1, -1, -1)
    return keys[index.to(keys.device)], values[index.to(values.device)]


def _forward(lm: LanguageModel, ids: Tensor, mask: Tensor, cache: DynamicCache, **options: Any) -> Tensor:
    """Compute the logits of tokens that follow a cache's content; `mask` covers both, and the cache is extended."""
    logits: Tensor = lm.model(
        input_ids=ids,
        attention_mask=mask,
        # a finished row may stay in the batch beyond the context, where positions end; its logits are not used
        position_ids=positions(mask)[:, -ids.shape[1] :].clamp(max=lm.max_length - 1),
        past_key_values=cache,
        use_cache=True,
        **options,
    ).logits
    return logits


def join_batches(parts: Sequence[Prefill]) -> Prefill:
    """Combine prompts that were run in several batches into one batch, padded on the left to the longest."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.mask.shape[1] for part in parts)

    def wide(tensor: Tensor, dim: int) -> Tensor:
        shape = list(tensor.shape)
        shape[dim] = width - shape[dim]
        return torch.cat([tensor.new_zeros(shape), tensor], dim=dim) if shape[dim] else tensor

    layers = zip(*(part.states for part in parts), strict=True)
    states = [
        (torch.cat([wide(keys, 2) for keys, _ in layer]), torch.cat([wide(values, 2) for _, values in layer]))
        for layer in layers
    ]
    mask = torch.cat([wide(part.mask, 1) for part in parts])
    return Prefill(states, mask, torch.cat([part.logits for part in parts]))


def shared_prefix(rows: Sequence[Sequence[int]], *, minimum: int) -> int:
    """Count the leading tokens that all rows share, leaving at least one token to each.

    Returns:
        The number of tokens; 0 if it is below `minimum`.
    """
    if len(rows) < 2:
        return 0
    limit = min(len(row) for row in rows) - 1
    first = rows[0]
    length = next((i for i in range(limit) if any(row[i] != first[i] for row in rows)), max(limit, 0))
    return length if length >= minimum else 0


def sentence_ending_tokens(lm: LanguageModel) -> Tensor:
    """Return a mask (vocabulary,) of the tokens after which a sentence may have ended.

    These are the tokens that contain a terminator or a line break.
    """
    return ending_tokens(lm, f".!?{FULL_WIDTH_ENDS}{LINE_BREAKS}")


def ending_tokens(lm: LanguageModel, marks: Collection[str]) -> Tensor:
    """Return a mask (vocabulary,) of the tokens that contain one of some characters.

    Tokens that are parts of a character are included, since the character that they complete may be one of those. All
    tokens are included if a blank is one of them, since many tokenizers do not decode the blank at the beginning of a
    single token.
    """
    size = lm.model.get_output_embeddings().weight.shape[0]
    if " " in marks:
        return torch.ones(size, dtype=torch.bool, device=lm.device)
    texts = lm.tokenizer.batch_decode([[i] for i in range(min(size, len(lm.tokenizer)))])
    table = torch.zeros(size, dtype=torch.bool, device=lm.device)
    table[[i for i, text in enumerate(texts) if any(mark in text for mark in [*marks, _PART])]] = True
    return table


_PART = "\ufffd"
"""Text that a tokenizer decodes a part of a character to."""


def most_probable(logits: Tensor, rows: Sequence[int]) -> Tensor:
    """Return the most probable token of each row, (rows,)."""
    return logits.argmax(-1)


@torch.no_grad()
def greedy(
    lm: LanguageModel,
    start: Prefill,
    *,
    limit: int,
    end_rule: Callable[[str], bool] | Sequence[Callable[[str], bool]],
    may_end: Tensor,
    owners: Owners | None = None,
    choose: Callable[[Tensor, Sequence[int]], Tensor] = most_probable,
    stop_ids: frozenset[int] = frozenset(),
    thinking: Sequence[Thinking | None] | None = None,
) -> list[Generation]:
    """Decode greedily from prefilled prompts; rows that have stopped leave the batch, a fifth of it at a time.

    A row that reaches a limit, or the end of the model's context, is not marked as finished.

    Args:
        lm: The model.
        start: The prompts.
        limit: Maximum number of new tokens.
        end_rule: Function that returns whether a text has ended, for all rows or one for each. It is called only after
            tokens for which `may_end` is true, once more after the next token, and at the limit if there was such a
            token.
        may_end: (vocabulary,) true for tokens after which a text may have ended.
        owners: Updated with the rows that remain, if edits act on rows.
        choose: Function that returns the next tokens, given logits (rows, vocabulary) and the numbers of those rows
            among the prompts. Pass another one to sample.
        stop_ids: Tokens that end a text, besides the model's own.
        thinking: For each row how it may think before its answer; None if thinking is not detected.
    """
    owners, stop_ids = owners or Owners([0] * len(start.logits)), lm.stop_ids | stop_ids
    rules = [end_rule] * len(start.logits) if callable(end_rule) else end_rule
    # the logits after a prompt give one token even if the context is full
    rooms = (lm.max_length - start.mask.sum(1)).clamp(min=1).tolist()
    settings = zip(rules, rooms, thinking or [None] * len(rooms), strict=True)
    rows = [Row(Ends(lm.tokenizer, rule, stop_ids), limit, room, row_thinking) for rule, room, row_thinking in settings]
    active_rows = list(range(len(rows)))
    cache, mask, logits = roomy_cache(start.states, min(limit, _ROOM)), start.mask, start.logits
    with owners.restore_after():
        while active_rows:
            tokens = choose(logits, active_rows)
            finite = logits.gather(1, tokens[:, None])[:, 0].isfinite()
            steps = zip(active_rows, tokens.tolist(), may_end[tokens].tolist(), finite.tolist(), strict=True)
            for row, token, check, is_finite in steps:
                rows[row].take(token, check, is_finite)
            places = [number for number, row in enumerate(active_rows) if not rows[row].is_done]
            if not places:
                break
            if len(places) <= _CROWDED * len(active_rows):
                index = torch.tensor(places, device=mask.device)
                active_rows, tokens, mask = [active_rows[i] for i in places], tokens[index], mask[index]
                cache.batch_select_indices(index)
                owners.select(places)
            mask = torch.cat([mask, mask.new_ones(len(active_rows), 1)], dim=1)
            logits = _forward(lm, tokens[:, None], mask, cache, logits_to_keep=last(1))[:, -1]
    texts = lm.tokenizer.batch_decode([row.ids for row in rows], skip_special_tokens=True)
    return [row.generation(text) for row, text in zip(rows, texts, strict=True)]


@torch.no_grad()
def score(
    lm: LanguageModel, start: Prefill, targets: Sequence[Sequence[Sequence[int]]], owners: Owners | None = None
) -> list[list[TargetScore]]:
    """Compute by teacher forcing the log-probability of each row's targets after its prompt.

    Args:
        lm: The model.
        start: The prompts, already run; the first token of each target needs no further pass.
        targets: For each row its targets, each a list of token ids. An empty target scores NaN and never matches.
        owners: Updated with the rows that are run, if edits act on rows.
    """
    owners = owners or Owners([0] * len(targets))
    pairs = [(row, list(target)) for row, several in enumerate(targets) for target in several]
    first = start.logits.float().log_softmax(-1)
    long_targets = [number for number, (_, target) in enumerate(pairs) if len(target) > 1]
    later = (
        dict(zip(long_targets, _score_continuations(lm, start, [pairs[i] for i in long_targets], owners), strict=True))
        if long_targets
        else {}
    )
    scores = []
    for number, (row, target) in enumerate(pairs):
        if not target:
            scores.append(TargetScore(float("nan"), 0, False))
            continue
        logprobs = torch.cat([first[row : row + 1], later[number]]) if number in later else first[row : row + 1]
        target_tokens = torch.tensor(target, device=logprobs.device)
        total = float(logprobs.gather(1, target_tokens[:, None]).sum())
        scores.append(TargetScore(total, len(target), bool((logprobs.argmax(-1) == target_tokens).all())))
    iterator = iter(scores)
    return [[next(iterator) for _ in several] for several in targets]


def _score_continuations(
    lm: LanguageModel, start: Prefill, flat: Sequence[tuple[int, list[int]]], owners: Owners
) -> list[Tensor]:
    """Compute log-probabilities after each target token but the last, (tokens - 1, vocabulary) per target."""
    index = torch.tensor([row for row, _ in flat], device=start.mask.device)
    ids, mask = pad([target[:-1] for _, target in flat], lm.pad_id, side="right", device=lm.device)
    full = torch.cat([start.mask[index], mask], dim=1)
    with owners.restore_after():
        owners.select(index)
        logits = _forward(lm, ids, full, roomy_cache(select_rows(start.states, index), ids.shape[1]))
    return [row[: len(target) - 1].float().log_softmax(-1) for row, (_, target) in zip(logits, flat, strict=True)]
