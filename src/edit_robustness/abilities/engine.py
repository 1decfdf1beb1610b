"""Answers to the harness's requests: what requests share is run once, and the head only where something is read.

The log-likelihoods are those of the harness's own `HFLM`, to rounding. Edits are seen because they act on the model
itself, by weights or by hooks. Keys and values live no longer than a call: the next checkpoint is another model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

import torch
from torch import Tensor

from edit_robustness.abilities.requests import Generating, Prompt, Scoring, Work, planned
from edit_robustness.abilities.sharing import Node
from edit_robustness.models.decode import (
    Generation,
    Prefilled,
    bytes_held,
    extended,
    greedy,
    joined,
    memory_at_hand,
    selected,
)
from edit_robustness.models.language_model import LanguageModel

Progress = Callable[..., Iterable[int]]
"""Passes on what it is given, with the keyword `total`: `partial(track, what="mmlu")`."""

_NEAR = 4
"""Tokens of padding that are less trouble than a batch of their own, beside a tenth of the length."""


@dataclass(frozen=True)
class Generated:
    """A greedy continuation.

    Attributes:
        text: Up to the first of the texts that end it.
        tokens: How many tokens were generated for it, the one that ended it included where the model wrote it out.
        capped: Whether it was cut off by the limit of tokens.
        finite: Whether the logits that it was taken from were.
    """

    text: str
    tokens: int
    capped: bool
    finite: bool = True


Response = tuple[float, bool] | float | Generated
"""See `answered`."""


@dataclass(frozen=True)
class _Read:
    """What is looked up in a node: the token that a continuation has after one of the node's.

    Attributes:
        behind: Place of the node's token, counted from its end: 1 for the last.
        token: What follows it.
        continuation: Number of the continuation.
        final: Whether that is its last token.
    """

    behind: int
    token: int
    continuation: int
    final: bool


@dataclass(frozen=True)
class _Task:
    """A node to be run, after a row of the pass before."""

    node: Node
    parent: int = 0
    reads: list[_Read] = field(default_factory=list)

    @property
    def length(self) -> int:
        return len(self.node.ids)

    @property
    def columns(self) -> int:
        """After how many of the last tokens logits are needed."""
        return max((read.behind for read in self.reads), default=1)


@dataclass(frozen=True)
class _Visit:
    """Tasks that were run in one pass, and the logits after their last columns, (rows, columns, vocabulary)."""

    tasks: list[_Task]
    run: Prefilled
    logits: Tensor


@dataclass(frozen=True)
class _Budget:
    """How much is run at once.

    Attributes:
        tokens: Most tokens of a pass.
        memory: Most bytes of keys, values and logits of a pass.
        held: Bytes of a token's keys and values.
        read: Bytes of the logits after one token, with their logarithm and a copy.
        padded: Whether rows may be padded, between what they share and what they do not.
        ahead: How many tokens will follow each row.
    """

    tokens: int
    memory: int
    held: int
    read: int
    padded: bool
    ahead: int = 0

    @classmethod
    def of(cls, lm: LanguageModel, longest: int) -> _Budget:
        """By the memory at hand; on a CPU in passes short enough for its caches.

        Args:
            lm: The model.
            longest: Tokens of the longest request.
        """
        size, on_gpu = lm.model.dtype.itemsize, lm.device.type == "cuda"
        return cls(
            tokens=1 << 14 if on_gpu else 1 << 10,
            memory=memory_at_hand(lm),
            held=bytes_held(lm),
            read=lm.model.get_output_embeddings().weight.shape[0] * (size + 8),
            padded=lm.reaches(longest),
        )

    def batches(self, tasks: Iterable[_Task]) -> list[list[_Task]]:
        """Tasks of like length together, the longest first."""
        batches: list[list[_Task]] = []
        for task in sorted(tasks, key=lambda task: task.length, reverse=True):
            if not batches or not self._takes(batches[-1], task):
                batches.append([])
            batches[-1].append(task)
        return batches

    def _takes(self, batch: list[_Task], task: _Task) -> bool:
        longest, rows = batch[0], len(batch) + 1
        columns = max(each.columns for each in [*batch, task])
        return (
            longest.length - task.length <= (_NEAR + 0.1 * longest.length if self.padded else 0)
            and rows * longest.length <= self.tokens
            and rows * self._bytes(longest.node.end, columns) <= self.memory
        )

    def _bytes(self, length: int, columns: int) -> int:
        """Of a row: keys and values stand there twice, as they were run and where they go on."""
        return self.held * (2 * length + self.ahead) + self.read * columns

    def rows(self, length: int) -> int:
        """How many texts of a length are best generated at once."""
        return max(1, min(self.tokens // 32, self.memory // self._bytes(length, 1)))


def answered(lm: LanguageModel, work: Work, prefix: str = "", progress: Progress | None = None) -> list[Response]:
    """What the model as it now is answers.

    Args:
        lm: The model, under its edit.
        work: The requests; made anew where they are to stand after another prefix than theirs.
        prefix: Words before each whole request, as in `planned`.
        progress: Is given one item for each request that is done, and passes it on.

    Returns:
        For each request, in order: summed log-probability (natural) and whether every token was the most probable one
        for `loglikelihood`, summed log-probability for `loglikelihood_rolling`, `Generated` for `generate_until`.
        Log-probabilities are not finite where the model's are not.

    Raises:
        RequestTooLong: If a request does not fit into the model's context; nothing has been run then.
    """
    if prefix != work.prefix:
        work = planned(lm, work.instances, prefix)
    totals = [(0.0, True)] * len(work.scoring.continuations)
    said: dict[Prompt, Generated] = {}
    steps = _steps(lm, work, totals, said)
    total = len(totals) + sum(len(group.prompts) for group in work.generating)
    for _ in progress(steps, total=total) if progress else steps:
        pass
    found = dict(zip(work.scoring.continuations, totals, strict=True))
    return [
        said[asked] if isinstance(asked, Prompt) else _answer(instance.request_type, [found[one] for one in asked])
        for instance, asked in zip(work.instances, work.asked, strict=True)
    ]


def _answer(kind: str, found: list[tuple[float, bool]]) -> Response:
    return found[0] if kind == "loglikelihood" else float(sum(logprob for logprob, _ in found))


def _steps(
    lm: LanguageModel, work: Work, totals: list[tuple[float, bool]], said: dict[Prompt, Generated]
) -> Iterator[int]:
    """One item a request that is done."""
    needed = [one.needed for one in work.scoring.continuations] + [
        prompt.needed for group in work.generating for prompt in group.prompts
    ]
    budget = _Budget.of(lm, max(needed, default=0))
    yield from _score(lm, work.scoring, budget, totals)
    for group in work.generating:
        yield from _generate(lm, group, replace(budget, ahead=group.stops.limit), said)


def _score(lm: LanguageModel, scoring: Scoring, budget: _Budget, totals: list[tuple[float, bool]]) -> Iterator[int]:
    """Sum up the log-probabilities, and yield each continuation whose last token has been read."""
    for visit in _visits(lm, scoring.roots, budget, lambda node: list(_reads(scoring, node))):
        reads = [read for task in visit.tasks for read in task.reads]
        if not reads:
            continue
        for read, logprob, first in zip(reads, *_looked_up(visit), strict=True):
            so_far, match = totals[read.continuation]
            totals[read.continuation] = (so_far + logprob, match and first)
            if read.final:
                yield read.continuation


def _reads(scoring: Scoring, node: Node) -> Iterator[_Read]:
    for number in (number for sequence in node.rows for number in scoring.asked[sequence]):
        one = scoring.continuations[number]
        for place in range(max(node.start, one.needed - one.scored), min(node.end, one.needed)):
            yield _Read(node.end - place, one.ids[place + 1], number, place == one.needed - 1)


def _looked_up(visit: _Visit) -> tuple[list[float], list[bool]]:
    """For each read of a pass the log-probability of its token, and whether that is the most probable one."""
    device = visit.logits.device
    wanted = [((row, -read.behind), read.token) for row, task in enumerate(visit.tasks) for read in task.reads]
    places = {place: number for number, place in enumerate(dict.fromkeys(place for place, _ in wanted))}
    rows, columns = torch.tensor(list(places), device=device).T
    logprobs = visit.logits[rows, columns].float().log_softmax(-1)
    which = torch.tensor([places[place] for place, _ in wanted], device=device)
    tokens = torch.tensor([token for _, token in wanted], device=device)
    return logprobs[which, tokens].tolist(), (logprobs.argmax(-1)[which] == tokens).tolist()


def _generate(lm: LanguageModel, group: Generating, budget: _Budget, said: dict[Prompt, Generated]) -> Iterator[int]:
    """Continue each prompt, and yield its number."""
    for numbers, start in _gathered(_prompts(lm, group, budget), budget):
        found = greedy(
            lm,
            start,
            limit=group.stops.limit,
            end_rule=lambda text: any(stop in text for stop in group.stops.texts),
            may_end=group.may_end,
            stop_ids=group.stop_ids,
        )
        for number, generation in zip(numbers, found, strict=True):
            said[group.prompts[number]] = _cut(generation, group.stops.texts)
            yield number
        del start  # the next prompts need its memory


def _cut(generation: Generation, stops: Sequence[str]) -> Generated:
    text = reduce(lambda rest, stop: rest.split(stop)[0], stops, generation.text)
    return Generated(text, len(generation.ids), not generation.finished, generation.finite)


def _prompts(lm: LanguageModel, group: Generating, budget: _Budget) -> Iterator[tuple[list[int], Prefilled]]:
    """Prompts that have been run, by their numbers."""
    for visit in _visits(lm, group.roots, budget, lambda node: []):
        ends = [
            (number, row)
            for row, task in enumerate(visit.tasks)
            for number in task.node.rows
            if len(group.prompts[number].ids) == task.node.end
        ]
        if ends:
            yield [number for number, _ in ends], _only(visit.run, [row for _, row in ends])
        del visit  # what follows may need its memory


def _only(run: Prefilled, rows: list[int]) -> Prefilled:
    """Some rows of a pass; all of them without copying them."""
    if rows == list(range(len(run.mask))):
        return run
    index = torch.tensor(rows, device=run.mask.device)
    return Prefilled(selected(run.states, index), run.mask[index], run.logits[index])


def _gathered(parts: Iterable[tuple[list[int], Prefilled]], budget: _Budget) -> Iterator[tuple[list[int], Prefilled]]:
    """Several passes' prompts as one batch: the more there are, the less a generation costs."""
    waiting: list[tuple[list[int], Prefilled]] = []
    for part in parts:
        rows = sum(len(numbers) for numbers, _ in [*waiting, part])
        longest = max(start.mask.shape[1] for _, start in [*waiting, part])
        if waiting and rows > budget.rows(longest):
            yield _together(waiting)
        waiting.append(part)
    if waiting:
        yield _together(waiting)


def _together(waiting: list[tuple[list[int], Prefilled]]) -> tuple[list[int], Prefilled]:
    """All that waits, as one batch; nothing waits then, so that nothing is kept twice."""
    together = [number for numbers, _ in waiting for number in numbers], joined([start for _, start in waiting])
    waiting.clear()
    return together


def _visits(
    lm: LanguageModel, roots: Iterable[Node], budget: _Budget, reads: Callable[[Node], list[_Read]]
) -> Iterator[_Visit]:
    """Run all nodes, each after those above it."""

    def run(tasks: list[_Task], before: Prefilled | None) -> Iterator[_Visit]:
        for batch in budget.batches(tasks):
            parents = torch.tensor([task.parent for task in batch], device=lm.device)
            most = max(task.columns for task in batch)
            after, logits = extended(lm, [task.node.ids for task in batch], before, parents=parents, columns=most)
            yield _Visit(batch, after, logits)
            del logits
            children = [(child, row) for row, task in enumerate(batch) for child in task.node.children]
            yield from run([_Task(child, row, reads(child)) for child, row in children], after)

    yield from run([_Task(root, 0, reads(root)) for root in roots], None)
