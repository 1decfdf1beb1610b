"""Probes times edits to answers, under both protocols from one prefill a prompt.

Many edits are asked in one batch, each acting on its own rows; what the prompts of one edit share (demonstrations,
a chat template's opening) is run once. An edit that cannot act on rows is asked by itself. Prompts about what should
stay are run once more without any edit, for how far the edit moved what comes next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from math import isnan
from typing import TypeVar

import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass as validated
from torch import Tensor

from edit_robustness.editing.edits import Appliable, Frame, NotRowwise, all_applied
from edit_robustness.models.decode import (
    Prefilled,
    Scored,
    bytes_held,
    extended,
    greedy,
    joined,
    memory_at_hand,
    prefill,
    score,
    sentence_ending_tokens,
    shared_prefix,
)
from edit_robustness.models.distributions import divergence, margins
from edit_robustness.models.generating import Generation
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Owners
from edit_robustness.models.sentences import ends_sentence
from edit_robustness.models.thinking import LIMIT, Thinking, closed, left_open, may_think
from edit_robustness.models.tokens import Rendered, prompt_ids, render_conversation, target_ids
from edit_robustness.prompts.names import answer_names
from edit_robustness.records import Answer, Probe, Turn
from edit_robustness.setting_types import STRICT

Asked = tuple[Appliable, Sequence[Probe]]
"""An edit, or all edits of a sequence so far, and what to ask under it."""

_LEAST_SHARED = 12
"""Prompts that share fewer leading tokens are run whole."""

_NO_EDIT = Frame()
"""Leaves the model and the prompt as they are."""

_NEAR = 2
"""Prompts whose lengths differ by no more, or by a tenth, are run in one batch."""

_COPIES = 4
"""How often a batch's keys and values are there at once: as they were run, joined, before each target, written to."""

T = TypeVar("T")


@validated(frozen=True, config=STRICT)
class Decoding:
    """How answers are made.

    Attributes:
        max_new_tokens: Most tokens of an answer: a safety net, since answers run to the end of their sentence. One that
            it cuts before an object is named is an outcome of its own.
        max_thinking_tokens: Most tokens of what a model thinks before an answer, where thinking cannot be switched off.
        batch_rows: About how many prompts are run at once; fewer where they are long, by the memory at hand.
    """

    max_new_tokens: PositiveInt = 64
    max_thinking_tokens: PositiveInt = LIMIT
    batch_rows: PositiveInt = 128

    def described(self, lm: LanguageModel) -> str:
        """All that an answer's words depend on beside model, edit and prompt: ``greedy, 16 new tokens, float32``."""
        thinking = f"{self.max_thinking_tokens} thinking tokens, " if may_think(lm.tokenizer.chat_template) else ""
        return f"greedy, {self.max_new_tokens} new tokens, {thinking}{str(lm.model.dtype).removeprefix('torch.')}"

    def most_tokens(self, lm: LanguageModel) -> int:
        """Return how many tokens may follow a prompt at most."""
        return self.max_new_tokens + (self.max_thinking_tokens if may_think(lm.tokenizer.chat_template) else 0)


@dataclass(frozen=True)
class _Row:
    """A probe under an edit, rendered; `unedited` are the ids of the prompt without the edit's words.

    Where the prompt leaves a thinking part open, `prompt` and `ids` have an empty one, behind which the objects are
    scored; `thinking` are the ids of the prompt as it is, from which the model thinks and answers.
    """

    edit: int
    probe: Probe
    prompt: Rendered
    ids: list[int]
    unedited: tuple[int, ...]
    thinking: tuple[int, ...] = ()
    closing: str = ""


@dataclass(frozen=True)
class _Change:
    """How an edit changed the distribution of the next token."""

    kl: float | None
    top_unchanged: bool | None


_UNCHANGED, _NOT_MEASURED = _Change(0.0, True), _Change(None, None)


@dataclass(frozen=True)
class _Group:
    """Rows of one edit whose prompts begin with the same `shared` tokens."""

    rows: list[_Row]
    shared: int


@dataclass(frozen=True)
class _Tail:
    """A row after what it shares: the number of its head among the heads, and how many tokens that has."""

    row: _Row
    head: int | None
    skipped: int

    @property
    def length(self) -> int:
        return len(self.row.ids) - self.skipped


def ask(
    lm: LanguageModel, asked: Sequence[Asked], decoding: Decoding, *, together: bool = True
) -> Iterator[list[Answer]]:
    """The answers under each edit, in order, as soon as they are there.

    Args:
        lm: The unedited model.
        asked: Edits and their probes.
        decoding: How.
        together: Ask many edits in one batch; otherwise one edit at a time with its weights copied in.
    """
    may_end = sentence_ending_tokens(lm)
    for chunk in _chunks(asked, decoding.batch_rows if together else 0):
        try:
            yield from _Session(lm, chunk, decoding, may_end, rowwise=together).answers()
        except NotRowwise:
            for one in chunk:
                yield from _Session(lm, [one], decoding, may_end, rowwise=False).answers()


def _chunks(asked: Sequence[Asked], rows: int) -> Iterator[list[Asked]]:
    """As many edits at a time as have about that many probes, at least one."""
    chunk: list[Asked] = []
    for one in asked:
        if chunk and sum(len(probes) for _, probes in [*chunk, one]) > rows:
            yield chunk
            chunk = []
        chunk.append(one)
    if chunk:
        yield chunk


class _Session:
    """Some edits, asked together (or one, with its weights copied in)."""

    def __init__(self, lm: LanguageModel, asked: list[Asked], decoding: Decoding, may_end: Tensor, *, rowwise: bool):
        self._lm, self._asked, self._decoding, self._may_end = lm, asked, decoding, may_end
        self._rowwise = rowwise

    def answers(self) -> list[list[Answer]]:
        """First the probes that stand alone, then those that follow an answer."""
        found: dict[tuple[int, str], Answer] = {}
        held = bytes_held(self._lm)
        pairs = [(number, probe) for number, (_, probes) in enumerate(self._asked) for probe in probes]
        for follow in (False, True):
            rows = [self._row(n, probe, found) for n, probe in pairs if (probe.follows is not None) == follow]
            size, tokens = self._decoding.batch_rows, memory_at_hand(self._lm) // (_COPIES * held)
            for some in _split(rows, size, tokens, new=self._decoding.most_tokens(self._lm) // _COPIES):
                found |= self._run(some)
        return [[found[number, probe.id] for probe in probes] for number, (_, probes) in enumerate(self._asked)]

    def _row(self, number: int, probe: Probe, found: Mapping[tuple[int, str], Answer]) -> _Row:
        before = ""
        if probe.follows is not None:
            if (number, probe.follows) not in found:
                raise ValueError(f"probe {probe.id} follows {probe.follows}, which is not asked; ask both or neither")
            before = found[number, probe.follows].text.strip()
        lm, prefix = self._lm, self._asked[number][0].prefix
        prompt = render_probe(lm, probe, prefix, before)
        answering = _without_thinking(probe, prompt)
        ids = prompt_ids(lm, answering)
        plain = prompt_ids(lm, _without_thinking(probe, render_probe(lm, probe, "", before))) if prefix else ids
        if answering == prompt:
            return _Row(number, probe, prompt, ids, tuple(plain))
        thinking = tuple(prompt_ids(lm, prompt))
        return _Row(number, probe, answering, ids, tuple(plain), thinking, left_open(prompt.text))

    def _run(self, rows: Sequence[_Row]) -> dict[tuple[int, str], Answer]:
        """Rows prefilled in batches of like length, then scored and decoded as one batch."""
        longest = max((len(row.ids) for row in rows), default=0)
        groups = _groups(rows, shared=self._lm.reaches(longest + self._decoding.most_tokens(self._lm)))
        sharing = [group for group in groups if group.shared]
        tails = [_Tail(row, number, group.shared) for number, group in enumerate(sharing) for row in group.rows]
        whole = [_Tail(row, None, 0) for group in groups if not group.shared for row in group.rows]
        batches = [*_alike(whole, lambda tail: tail.length), *_alike(tails, lambda tail: tail.length)]
        rows = [tail.row for batch in batches for tail in batch]
        owners = Owners([row.edit for row in rows])
        with self._edited(owners):
            heads = self._heads(sharing, owners)
            start = joined([self._prefilled(batch, heads, owners) for batch in batches])
            owners.become([row.edit for row in rows])
            scores = score(self._lm, start, [self._targets(row) for row in rows], owners)
            said = self._said(rows, start, owners)
        leads, moved = margins(start.logits).tolist(), self._moved(rows, start.logits)
        return {
            (row.edit, row.probe.id): _answer(row.probe, text, *pair, margin=lead, change=change)
            for row, text, pair, lead, change in zip(rows, said, scores, leads, moved, strict=True)
        }

    def _said(self, rows: Sequence[_Row], start: Prefilled, owners: Owners) -> list[Generation]:
        """The free generation of each row, from its prompt as it is."""
        if any(row.thinking for row in rows):
            start = prefill(self._lm, [row.thinking or row.ids for row in rows])
        limit = self._decoding.max_thinking_tokens
        return greedy(
            self._lm,
            start,
            limit=self._decoding.max_new_tokens,
            end_rule=[partial(ends_sentence, names=answer_names(row.probe)) for row in rows],
            may_end=self._may_end,
            owners=owners,
            thinking=[Thinking(limit, row.closing) if row.probe.conversation else None for row in rows],
        )

    def _unedited(self, rows: Sequence[_Row]) -> dict[tuple[int, ...], Tensor]:
        """Return the (vocabulary,) logits of the unedited model after each locality prompt, each prompt run once."""
        prompts = dict.fromkeys(row.unedited for row in rows if self._compared(row))
        return {
            ids: logits
            for batch in _alike(list(prompts), len)
            for ids, logits in zip(batch, prefill(self._lm, batch).logits, strict=True)
        }

    def _compared(self, row: _Row) -> bool:
        return row.probe.family == "locality" and self._asked[row.edit][0] != _NO_EDIT

    def _moved(self, rows: Sequence[_Row], logits: Tensor) -> list[_Change]:
        """Return how the edit changed the next token after each locality prompt; no edit changes nothing."""
        moved = [_UNCHANGED if row.probe.family == "locality" else _NOT_MEASURED for row in rows]
        places = [place for place, row in enumerate(rows) if self._compared(row)]
        if places:
            unedited = self._unedited(rows)
            before = torch.stack([unedited[rows[place].unedited] for place in places])
            kls = divergence(before, logits[places]).tolist()
            same = (before.argmax(-1) == logits[places].argmax(-1)).tolist()
            for place, kl, top in zip(places, kls, same, strict=True):
                # the most probable of numbers that are none is no token
                moved[place] = _Change(kl, None if isnan(kl) else top)
        return moved

    def _edited(self, owners: Owners) -> AbstractContextManager[LanguageModel]:
        edits = [edit for edit, _ in self._asked]
        if not self._rowwise:
            return edits[0].applied(self._lm)
        return all_applied(self._lm, edits, [owners.rows(number) for number in range(len(edits))])

    def _targets(self, row: _Row) -> list[list[int]]:
        """Ids of the new object and of the true one, none where there is no true one to name."""
        new = target_ids(self._lm, row.prompt, row.probe.target_new)
        return [new, target_ids(self._lm, row.prompt, row.probe.target_true) if row.probe.target_true else []]

    def _heads(self, groups: Sequence[_Group], owners: Owners) -> Prefilled | None:
        """What each group shares, run once a group."""
        if not groups:
            return None
        owners.become([group.rows[0].edit for group in groups])
        return prefill(self._lm, [group.rows[0].ids[: group.shared] for group in groups])

    def _prefilled(self, tails: Sequence[_Tail], heads: Prefilled | None, owners: Owners) -> Prefilled:
        owners.become([tail.row.edit for tail in tails])
        rows = [tail.row.ids[tail.skipped :] for tail in tails]
        if heads is None or tails[0].head is None:
            return prefill(self._lm, rows)
        parents = torch.tensor([tail.head for tail in tails], device=heads.mask.device)
        return extended(self._lm, rows, heads, parents=parents)[0]


def _split(rows: Sequence[_Row], size: int, tokens: int, new: int = 0) -> Iterator[list[_Row]]:
    """About `size` rows at a time, of so many tokens once padded; what one edit is asked stays in order.

    Args:
        rows: The rows.
        size: Most rows.
        tokens: Most tokens in memory.
        new: Tokens per row that come after the prompt, in memory once where the prompt is there `_COPIES` times.
    """
    some: list[_Row] = []
    longest = 0
    for row in rows:
        longest = max(longest, len(row.ids))
        if some and (len(some) == size or (len(some) + 1) * (longest + new) > tokens):
            yield some
            some, longest = [], len(row.ids)
        some.append(row)
    if some:
        yield some


def _groups(rows: Sequence[_Row], *, shared: bool) -> list[_Group]:
    """Rows of one edit that begin alike, as groups; others alone, and so all of them where nothing is to be shared."""
    alike: dict[tuple[int, bool], list[_Row]] = {}
    for row in rows:
        alike.setdefault((row.edit, row.probe.conversation), []).append(row)
    groups = []
    for own in alike.values():
        same = shared_prefix([row.ids for row in own], minimum=_LEAST_SHARED) if shared else 0
        groups += [_Group(own, same)] if same else [_Group([row], 0) for row in own]
    return groups


def _alike(items: Sequence[T], length: Callable[[T], int]) -> list[list[T]]:
    """Batches of like length: padding costs as much as words do."""
    batches: list[list[T]] = []
    for item in sorted(items, key=length):
        if batches and length(item) <= _NEAR + 1.1 * length(batches[-1][0]):
            batches[-1].append(item)
        else:
            batches.append([item])
    return batches


def render_probe(lm: LanguageModel, probe: Probe, prefix: str, first_answer: str) -> Rendered:
    """A probe as the model gets it, an edit's words before it; in a conversation they open the first user's turn.

    Args:
        lm: The model.
        probe: What is asked.
        prefix: The edit's words before every prompt; empty for an edit of weights.
        first_answer: What the assistant said before, for a probe that follows another.
    """
    if not probe.conversation:
        return Rendered(prefix + probe.text, join=probe.join)
    said = [Turn("assistant", first_answer)] if probe.follows is not None else []
    turns = [*probe.history, *said, Turn("user", probe.text)]
    return render_conversation(lm, [Turn(turns[0].role, prefix + turns[0].text), *turns[1:]])


def _without_thinking(probe: Probe, prompt: Rendered) -> Rendered:
    """The prompt with an empty thinking part, where a chat template leaves one open."""
    return Rendered(closed(prompt.text), prompt.special) if probe.conversation else prompt


def _answer(
    probe: Probe, said: Generation, new: Scored, true: Scored, *, margin: float | None, change: _Change
) -> Answer:
    return Answer(
        probe=probe,
        text=said.text,
        finished=said.finished,
        tokens=len(said.ids),
        logprob_new=new.logprob,
        logprob_true=true.logprob,
        tokens_new=new.tokens,
        tokens_true=true.tokens,
        match_new=new.match,
        match_true=true.match,
        margin=margin,
        kl=change.kl,
        top_unchanged=change.top_unchanged,
        thinking=said.thinking,
    )
