"""Compute the answers to probes under edits, scored and generated from one prefill per prompt.

Many edits run in one batch, each applied to its own rows. A prefix that the prompts of one edit share (demonstrations,
the opening of a chat template) is run once. An edit that cannot be applied to single rows runs alone. Locality prompts
are also run without the edit, to measure how much the edit changed the distribution of the next token.
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

from edit_robustness.asking.queries import probe_query
from edit_robustness.editing.edits import NO_EDIT, Appliable, NotRowwise, all_applied
from edit_robustness.models.batching import batched_by_length
from edit_robustness.models.decode import (
    Prefill,
    TargetScore,
    bytes_per_token,
    extend,
    greedy,
    join_batches,
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
from edit_robustness.models.thinking import LIMIT, Thinking, close_thinking, left_open, may_think
from edit_robustness.models.tokens import RenderedPrompt, prompt_ids, render_conversation, target_ids
from edit_robustness.prompts.names import answer_names
from edit_robustness.records import Answer, Probe, Turn
from edit_robustness.setting_types import STRICT

EditProbes = tuple[Appliable, Sequence[Probe]]
"""An edit, or all edits of a sequence so far, and the probes to ask under it."""

_MIN_SHARED = 12
"""Minimum number of leading tokens for a shared prefix. Prompts that share fewer are run separately."""

_NEAR = 2
"""Prompts whose lengths differ by at most this many tokens, or by a tenth, are run in one batch."""

_COPIES = 4
"""Copies of a batch's keys and values in memory at once: from the prefill, joined, before each target, for writing."""

T = TypeVar("T")


@validated(frozen=True, config=STRICT)
class Decoding:
    """Settings for generating answers.

    Attributes:
        max_new_tokens: Maximum tokens per answer. Answers usually stop at the end of their sentence. An answer that is
            cut before it names an object is a separate outcome.
        max_thinking_tokens: Maximum thinking tokens before an answer, if thinking cannot be switched off.
        batch_rows: Approximate number of prompts per batch; fewer if long prompts need more memory than is free.
    """

    max_new_tokens: PositiveInt = 64
    max_thinking_tokens: PositiveInt = LIMIT
    batch_rows: PositiveInt = 192

    def describe(self, lm: LanguageModel) -> str:
        """Describe all that determines an answer besides model, edit and prompt: ``greedy, 16 new tokens, float32``."""
        thinking_text = f"{self.max_thinking_tokens} thinking tokens, " if may_think(lm.tokenizer.chat_template) else ""
        return f"greedy, {self.max_new_tokens} new tokens, {thinking_text}{str(lm.model.dtype).removeprefix('torch.')}"

    def most_tokens(self, lm: LanguageModel) -> int:
        """Return the maximum number of tokens after a prompt."""
        return self.max_new_tokens + (self.max_thinking_tokens if may_think(lm.tokenizer.chat_template) else 0)


@dataclass(frozen=True)
class _Row:
    """A rendered probe under an edit, with the edit's text before it; `unedited` has the ids of the prompt without it.

    If the prompt ends with an open thinking part, `prompt` and `ids` contain an empty one, after which the objects are
    scored. `thinking` then contains the ids of the original prompt, from which the model thinks and answers.
    """

    edit: int
    probe: Probe
    before: str
    prompt: RenderedPrompt
    ids: list[int]
    unedited: tuple[int, ...]
    thinking: tuple[int, ...] = ()
    end_mark: str = ""


@dataclass(frozen=True)
class _Change:
    """The change of the next token's distribution: KL divergence in nats, and whether the top token is unchanged."""

    kl: float | None
    top_unchanged: bool | None


_UNCHANGED, _NOT_MEASURED = _Change(0.0, True), _Change(None, None)


@dataclass(frozen=True)
class _Group:
    """Rows of one edit whose prompts share their first `shared` tokens."""

    rows: list[_Row]
    shared: int


@dataclass(frozen=True)
class _Tail:
    """A row after its shared prefix: the number of that prefix among the heads, and its length in tokens."""

    row: _Row
    head: int | None
    skipped: int

    @property
    def length(self) -> int:
        return len(self.row.ids) - self.skipped


def ask(
    lm: LanguageModel, edit_probes: Sequence[EditProbes], decoding: Decoding, *, together: bool = True
) -> Iterator[list[Answer]]:
    """Yield the answers under each edit, in order, as soon as they are computed.

    Args:
        lm: The unedited model.
        edit_probes: Edits and their probes.
        decoding: Settings for generating answers.
        together: Whether many edits run in one batch. Otherwise the weights of one edit at a time are copied in.
    """
    may_end = sentence_ending_tokens(lm)
    sizes = [len(probes) for _, probes in edit_probes]
    for places in cut_batches(sizes, decoding.batch_rows if together else 0):
        chunk = [edit_probes[place] for place in places]
        try:
            yield from _Session(lm, chunk, decoding, may_end, rowwise=together).answers()
        except NotRowwise:
            for pair in chunk:
                yield from _Session(lm, [pair], decoding, may_end, rowwise=False).answers()


def cut_batches(sizes: Sequence[int], rows: int) -> list[list[int]]:
    """Return the edits that are asked in one batch, by their places: at most `rows` probes in total, or one edit.

    Args:
        sizes: The number of probes of each edit.
        rows: The maximum number of probes.
    """
    batches: list[list[int]] = []
    total = 0
    for place, size in enumerate(sizes):
        if not batches or total + size > rows:
            batches.append([])
            total = 0
        batches[-1].append(place)
        total += size
    return batches


class _Session:
    """A run of some edits in one batch, or of one edit with its weights copied in."""

    def __init__(
        self, lm: LanguageModel, edit_probes: list[EditProbes], decoding: Decoding, may_end: Tensor, *, rowwise: bool
    ):
        self._lm, self._edit_probes, self._decoding, self._may_end = lm, edit_probes, decoding, may_end
        self._rowwise = rowwise

    def answers(self) -> list[list[Answer]]:
        """Return the answers per edit; probes that follow an answer are asked in a second pass."""
        answers_by_probe: dict[tuple[int, str], Answer] = {}
        token_bytes = bytes_per_token(self._lm)
        pairs = [(number, probe) for number, (_, probes) in enumerate(self._edit_probes) for probe in probes]
        for is_follow_up in (False, True):
            rows = [
                self._row(edit_number, probe, answers_by_probe)
                for edit_number, probe in pairs
                if (probe.follows is not None) == is_follow_up
            ]
            size, tokens = self._decoding.batch_rows, memory_at_hand(self._lm) // (_COPIES * token_bytes)
            for batch in _split(rows, size, tokens, n_new=self._decoding.most_tokens(self._lm) // _COPIES):
                answers_by_probe |= self._run(batch)
        return [
            [answers_by_probe[number, probe.id] for probe in probes]
            for number, (_, probes) in enumerate(self._edit_probes)
        ]

    def _row(self, number: int, probe: Probe, answers: Mapping[tuple[int, str], Answer]) -> _Row:
        first_answer = ""
        if probe.follows is not None:
            if (number, probe.follows) not in answers:
                raise ValueError(
                    f"probe {probe.id} follows {probe.follows}, which is not among the probes; include both or neither"
                )
            first_answer = answers[number, probe.follows].text.strip()
        lm, before = self._lm, self._edit_probes[number][0].text_before(probe_query(probe))
        prompt = render_probe(lm, probe, before, first_answer)
        scored_prompt = _close_thinking(probe, prompt)
        ids = prompt_ids(lm, scored_prompt)
        unedited_ids = (
            prompt_ids(lm, _close_thinking(probe, render_probe(lm, probe, "", first_answer))) if before else ids
        )
        if scored_prompt == prompt:
            return _Row(number, probe, before, prompt, ids, tuple(unedited_ids))
        thinking_ids = tuple(prompt_ids(lm, prompt))
        end_mark = left_open(prompt.text)
        return _Row(number, probe, before, scored_prompt, ids, tuple(unedited_ids), thinking_ids, end_mark)

    def _run(self, rows: Sequence[_Row]) -> dict[tuple[int, str], Answer]:
        """Prefill the rows in batches of similar length, then score and decode them as one batch."""
        longest = max((len(row.ids) for row in rows), default=0)
        groups = _groups(rows, share_prefixes=self._lm.reaches(longest + self._decoding.most_tokens(self._lm)))
        sharing_groups = [group for group in groups if group.shared]
        tails = [_Tail(row, number, group.shared) for number, group in enumerate(sharing_groups) for row in group.rows]
        unshared_tails = [_Tail(row, None, 0) for group in groups if not group.shared for row in group.rows]
        batches = [
            *_length_batches(unshared_tails, lambda tail: tail.length),
            *_length_batches(tails, lambda tail: tail.length),
        ]
        rows = [tail.row for batch in batches for tail in batch]
        owners = Owners([row.edit for row in rows])
        with self._apply_edits(owners):
            heads = self._heads(sharing_groups, owners)
            start = join_batches([self._prefill(batch, heads, owners) for batch in batches])
            owners.replace([row.edit for row in rows])
            scores = score(self._lm, start, [self._targets(row) for row in rows], owners)
            generations = self._generate(rows, start, owners)
        token_margins, changes = margins(start.logits).tolist(), self._changes(rows, start.logits)
        return {
            (row.edit, row.probe.id): _answer(row.probe, generation, *targets, margin=token_margin, change=change)
            for row, generation, targets, token_margin, change in zip(
                rows, generations, scores, token_margins, changes, strict=True
            )
        }

    def _generate(self, rows: Sequence[_Row], start: Prefill, owners: Owners) -> list[Generation]:
        """Generate the answer of each row from its original prompt."""
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
            thinking=[Thinking(limit, row.end_mark) if row.probe.conversation else None for row in rows],
        )

    def _unedited_logits(self, rows: Sequence[_Row]) -> dict[tuple[int, ...], Tensor]:
        """Return the unedited model's (vocabulary,) logits after each specificity prompt; each prompt is run once."""
        prompts = dict.fromkeys(row.unedited for row in rows if self._needs_comparison(row))
        return {
            ids: logits
            for batch in _length_batches(list(prompts), len)
            for ids, logits in zip(batch, prefill(self._lm, batch).logits, strict=True)
        }

    def _needs_comparison(self, row: _Row) -> bool:
        return row.probe.family == "specificity" and self._edit_probes[row.edit][0] != NO_EDIT

    def _changes(self, rows: Sequence[_Row], logits: Tensor) -> list[_Change]:
        """Return the change of the next token's distribution after each specificity prompt; zero without an edit."""
        changes = [_UNCHANGED if row.probe.family == "specificity" else _NOT_MEASURED for row in rows]
        places = [place for place, row in enumerate(rows) if self._needs_comparison(row)]
        if places:
            unedited_logits = self._unedited_logits(rows)
            reference_logits = torch.stack([unedited_logits[rows[place].unedited] for place in places])
            divergences = divergence(reference_logits, logits[places]).tolist()
            top_matches = (reference_logits.argmax(-1) == logits[places].argmax(-1)).tolist()
            for place, kl, top in zip(places, divergences, top_matches, strict=True):
                # the argmax of NaN is meaningless
                changes[place] = _Change(kl, None if isnan(kl) else top)
        return changes

    def _apply_edits(self, owners: Owners) -> AbstractContextManager[LanguageModel]:
        edits = [edit for edit, _ in self._edit_probes]
        if not self._rowwise:
            return edits[0].applied(self._lm)
        return all_applied(self._lm, edits, [owners.rows(number) for number in range(len(edits))])

    def _targets(self, row: _Row) -> list[list[int]]:
        """Return the token ids of the new object and of the true object; no ids if the true object is not known."""
        new = target_ids(self._lm, row.prompt, row.probe.target_new)
        return [new, target_ids(self._lm, row.prompt, row.probe.target_true) if row.probe.target_true else []]

    def _heads(self, groups: Sequence[_Group], owners: Owners) -> Prefill | None:
        """Run the shared prefix of each group once."""
        if not groups:
            return None
        owners.replace([group.rows[0].edit for group in groups])
        return prefill(self._lm, [group.rows[0].ids[: group.shared] for group in groups])

    def _prefill(self, tails: Sequence[_Tail], heads: Prefill | None, owners: Owners) -> Prefill:
        owners.replace([tail.row.edit for tail in tails])
        rows = [tail.row.ids[tail.skipped :] for tail in tails]
        if heads is None or tails[0].head is None:
            return prefill(self._lm, rows)
        parents = torch.tensor([tail.head for tail in tails], device=heads.mask.device)
        return extend(self._lm, rows, heads, parents=parents)[0]


def _split(rows: Sequence[_Row], size: int, tokens: int, n_new: int = 0) -> Iterator[list[_Row]]:
    """Yield batches of at most `size` rows and `tokens` tokens with padding, in order.

    Args:
        rows: The rows.
        size: Maximum rows per batch.
        tokens: Maximum tokens in memory per batch.
        n_new: Tokens per row after the prompt. They are in memory once, while the prompt is there `_COPIES` times.
    """
    batch: list[_Row] = []
    longest = 0
    for row in rows:
        longest = max(longest, len(row.ids))
        if batch and (len(batch) == size or (len(batch) + 1) * (longest + n_new) > tokens):
            yield batch
            batch, longest = [], len(row.ids)
        batch.append(row)
    if batch:
        yield batch


def _groups(rows: Sequence[_Row], *, share_prefixes: bool) -> list[_Group]:
    """Group the rows of one edit with the same text and a common prefix; all other rows form groups of one row."""
    by_edit: dict[tuple[int, bool, str], list[_Row]] = {}
    for row in rows:
        by_edit.setdefault((row.edit, row.probe.conversation, row.before), []).append(row)
    groups = []
    for edit_rows in by_edit.values():
        n_shared = shared_prefix([row.ids for row in edit_rows], minimum=_MIN_SHARED) if share_prefixes else 0
        groups += [_Group(edit_rows, n_shared)] if n_shared else [_Group([row], 0) for row in edit_rows]
    return groups


def _length_batches(items: Sequence[T], length: Callable[[T], int]) -> list[list[T]]:
    """Return batches of similar length, because padding costs as much as other tokens."""
    return batched_by_length(items, length, lambda batch, item: length(item) <= _NEAR + 1.1 * length(batch[0]))


def render_probe(lm: LanguageModel, probe: Probe, before: str, first_answer: str) -> RenderedPrompt:
    """Render a probe with the edit's text before it; in a conversation the text opens the first user turn.

    Args:
        lm: The model.
        probe: The probe.
        before: The text of an in-context edit (`Edit.text_before`); empty for an edit of weights.
        first_answer: The assistant's answer to the probe that this one follows.
    """
    if not probe.conversation:
        return RenderedPrompt(before + probe.text, join=probe.join)
    answer_turns = [Turn("assistant", first_answer)] if probe.follows is not None else []
    turns = [*probe.previous_turns, *answer_turns, Turn("user", probe.text)]
    return render_conversation(lm, [Turn(turns[0].role, before + turns[0].text), *turns[1:]])


def _close_thinking(probe: Probe, prompt: RenderedPrompt) -> RenderedPrompt:
    """Return the prompt with an empty thinking part if the chat template leaves one open."""
    return RenderedPrompt(close_thinking(prompt.text), prompt.special) if probe.conversation else prompt


def _answer(
    probe: Probe, generation: Generation, new: TargetScore, true: TargetScore, *, margin: float | None, change: _Change
) -> Answer:
    return Answer(
        probe=probe,
        text=generation.text,
        finished=generation.finished,
        tokens=len(generation.ids),
        logprob_new=new.logprob,
        logprob_true=true.logprob,
        tokens_new=new.tokens,
        tokens_true=true.tokens,
        match_new=new.match,
        match_true=true.match,
        margin=margin,
        kl=change.kl,
        top_unchanged=change.top_unchanged,
        thinking=generation.thinking,
    )
