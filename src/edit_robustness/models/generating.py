"""State of one text during generation: its tokens, whether it has ended, and the thinking part before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edit_robustness.models.thinking import Thinking, find_end_mark, without_marks


@dataclass(frozen=True)
class Generation:
    """A greedy continuation: token ids, text, whether it stopped by itself, and whether its logits were finite.

    If a model's logits are not numbers, the continuation still has tokens: the first token of the vocabulary.
    `thinking` is the model's thinking part before the answer; it is in neither `ids` nor `text`.
    """

    ids: list[int]
    text: str
    finished: bool
    finite: bool = True
    thinking: str = ""


@dataclass(frozen=True)
class Ends:
    """The ends of texts: stop tokens, or a rule about the text."""

    tokenizer: Any
    ended: Callable[[str], bool]
    stop_ids: frozenset[int]

    def text(self, ids: Sequence[int], *, marks: bool = False) -> str:
        """Decode tokens.

        Args:
            ids: The tokens.
            marks: Whether to include special tokens, which may mark a thinking part.
        """
        text: str = self.tokenizer.decode(ids, skip_special_tokens=not marks)
        return text


@dataclass
class Row:
    """A text during generation.

    Attributes:
        ends: The ends of the text.
        limit: Maximum number of tokens of the text.
        room: Maximum number of tokens with the thinking part, which the model's context allows.
        thinking: How the model may think before its answer; None if thinking is not detected.
    """

    ends: Ends
    limit: int
    room: int
    thinking: Thinking | None = None
    ids: list[int] = field(default_factory=list)
    finished: bool = False
    finite: bool = True
    _is_uncertain: bool = False
    _may_have_ended: bool = False
    _thinking_ids: list[int] = field(default_factory=list)
    _answer_start: str = ""
    _end_mark: str | None = field(init=False)
    """The mark that ends the thinking part; empty while one may yet be opened, None once the answer has begun."""

    def __post_init__(self) -> None:
        self._end_mark = self.thinking.end_mark if self.thinking else None

    @property
    def is_done(self) -> bool:
        """Return whether no more tokens are to be generated, because the text has ended or a limit is reached."""
        thinks_on = bool(self.thinking and self._end_mark and len(self._thinking_ids) >= self.thinking.limit)
        return self.finished or thinks_on or self._is_full

    @property
    def _is_full(self) -> bool:
        return len(self.ids) >= self.limit or len(self.ids) + len(self._thinking_ids) >= self.room

    def take(self, token: int, may_end: bool, finite: bool) -> None:
        """Add one more token, unless the row is done."""
        if self.is_done:
            return
        self.finite &= finite
        if token in self.ends.stop_ids:
            self.finished = True
        elif self._end_mark:
            self._think([token])
        else:
            self.ids.append(token)
            self._may_have_ended |= may_end
            if self._end_mark is None or not self._may_open():
                # after "in 1995." only the next token shows whether the sentence has ended; at the limit the text is
                # checked once more, because a text that could have become a name may not have done so
                check = may_end or self._is_uncertain or (self._is_full and self._may_have_ended)
                self.finished = check and self.ends.ended(self.text(self.ends.text(self.ids)))
                self._is_uncertain = may_end

    def generation(self, text: str) -> Generation:
        """Return the generated text as a value; `text` is the decoded `ids`."""
        thinking = without_marks(self.ends.text(self._thinking_ids, marks=True)) if self._thinking_ids else ""
        return Generation(self.ids, self.text(text), self.finished, self.finite, thinking)

    def text(self, text: str) -> str:
        """Return a text of the answer, without the blanks after a thinking part."""
        return (self._answer_start + text).lstrip() if self._thinking_ids else text

    def _may_open(self) -> bool:
        """Return whether the text is, or may yet become, a thinking part, in which no sentence can have ended."""
        self._end_mark = find_end_mark(self.ends.text(self.ids, marks=True))
        if self._end_mark:
            ids, self.ids = self.ids, []
            self._think(ids)
            return True
        return self._end_mark is not None

    def _think(self, ids: Sequence[int]) -> None:
        self._thinking_ids += ids
        end_mark = self._end_mark or ""
        # each token is at least one character of the mark, or one byte
        tail = self.ends.text(self._thinking_ids[-len(end_mark.encode()) - 1 :], marks=True)
        if end_mark in tail:
            self._answer_start, self._end_mark, self._is_uncertain = tail.split(end_mark, 1)[1], None, True
