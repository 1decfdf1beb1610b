"""A language model of the catalog that speaks: turns by its chat template, many conversations in one batch."""

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
"""Where a model without a chat template begins to write the other's turn."""
_MARK_TOKENS = 32
"""The mark that opens a thinking part takes no more tokens, with the line break after it."""

Choose = Callable[[Tensor, Sequence[int]], Tensor]
"""The next tokens, from logits (rows, vocabulary) and the numbers of those rows among the prompts."""


@dataclass(frozen=True)
class Spoken:
    """A turn of a model: its text, stripped, and whether it ended by itself."""

    text: str
    finished: bool


def conversation_ids(lm: LanguageModel, turns: Sequence[Turn]) -> list[int]:
    """Token ids of a conversation that the assistant answers next.

    A template that knows no system turn (Gemma's, Mistral's) gets its text before the first user's turn.
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
) -> list[Spoken]:
    """The next turn after each prompt, up to the model's own end of turn; what it thinks before is cut off.

    Args:
        lm: The model.
        prompts: Token ids of each conversation (`conversation_ids`); they are one batch.
        limit: Most tokens of the turn.
        thinking_limit: Most tokens of what the model thinks before it.
        owners: Told which rows remain, where edits act on rows.
        choose: Which tokens come next; see `models.decode.greedy`.
    """
    vocabulary = lm.model.get_output_embeddings().weight.shape[0]
    # with a template a token of its own ends the turn; without one the text tells
    may_end = torch.full((vocabulary,), lm.tokenizer.chat_template is None, device=lm.device)
    made = greedy(
        lm,
        prefill(lm, prompts),
        limit=limit,
        end_rule=lambda text: _NEXT_SPEAKER.search(text) is not None,
        may_end=may_end,
        owners=owners,
        choose=choose,
        thinking=[Thinking(thinking_limit, left_open(_end(lm, ids))) for ids in prompts],
    )
    if lm.tokenizer.chat_template is None:
        return [Spoken(_NEXT_SPEAKER.split(one.text, maxsplit=1)[0].strip(), one.finished) for one in made]
    return [Spoken(one.text.strip(), one.finished) for one in made]


def _end(lm: LanguageModel, ids: Sequence[int]) -> str:
    """Return the last few characters of a prompt, special tokens included."""
    return lm.tokenizer.decode(ids[-_MARK_TOKENS:])


@validated(frozen=True, config=STRICT)
class Speaking:
    """How a local model speaks.

    Attributes:
        max_new_tokens: Most tokens of a turn.
        max_thinking_tokens: Most tokens of what the model thinks before a turn, where that cannot be switched off.
        temperature: 0 for greedy decoding.
        seed: Of the sampling; what is drawn depends on it and the conversation, not on the others of the batch.
        batch_rows: How many conversations are answered at once.
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
        """Most tokens of a turn."""

    @property
    def max_thinking_tokens(self) -> int:
        """Most tokens of what is thought before it."""


def most_tokens(lm: LanguageModel, limits: Limits) -> int:
    """Return how many tokens a turn may take, with what the model may think before it."""
    return limits.max_new_tokens + (limits.max_thinking_tokens if may_think(lm.tokenizer.chat_template) else 0)


class LocalSpeaker:
    """A local language model, greedy or sampled with a seed.

    Args:
        lm: The model, unedited whenever this speaks.
        how: How it speaks.
        name: What it is called in tables; the model's name unless given.
    """

    def __init__(self, lm: LanguageModel, how: Speaking | None = None, *, name: str | None = None):
        self._lm, self._how = lm, how or Speaking()
        self.name = name or lm.name
        drawn = [self._how.temperature, self._how.seed] if self._how.temperature else [0]
        thinking = [self._how.max_thinking_tokens] if may_think(lm.tokenizer.chat_template) else []
        self.fingerprint = json.dumps(["local", lm.fingerprint, self._how.max_new_tokens, *drawn, *thinking])

    def replies(self, conversations: Sequence[Sequence[Turn]]) -> list[str]:
        """See `Speaker.replies`; of a conversation that is too long the oldest exchanges are left out.

        Raises:
            ValueError: If the last turn with a whole one after it is longer than the model's context.
        """
        return [text for some in self._batches(conversations) for text in self._batch(some)]

    def _batches(self, conversations: Sequence[Sequence[Turn]]) -> Iterator[Sequence[Sequence[Turn]]]:
        size = self._how.batch_rows
        return (conversations[i : i + size] for i in range(0, len(conversations), size))

    def _batch(self, conversations: Sequence[Sequence[Turn]]) -> list[str]:
        prompts = [self._prompt(turns) for turns in conversations]
        choose: Choose = most_probable
        if self._how.temperature:
            choose = draws(self._how.temperature, [_seed(self._how.seed, turns) for turns in conversations])
        limit, thinking_limit = self._how.max_new_tokens, self._how.max_thinking_tokens
        said = speak(self._lm, prompts, limit=limit, thinking_limit=thinking_limit, choose=choose)
        if cut := sum(not one.finished for one in said):
            logger.warning(
                "%s: %d of %d turns were cut off; raise the speaker's max_new_tokens (%d) or max_thinking_tokens (%d)",
                *(self.name, cut, len(said), self._how.max_new_tokens, self._how.max_thinking_tokens),
            )
        return [one.text for one in said]

    def _prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Token ids of a conversation; where it is too long its oldest exchanges are forgotten, not the system turn."""
        limit, first = most_tokens(self._lm, self._how), int(turns[0].role == "system")
        kept, ids = list(turns), conversation_ids(self._lm, turns)
        while len(ids) + limit > self._lm.max_length and len(kept) > first + 2:
            del kept[first : first + 2]
            ids = conversation_ids(self._lm, kept)
        if len(ids) + limit > self._lm.max_length:
            raise ValueError(
                f"{self.name}: a turn of {len(ids)} tokens and {limit} new ones do not fit into its context "
                f"of {self._lm.max_length}; set a smaller max_new_tokens or max_thinking_tokens, or let another speak"
            )
        return ids


def draws(temperature: float, seeds: Sequence[int]) -> Choose:
    """Tokens drawn from softmax(logits / temperature), each row from a generator of its own.

    Args:
        temperature: Above 0.
        seeds: One a row.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw(logits: Tensor, rows: Sequence[int]) -> Tensor:
        # the first of exponential clocks with rates p is each token with probability p
        times = [torch.empty(logits.shape[1]).exponential_(generator=generators[row]) for row in rows]
        return (logits.float() / temperature - torch.stack(times).log().to(logits.device)).argmax(-1)

    return draw


def _seed(seed: int, turns: Sequence[Turn]) -> int:
    text = json.dumps([seed, [[turn.role, turn.text] for turn in turns]])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest())
