"""Probes times edits to answers, under both protocols from one prefill a prompt.

Many edits are asked in one batch, each acting on its own rows; what the prompts of one edit share (demonstrations,
a chat template's opening) is run once. An edit that cannot act on rows is asked by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass as validated
from torch import Tensor

from edit_robustness.editing.edits import Edit, NotRowwise, all_applied
from edit_robustness.models.decode import (
    Generation,
    Prefilled,
    Scored,
    greedy,
    prefill,
    score,
    selected,
    sentence_ending_tokens,
    shared_prefix,
)
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Owners
from edit_robustness.models.sentences import ends_sentence
from edit_robustness.models.tokens import Rendered, prompt_ids, render_conversation, target_ids
from edit_robustness.records import Answer, Probe, Turn

Asked = tuple[Edit, Sequence[Probe]]
"""An edit, and what to ask under it."""

_LEAST_SHARED = 12
"""Prompts that share fewer leading tokens are run whole."""


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Decoding:
    """How answers are made.

    Attributes:
        max_new_tokens: Most tokens of a free generation; most sentences end long before.
        batch_rows: About how many prompts are run at once.
    """

    max_new_tokens: PositiveInt = 20
    batch_rows: PositiveInt = 128


@dataclass(frozen=True)
class _Row:
    """A probe under an edit, rendered."""

    edit: int
    probe: Probe
    prompt: Rendered
    ids: list[int]


@dataclass(frozen=True)
class _Group:
    """Rows of one edit whose prompts begin with the same `shared` tokens."""

    rows: list[_Row]
    shared: int


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
        pairs = [(number, probe) for number, (_, probes) in enumerate(self._asked) for probe in probes]
        for follow in (False, True):
            rows = [self._row(n, probe, found) for n, probe in pairs if (probe.follows is not None) == follow]
            for batch in self._batches(rows):
                for row, answer in self._run(batch):
                    found[row.edit, row.probe.id] = answer
        return [[found[number, probe.id] for probe in probes] for number, (_, probes) in enumerate(self._asked)]

    def _row(self, number: int, probe: Probe, found: Mapping[tuple[int, str], Answer]) -> _Row:
        before = ""
        if probe.follows is not None:
            if (number, probe.follows) not in found:
                raise ValueError(f"probe {probe.id} follows {probe.follows}, which is not asked; ask both or neither")
            before = found[number, probe.follows].text.strip()
        prompt = render_probe(self._lm, probe, self._asked[number][0].prefix, before)
        return _Row(number, probe, prompt, prompt_ids(self._lm, prompt))

    def _batches(self, rows: Sequence[_Row]) -> Iterator[list[_Group]]:
        """Groups of like length, about `batch_rows` rows at a time."""
        size = self._decoding.batch_rows
        alike: dict[tuple[int, bool], list[_Row]] = {}
        for row in rows:
            alike.setdefault((row.edit, row.probe.conversation), []).append(row)
        groups: list[_Group] = []
        for own in alike.values():
            length = shared_prefix([row.ids for row in own], least=_LEAST_SHARED)
            parts = [own] if length else [[row] for row in own]
            groups += [_Group(part[i : i + size], length) for part in parts for i in range(0, len(part), size)]
        groups.sort(key=lambda group: (group.shared, max(len(row.ids) for row in group.rows)))
        batch: list[_Group] = []
        for group in groups:
            count = sum(len(other.rows) for other in batch) + len(group.rows)
            if batch and (count > size or bool(batch[0].shared) != bool(group.shared)):
                yield batch
                batch = []
            batch.append(group)
        if batch:
            yield batch

    def _run(self, groups: list[_Group]) -> list[tuple[_Row, Answer]]:
        rows = [row for group in groups for row in group.rows]
        edits = [edit for edit, _ in self._asked]
        used = sorted({row.edit for row in rows})
        owners = Owners([group.rows[0].edit for group in groups])
        wearing = (
            all_applied(self._lm, [edits[n] for n in used], [owners.rows(n) for n in used])
            if self._rowwise
            else edits[0].applied(self._lm)
        )
        with wearing:
            start = self._prefilled(groups, rows, owners)
            pairs = [(row.probe.target_new, row.probe.target_true) for row in rows]
            targets = [
                [target_ids(self._lm, row.prompt, name) for name in names]
                for row, names in zip(rows, pairs, strict=True)
            ]
            scores = score(self._lm, start, targets, owners)
            said = greedy(
                self._lm,
                start,
                limit=self._decoding.max_new_tokens,
                ended=ends_sentence,
                may_end=self._may_end,
                owners=owners,
            )
        return [
            (row, _answer(row.probe, text, new, true))
            for row, text, (new, true) in zip(rows, said, scores, strict=True)
        ]

    def _prefilled(self, groups: list[_Group], rows: list[_Row], owners: Owners) -> Prefilled:
        """What each group shares is run once, then repeated for its rows."""
        index = torch.tensor([number for number, group in enumerate(groups) for _ in group.rows])
        before = None
        if groups[0].shared:
            shared = prefill(self._lm, [group.rows[0].ids[: group.shared] for group in groups])
            place = index.to(shared.mask.device)
            before = Prefilled(selected(shared.states, place), shared.mask[place], shared.logits[place])
        owners.select(index)
        skipped = [groups[int(number)].shared for number in index]
        return prefill(self._lm, [row.ids[skip:] for row, skip in zip(rows, skipped, strict=True)], before)


def render_probe(lm: LanguageModel, probe: Probe, prefix: str, first_answer: str) -> Rendered:
    """A probe as the model gets it, an edit's words before it; in a conversation they open the first user's turn.

    Args:
        lm: The model.
        probe: What is asked.
        prefix: The edit's words before every prompt; empty for an edit of weights.
        first_answer: What the assistant said before, for a probe that follows another.
    """
    if not probe.conversation:
        return Rendered(prefix + probe.text)
    said = [Turn("assistant", first_answer)] if probe.follows is not None else []
    turns = [*probe.history, *said, Turn("user", probe.text)]
    return render_conversation(lm, [Turn(turns[0].role, prefix + turns[0].text), *turns[1:]])


def _answer(probe: Probe, said: Generation, new: Scored, true: Scored) -> Answer:
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
    )
