"""A speaker that uses a language model of the catalog, with its chat template and many conversations per batch."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jinja2 import TemplateError
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass as validated
from torch import Tensor

from edit_robustness.models.decode import greedy, most_probable, prefill
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Owners
from edit_robustness.models.thinking import LIMIT, Thinking, left_open, may_think
from edit_robustness.models.tokens import prompt_ids, render_conversation
from edit_robustness.records import Turn
from edit_robustness.setting_types import STRICT

logger = logging.getLogger(__name__)

_NEXT_SPEAKER = re.compile(r"\s*\n\s*(?:System|User|Assistant):")
"""Start of the next speaker's turn, in the text of a model without a chat template."""
_MARK_TOKENS = 32
"""Maximum tokens of the mark that opens a thinking part, with the line break after it."""

Choose = Callable[[Tensor, Sequence[int]], Tensor]
"""Returns the next tokens (rows,) from logits (rows, vocabulary) and the numbers of those rows among the prompts."""


@dataclass(frozen=True)
class Reply:
    """A turn of a model: its stripped text, and whether the model ended it before the limit."""

    text: str
    finished: bool


def conversation_ids(lm: LanguageModel, turns: Sequence[Turn]) -> list[int]:
    """Return the token ids of a conversation that the assistant answers next.

    If the chat template has no system turn (Gemma, Mistral), its text is put before the first user turn.
    """
    try:
        return prompt_ids(lm, render_conversation(lm, turns))
    except TemplateError:
        if turns[0].role != "system" or len(turns) < 2:
            raise
        first = Turn(turns[1].role, f"{turns[0].text}\n\n{turns[1].text}")
        return prompt_ids(lm, render_conversation(lm, [first, *turns[2:]]))


def speak(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    limit: int,
    thinking_limit: int = LIMIT,
    owners: Owners | None = None,
    choose: Choose = most_probable,
) -> list[Reply]:
    """Generate the next turn after each prompt, up to the model's end of turn, without the thinking part.

    Args:
        lm: The model.
        prompts: Token ids of each conversation (`conversation_ids`); they form one batch.
        limit: Maximum tokens per turn.
        thinking_limit: Maximum thinking tokens before a turn.
        owners: Updated with the rows that remain, if edits are applied to single rows.
        choose: Selects the next tokens, as in `models.decode.greedy`.
    """
    vocabulary = lm.model.get_output_embeddings().weight.shape[0]
    # with a chat template a special token ends the turn; without one the text does
    may_end = torch.full((vocabulary,), lm.tokenizer.chat_template is None, device=lm.device)
    generations = greedy(
        lm,
        prefill(lm, prompts),
        limit=limit,
        end_rule=lambda text: _NEXT_SPEAKER.search(text) is not None,
        may_end=may_end,
        owners=owners,
        choose=choose,
        thinking=[Thinking(thinking_limit, left_open(_ending(lm, ids))) for ids in prompts],
    )
    if lm.tokenizer.chat_template is None:
        return [
            Reply(_NEXT_SPEAKER.split(generation.text, maxsplit=1)[0].strip(), generation.finished)
            for generation in generations
        ]
    return [Reply(generation.text.strip(), generation.finished) for generation in generations]


def _ending(lm: LanguageModel, ids: Sequence[int]) -> str:
    """Return the last few characters of a prompt, special tokens included."""
    return str(lm.tokenizer.decode(ids[-_MARK_TOKENS:]))


@validated(frozen=True, config=STRICT)
class LocalSpeakerSettings:
    """Decoding settings of a local model.

    Attributes:
        max_new_tokens: Maximum tokens per turn.
        max_thinking_tokens: Maximum thinking tokens before a turn, if thinking cannot be switched off.
        temperature: Sampling temperature; 0 for greedy decoding.
        seed: Seed of the sampling. A sample depends on it and the conversation, not on the rest of the batch.
        batch_rows: Number of conversations per batch.
    """

    max_new_tokens: PositiveInt = 96
    max_thinking_tokens: PositiveInt = LIMIT
    temperature: NonNegativeFloat = 0.0
    seed: int = 0
    batch_rows: PositiveInt = 16


class Limits(Protocol):
    """Settings that limit a turn."""

    @property
    def max_new_tokens(self) -> int:
        """Return the maximum tokens per turn."""

    @property
    def max_thinking_tokens(self) -> int:
        """Return the maximum thinking tokens before a turn."""


def most_tokens(lm: LanguageModel, limits: Limits) -> int:
    """Return the maximum tokens per turn, including the thinking tokens."""
    return limits.max_new_tokens + (limits.max_thinking_tokens if may_think(lm.tokenizer.chat_template) else 0)


class LocalSpeaker:
    """A local language model, greedy or sampled with a seed.

    Args:
        lm: The model, which must be unedited whenever it speaks.
        settings: Decoding settings.
        name: Name in tables; defaults to the model's name.
    """

    def __init__(self, lm: LanguageModel, settings: LocalSpeakerSettings | None = None, *, name: str | None = None):
        self._lm, self._settings = lm, settings or LocalSpeakerSettings()
        self.name = name or lm.name
        sampling = [self._settings.temperature, self._settings.seed] if self._settings.temperature else [0]
        thinking_limit = [self._settings.max_thinking_tokens] if may_think(lm.tokenizer.chat_template) else []
        self.fingerprint = json.dumps(
            ["local", lm.fingerprint, self._settings.max_new_tokens, *sampling, *thinking_limit]
        )

    def replies(self, conversations: Sequence[Sequence[Turn]]) -> list[str]:
        """Return the model's reply to each conversation; if one is too long, its oldest exchanges are dropped.
        Raises:
            ValueError: If the last turn and a reply do not fit into the model's context.
        """
        return [text for batch in self._batches(conversations) for text in self._batch(batch)]

    def _batches(self, conversations: Sequence[Sequence[Turn]]) -> Iterator[Sequence[Sequence[Turn]]]:
        size = self._settings.batch_rows
        return (conversations[i : i + size] for i in range(0, len(conversations), size))

    def _batch(self, conversations: Sequence[Sequence[Turn]]) -> list[str]:
        prompts = [self._prompt(turns) for turns in conversations]
        choose: Choose = most_probable
        if self._settings.temperature:
            choose = make_sampler(
                self._settings.temperature, [_seed(self._settings.seed, turns) for turns in conversations]
            )
        limit, thinking_limit = self._settings.max_new_tokens, self._settings.max_thinking_tokens
        replies = speak(self._lm, prompts, limit=limit, thinking_limit=thinking_limit, choose=choose)
        if n_cut := sum(not turn.finished for turn in replies):
            logger.warning(
                "%s: %d of %d turns were cut off; raise the speaker's max_new_tokens (%d) or max_thinking_tokens (%d)",
                *(
                    self.name,
                    n_cut,
                    len(replies),
                    self._settings.max_new_tokens,
                    self._settings.max_thinking_tokens,
                ),
            )
        return [turn.text for turn in replies]

    def _prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Return the token ids of a conversation without the oldest exchanges that do not fit into the context."""
        limit, first = most_tokens(self._lm, self._settings), int(turns[0].role == "system")
        remaining_turns, ids = list(turns), conversation_ids(self._lm, turns)
        while len(ids) + limit > self._lm.max_length and len(remaining_turns) > first + 2:
            del remaining_turns[first : first + 2]
            ids = conversation_ids(self._lm, remaining_turns)
        if len(ids) + limit > self._lm.max_length:
            raise ValueError(
                f"{self.name}: a turn of {len(ids)} tokens and {limit} new tokens do not fit into the context length "
                f"of {self._lm.max_length}; reduce max_new_tokens or max_thinking_tokens, or use another speaker"
            )
        return ids


def make_sampler(temperature: float, seeds: Sequence[int]) -> Choose:
    """Return a sampler of softmax(logits / temperature) with one random generator per row.

    Args:
        temperature: Sampling temperature, greater than 0.
        seeds: One seed per row.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw(logits: Tensor, rows: Sequence[int]) -> Tensor:
        # the first of exponential clocks with rates p is token i with probability p[i]
        times = [torch.empty(logits.shape[1]).exponential_(generator=generators[row]) for row in rows]
        return (logits.float() / temperature - torch.stack(times).log().to(logits.device)).argmax(-1)

    return draw


def _seed(seed: int, turns: Sequence[Turn]) -> int:
    text = json.dumps([seed, [[turn.role, turn.text] for turn in turns]])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest())
