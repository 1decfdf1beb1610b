"""Compute the responses to the harness's requests.

Shared prefixes of requests are run once, and logits are computed only for tokens that are scored. Log-likelihoods equal
those of the harness's `HFLM` up to rounding. Edits take effect because they change the weights of the model or add
hooks to it. Keys and values are not kept between calls, because every checkpoint is a different model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

import torch
from torch import Tensor

from edit_robustness.abilities.requests import GenerationGroup, Prompt, Scoring, Work, plan_requests
from edit_robustness.abilities.sharing import Node
from edit_robustness.editing.edits import NO_EDIT, Appliable
from edit_robustness.models.batching import batched_by_length
from edit_robustness.models.decode import (
    Prefill,
    bytes_per_token,
    extend,
    greedy,
    join_batches,
    memory_at_hand,
    select_rows,
)
from edit_robustness.models.generating import Generation
from edit_robustness.models.language_model import LanguageModel

Progress = Callable[..., Iterable[int]]
"""Yields the items of its argument and takes the keyword `total`, such as `partial(track, what="mmlu")`."""

_NEAR = 4
"""Maximum tokens of padding, plus a tenth of the length; more padding costs more than another batch."""


@dataclass(frozen=True)
class GeneratedText:
    """A greedy continuation.

    Attributes:
        text: The text up to the first stop sequence.
        tokens: Number of generated tokens, including the one that ended the text if the model generated it.
        capped: Whether it was cut off by the limit of tokens.
        finite: Whether all its logits were finite.
    """

    text: str
    tokens: int
    capped: bool
    finite: bool = True


Response = tuple[float, bool] | float | GeneratedText
"""The response to one request, as described in `answered`."""


@dataclass(frozen=True)
class _Lookup:
    """A log-probability to read: that of a continuation's token after one of the tokens of a node.

    Attributes:
        behind: Position of the node's token, counted from the end of the node: 1 for the last.
        token: Id of the token after it.
        continuation: Number of the continuation.
        final: Whether this is the last token of the continuation.
    """

    behind: int
    token: int
    continuation: int
    final: bool


@dataclass(frozen=True)
class _Task:
    """A node to run after row `parent` of the previous pass."""

    node: Node
    parent: int = 0
    lookups: list[_Lookup] = field(default_factory=list)

    @property
    def length(self) -> int:
        return len(self.node.ids)

    @property
    def columns(self) -> int:
        """Return the number of last tokens after which logits are needed."""
        return max((lookup.behind for lookup in self.lookups), default=1)


@dataclass(frozen=True)
class _Visit:
    """The tasks of one pass, and the logits after their last tokens (rows, columns, vocabulary)."""

    tasks: list[_Task]
    run: Prefill
    logits: Tensor


@dataclass(frozen=True)
class _Budget:
    """The limits of one pass.

    Attributes:
        tokens: Maximum tokens per pass.
        memory: Maximum bytes of keys, values and logits per pass.
        token_bytes: Bytes of the keys and values of one token.
        logit_bytes: Bytes of the logits after one token, with their logarithm and a copy.
        padding: Whether rows may be padded between the tokens that they share and the others.
        n_new: Number of tokens that will follow each row.
    """

    tokens: int
    memory: int
    token_bytes: int
    logit_bytes: int
    padding: bool
    n_new: int = 0

    @classmethod
    def of(cls, lm: LanguageModel, longest: int) -> _Budget:
        """Return the limits for the free memory; on a CPU passes are short enough for its caches.

        Args:
            lm: The model.
            longest: Tokens of the longest request.
        """
        size, on_gpu = lm.model.dtype.itemsize, lm.device.type == "cuda"
        return cls(
            tokens=1 << 14 if on_gpu else 1 << 10,
            memory=memory_at_hand(lm),
            token_bytes=bytes_per_token(lm),
            logit_bytes=lm.model.get_output_embeddings().weight.shape[0] * (size + 8),
            padding=lm.reaches(longest),
        )

    def batches(self, tasks: Iterable[_Task]) -> list[list[_Task]]:
        """Group tasks of similar length into batches, the longest first."""
        return batched_by_length(tasks, lambda task: task.length, self._takes, longest_first=True)

    def _takes(self, batch: Sequence[_Task], task: _Task) -> bool:
        longest, rows = batch[0], len(batch) + 1
        columns = max(member.columns for member in [*batch, task])
        return (
            longest.length - task.length <= (_NEAR + 0.1 * longest.length if self.padding else 0)
            and rows * longest.length <= self.tokens
            and rows * self._bytes(longest.node.end, columns) <= self.memory
        )

    def _bytes(self, length: int, columns: int) -> int:
        """Return the bytes per row; keys and values are in memory twice, from the prefill and for the continuation."""
        return self.token_bytes * (2 * length + self.n_new) + self.logit_bytes * columns

    def rows(self, length: int) -> int:
        """Return the number of texts of a length to generate per batch."""
        return max(1, min(self.tokens // 32, self.memory // self._bytes(length, 1)))


def answer_requests(
    lm: LanguageModel, work: Work, edit: Appliable = NO_EDIT, progress: Progress | None = None
) -> list[Response]:
    """Compute the responses of the model in its current state.

    Args:
        lm: The model with its edit applied.
        work: The requests. They are planned again if the edit puts other texts before them.
        edit: The edit that is applied; its text stands before each request, as in `plan_requests`.
        progress: Receives one item per finished request.

    Returns:
        For each request, in order: the sum of log-probabilities (nats) and whether every token was the most probable
        one for `loglikelihood`, the sum of log-probabilities for `loglikelihood_rolling`, `GeneratedText` for
        `generate_until`. Log-probabilities are not finite if the model's are not.

    Raises:
        RequestTooLong: If a request does not fit into the model's context. It is raised before the model is run.
    """
    if tuple(map(edit.text_before, work.questions)) != work.texts:
        work = plan_requests(lm, work.instances, work.questions, edit)
    totals = [(0.0, True)] * len(work.scoring.continuations)
    texts: dict[Prompt, GeneratedText] = {}
    steps = _steps(lm, work, totals, texts)
    total = len(totals) + sum(len(group.prompts) for group in work.generations)
    for _ in progress(steps, total=total) if progress else steps:
        pass
    scores = dict(zip(work.scoring.continuations, totals, strict=True))
    return [
        texts[parts]
        if isinstance(parts, Prompt)
        else _answer(instance.request_type, [scores[continuation] for continuation in parts])
        for instance, parts in zip(work.instances, work.parts, strict=True)
    ]


def _answer(kind: str, scores: list[tuple[float, bool]]) -> Response:
    return scores[0] if kind == "loglikelihood" else float(sum(logprob for logprob, _ in scores))


def _steps(
    lm: LanguageModel, work: Work, totals: list[tuple[float, bool]], texts: dict[Prompt, GeneratedText]
) -> Iterator[int]:
    """Run the requests and yield one item per finished request."""
    lengths = [continuation.context_tokens for continuation in work.scoring.continuations] + [
        prompt.context_tokens for group in work.generations for prompt in group.prompts
    ]
    budget = _Budget.of(lm, max(lengths, default=0))
    yield from _score(lm, work.scoring, budget, totals)
    for group in work.generations:
        yield from _generate(lm, group, replace(budget, n_new=group.stops.limit), texts)


def _score(lm: LanguageModel, scoring: Scoring, budget: _Budget, totals: list[tuple[float, bool]]) -> Iterator[int]:
    """Sum up the log-probabilities, and yield each continuation whose last token has been read."""
    for visit in _visits(lm, scoring.roots, budget, lambda node: list(_lookups(scoring, node))):
        lookups = [lookup for task in visit.tasks for lookup in task.lookups]
        if not lookups:
            continue
        for lookup, logprob, is_top in zip(lookups, *_look_up(visit), strict=True):
            total, all_top = totals[lookup.continuation]
            totals[lookup.continuation] = (total + logprob, all_top and is_top)
            if lookup.final:
                yield lookup.continuation


def _lookups(scoring: Scoring, node: Node) -> Iterator[_Lookup]:
    for number in (number for sequence in node.rows for number in scoring.continuation_numbers[sequence]):
        continuation = scoring.continuations[number]
        for place in range(
            max(node.start, continuation.context_tokens - continuation.scored),
            min(node.end, continuation.context_tokens),
        ):
            yield _Lookup(
                node.end - place, continuation.ids[place + 1], number, place == continuation.context_tokens - 1
            )


def _look_up(visit: _Visit) -> tuple[list[float], list[bool]]:
    """Return for each lookup of a pass the log-probability of its token, and whether the token is the most probable."""
    device = visit.logits.device
    lookups = [((row, -lookup.behind), lookup.token) for row, task in enumerate(visit.tasks) for lookup in task.lookups]
    places = {place: number for number, place in enumerate(dict.fromkeys(place for place, _ in lookups))}
    rows, columns = torch.tensor(list(places), device=device).T
    logprobs = visit.logits[rows, columns].float().log_softmax(-1)
    indices = torch.tensor([places[place] for place, _ in lookups], device=device)
    tokens = torch.tensor([token for _, token in lookups], device=device)
    return logprobs[indices, tokens].tolist(), (logprobs.argmax(-1)[indices] == tokens).tolist()


def _generate(
    lm: LanguageModel, group: GenerationGroup, budget: _Budget, texts: dict[Prompt, GeneratedText]
) -> Iterator[int]:
    """Continue each prompt, and yield its number."""
    for numbers, start in _merge_prompts(_prompts(lm, group, budget), budget):
        generations = greedy(
            lm,
            start,
            limit=group.stops.limit,
            end_rule=lambda text: any(stop in text for stop in group.stops.texts),
            may_end=group.may_end,
            stop_ids=group.stop_ids,
        )
        for number, generation in zip(numbers, generations, strict=True):
            texts[group.prompts[number]] = _cut_at_stop(generation, group.stops.texts)
            yield number
        del start  # the next prompts need its memory


def _cut_at_stop(generation: Generation, stops: Sequence[str]) -> GeneratedText:
    text = reduce(lambda remainder, stop: remainder.split(stop)[0], stops, generation.text)
    return GeneratedText(text, len(generation.ids), not generation.finished, generation.finite)


def _prompts(lm: LanguageModel, group: GenerationGroup, budget: _Budget) -> Iterator[tuple[list[int], Prefill]]:
    """Run the prompts of a group and yield their numbers with their states."""
    for visit in _visits(lm, group.roots, budget, lambda node: []):
        final_rows = [
            (number, row)
            for row, task in enumerate(visit.tasks)
            for number in task.node.rows
            if len(group.prompts[number].ids) == task.node.end
        ]
        if final_rows:
            yield [number for number, _ in final_rows], _select_rows(visit.run, [row for _, row in final_rows])
        del visit  # what follows may need its memory


def _select_rows(batch: Prefill, rows: list[int]) -> Prefill:
    """Select rows of a pass; all rows are returned without a copy."""
    if rows == list(range(len(batch.mask))):
        return batch
    index = torch.tensor(rows, device=batch.mask.device)
    return Prefill(select_rows(batch.states, index), batch.mask[index], batch.logits[index])


def _merge_prompts(parts: Iterable[tuple[list[int], Prefill]], budget: _Budget) -> Iterator[tuple[list[int], Prefill]]:
    """Merge the prompts of several passes to larger batches, because a larger batch costs less per generation."""
    queue: list[tuple[list[int], Prefill]] = []
    for part in parts:
        rows = sum(len(numbers) for numbers, _ in [*queue, part])
        longest = max(start.mask.shape[1] for _, start in [*queue, part])
        if queue and rows > budget.rows(longest):
            yield _join_pending(queue)
        queue.append(part)
    if queue:
        yield _join_pending(queue)


def _join_pending(queue: list[tuple[list[int], Prefill]]) -> tuple[list[int], Prefill]:
    """Join all pending prompts to one batch and empty the list, so that the states are not in memory twice."""
    batch = [number for numbers, _ in queue for number in numbers], join_batches([start for _, start in queue])
    queue.clear()
    return batch


def _visits(
    lm: LanguageModel, roots: Iterable[Node], budget: _Budget, lookups: Callable[[Node], list[_Lookup]]
) -> Iterator[_Visit]:
    """Run all nodes, each after its parent, and yield every pass."""

    def run(tasks: list[_Task], parent_states: Prefill | None) -> Iterator[_Visit]:
        for batch in budget.batches(tasks):
            parents = torch.tensor([task.parent for task in batch], device=lm.device)
            n_columns = max(task.columns for task in batch)
            prefix_cache, logits = extend(
                lm, [task.node.ids for task in batch], parent_states, parents=parents, columns=n_columns
            )
            yield _Visit(batch, prefix_cache, logits)
            del logits
            children = [(child, row) for row, task in enumerate(batch) for child in task.node.children]
            yield from run([_Task(child, row, lookups(child)) for child, row in children], prefix_cache)

    yield from run([_Task(root, 0, lookups(root)) for root in roots], None)
