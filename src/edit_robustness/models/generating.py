"""One text while it is generated: its tokens, whether it has ended, and what was thought before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edit_robustness.models.thinking import Thinking, opened, without_marks


@dataclass(frozen=True)
class Generation:
    """A greedy continuation: its token ids, its text, whether it stopped by itself, and whether its logits were finite.

    A model whose logits are not numbers still "says" something: the first token there is. `thinking` is what the model
    thought before; it is in neither `ids` nor `text`.
    """

    ids: list[int]
    text: str
    finished: bool
    finite: bool = True
    thinking: str = ""


@dataclass(frozen=True)
class Ends:
    """How texts end: by tokens of their own, or by a rule about the text."""

    tokenizer: Any
    ended: Callable[[str], bool]
    stop_ids: frozenset[int]

    def text(self, ids: Sequence[int], *, marks: bool = False) -> str:
        """Return the text of tokens; `marks`: special tokens too, since a thinking part may be marked by them."""
        return self.tokenizer.decode(ids, skip_special_tokens=not marks)


@dataclass
class Row:
    """A text that is being written.

    Attributes:
        ends: When it ends.
        limit: Most tokens of the text.
        room: Most tokens in all; the model's context holds no more.
        thinking: How the model may think before; None if that is not looked for.
    """

    ends: Ends
    limit: int
    room: int
    thinking: Thinking | None = None
    ids: list[int] = field(default_factory=list)
    finished: bool = False
    finite: bool = True
    _unsure: bool = False
    _marked: bool = False
    _thought: list[int] = field(default_factory=list)
    _rest: str = ""
    _closing: str | None = field(init=False)
    """What ends the thinking part; empty while one may yet be opened, None once the answer has begun."""

    def __post_init__(self) -> None:
        self._closing = self.thinking.closing if self.thinking else None

    @property
    def done(self) -> bool:
        """Whether no more tokens are to be generated, because the text has ended or a limit is reached."""
        thinks_on = bool(self.thinking and self._closing and len(self._thought) >= self.thinking.limit)
        return self.finished or thinks_on or self._full

    @property
    def _full(self) -> bool:
        return len(self.ids) >= self.limit or len(self.ids) + len(self._thought) >= self.room

    def take(self, token: int, may_end: bool, finite: bool) -> None:
        """Add one more token, unless the row is done."""
        if self.done:
            return
        self.finite &= finite
        if token in self.ends.stop_ids:
            self.finished = True
        elif self._closing:
            self._think([token])
        else:
            self.ids.append(token)
            self._marked |= may_end
            if self._closing is None or not self._may_open():
                # after "in 1995." only the next token tells whether the sentence has ended; at the limit the text is
                # looked at once more, for a name that seemed under way may have come to nothing
                looks = may_end or self._unsure or (self._full and self._marked)
                self.finished = looks and self.ends.ended(self.text(self.ends.text(self.ids)))
                self._unsure = may_end

    def generation(self, text: str) -> Generation:
        """Return what was generated; `text` is that of `ids`."""
        thinking = without_marks(self.ends.text(self._thought, marks=True)) if self._thought else ""
        return Generation(self.ids, self.text(text), self.finished, self.finite, thinking)

    def text(self, text: str) -> str:
        """Return a text of the answer, without the blanks that a thinking part leaves before it."""
        return (self._rest + text).lstrip() if self._thought else text

    def _may_open(self) -> bool:
        """Whether the text is, or may yet become, a thinking part; then no sentence can have ended."""
        self._closing = opened(self.ends.text(self.ids, marks=True))
        if self._closing:
            ids, self.ids = self.ids, []
            self._think(ids)
            return True
        return self._closing is not None

    def _think(self, ids: Sequence[int]) -> None:
        self._thought += ids
        closing = self._closing or ""
        # each token is at least one character of the mark, or one byte
        tail = self.ends.text(self._thought[-len(closing.encode()) - 1 :], marks=True)
        if closing in tail:
            self._rest, self._closing, self._unsure = tail.split(closing, 1)[1], None, True
