"""Convert the requests of benchmarks to token ids, once for all checkpoints.

The ids equal those of the harness's `HFLM` and follow the rules of the harness. `HFLM` truncates long requests on the
left. Here this is an error, because a few-shot prompt without its first examples is a different task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from torch import Tensor

from edit_robustness.abilities.sharing import Ids, Node, tree
from edit_robustness.editing.edits import NO_EDIT, Appliable
from edit_robustness.models.decode import ending_tokens
from edit_robustness.models.language_model import LanguageModel

_DEFAULT_LIMIT = 256
"""Maximum tokens of a generation without a limit, as in the harness."""


class RequestTooLong(ValueError):
    """A request of a benchmark does not fit into the model's context."""


@dataclass(frozen=True)
class Continuation:
    """Token ids of which the last `scored` are scored, each given the tokens before it."""

    ids: Ids
    scored: int

    @property
    def context_tokens(self) -> int:
        """Return the number of context tokens; the last token is scored but not run."""
        return len(self.ids) - 1


@dataclass(frozen=True)
class Stops:
    """The conditions that end a generation.

    Attributes:
        texts: Stop sequences; the text ends before the first of them.
        limit: Maximum new tokens.
    """

    texts: tuple[str, ...]
    limit: int


@dataclass(frozen=True)
class Prompt:
    """Token ids of a prompt for a generation."""

    ids: Ids
    stops: Stops

    @property
    def context_tokens(self) -> int:
        """Return the maximum number of tokens of prompt and generation."""
        return len(self.ids) + self.stops.limit


@dataclass(frozen=True)
class Scoring:
    """Distinct continuations, and the prefix tree of the sequences that are run for them.

    Attributes:
        continuations: The continuations to score.
        continuation_numbers: For each sequence of the tree the numbers of its continuations. Options of one token after
            the same context share a sequence.
        roots: The prefix tree of the sequences.
    """

    continuations: tuple[Continuation, ...]
    continuation_numbers: tuple[tuple[int, ...], ...]
    roots: tuple[Node, ...]


@dataclass(frozen=True)
class GenerationGroup:
    """Distinct prompts with the same stop conditions.

    Attributes:
        prompts: The prompts to continue.
        stops: The conditions that end a generation.
        stop_ids: Tokens that end a generation besides the model's own end token.
        may_end: (vocabulary,) True for tokens that may complete a stop sequence.
        roots: The prefix tree of the prompts.
    """

    prompts: tuple[Prompt, ...]
    stops: Stops
    stop_ids: frozenset[int]
    may_end: Tensor
    roots: tuple[Node, ...]


@dataclass(frozen=True)
class Work:
    """Requests of the harness as token ids, with their prefix trees.

    Attributes:
        instances: The requests.
        questions: For each request its question, without few-shot examples.
        texts: For each request the text that an in-context edit puts before it.
        parts: For each request its continuations (several if a text is longer than the context, none if it is empty)
            or its prompt.
        scoring: All continuations.
        generations: All prompts, grouped by stop conditions.
    """

    instances: tuple[Instance, ...]
    questions: tuple[str, ...]
    texts: tuple[str, ...]
    parts: tuple[tuple[Continuation, ...] | Prompt, ...]
    scoring: Scoring
    generations: tuple[GenerationGroup, ...]


def plan_requests(
    lm: LanguageModel, instances: Sequence[Instance], questions: Sequence[str] = (), edit: Appliable = NO_EDIT
) -> Work:
    """Convert requests to token ids and prefix trees.

    Args:
        lm: The model; only its tokenizer, context length and device are used.
        instances: Requests of the harness: `loglikelihood`, `loglikelihood_rolling` and `generate_until`.
        questions: For each request its question, by which an in-context edit chooses its text; by default the last
            paragraph of each request.
        edit: The edit. An in-context edit puts its text before each request with its few-shot examples.

    Raises:
        RequestTooLong: If a request does not fit into the model's context.
        ValueError: If a request has another type, or uses sampling.
    """
    questions = tuple(questions) or tuple(last_paragraph(instance.args[0]) for instance in instances)
    texts = tuple(map(edit.text_before, questions))
    encode = _Encoder(lm)
    parts_by_request = tuple(encode(instance, text) for instance, text in zip(instances, texts, strict=True))
    _check_lengths(lm, instances, parts_by_request, texts)
    prompts = dict.fromkeys(part for part in parts_by_request if isinstance(part, Prompt))
    groups: dict[Stops, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt.stops, []).append(prompt)
    continuations = dict.fromkeys(part for parts in parts_by_request if not isinstance(parts, Prompt) for part in parts)
    return Work(
        tuple(instances),
        questions,
        texts,
        parts_by_request,
        _scoring(tuple(continuations)),
        tuple(_plan_generation(lm, tuple(group), stops) for stops, group in groups.items()),
    )


def last_paragraph(request: str) -> str:
    """Return the text after the last empty line of a request; few-shot examples stand before it."""
    return request.rstrip().rpartition("\n\n")[2]


def _scoring(continuations: tuple[Continuation, ...]) -> Scoring:
    rows: dict[Ids, list[int]] = {}
    for number, continuation in enumerate(continuations):
        rows.setdefault(continuation.ids[:-1], []).append(number)
    return Scoring(continuations, tuple(tuple(numbers) for numbers in rows.values()), tree(tuple(rows)))


def _plan_generation(lm: LanguageModel, prompts: tuple[Prompt, ...], stops: Stops) -> GenerationGroup:
    special = {token.content: i for i, token in lm.tokenizer.added_tokens_decoder.items() if token.special}
    return GenerationGroup(
        prompts,
        stops,
        frozenset(special[text] for text in stops.texts if text in special),
        ending_tokens(lm, {text[-1] for text in stops.texts if text not in special}),
        tree([prompt.ids for prompt in prompts]),
    )


def _check_lengths(
    lm: LanguageModel,
    instances: Sequence[Instance],
    parts_by_request: Sequence[tuple[Continuation, ...] | Prompt],
    texts: Sequence[str],
) -> None:
    """Check that all requests fit into the context; the windows of `loglikelihood_rolling` always do."""
    lengths = [
        parts.context_tokens
        if isinstance(parts, Prompt)
        else max((continuation.context_tokens for continuation in parts), default=0)
        for parts in parts_by_request
    ]
    long_places = [place for place, length in enumerate(lengths) if length > lm.max_length]
    if not long_places:
        return
    longest_place = max(long_places, key=lengths.__getitem__)
    instance, parts, text = instances[longest_place], parts_by_request[longest_place], texts[longest_place]
    answer_note = f", {parts.stops.limit} of them for the answer" if isinstance(parts, Prompt) else ""
    edit_note = f", and the in-context edit takes {len(lm.encode(text))}" if text else ""
    raise RequestTooLong(
        f"{len(long_places)} of {len(instances)} requests are too long for {lm.name}: document {instance.doc_id} of "
        f"{instance.task_name} needs {lengths[longest_place]} tokens{answer_note}{edit_note}; its context has "
        f"{lm.max_length}. Use fewer examples (`shots`), {'fewer in-context edits, ' if text else ''}a shorter "
        "answer (`max_new_tokens`), or leave the benchmark out"
    )


class _Encoder(TemplateLM):
    """A model class of the harness that responds to each request with its token ids.

    The harness's base class defines how a context and its continuation are tokenized. This class adds the rules of
    `HFLM`: when a start token is added, and which token represents an empty context.
    """

    def __init__(self, lm: LanguageModel):
        super().__init__()
        self.tokenizer, self._encode, self._max_length = lm.tokenizer, lm.encode, lm.max_length
        self._kinds: dict[str, Callable[..., list[Any]]] = {
            "loglikelihood": self.loglikelihood,
            "loglikelihood_rolling": self.loglikelihood_rolling,
            "generate_until": self.generate_until,
        }

    def __call__(self, instance: Instance, before: str) -> tuple[Continuation, ...] | Prompt:
        """Return the continuations or the prompt of a request, with the text of an edit before it."""
        if instance.request_type not in self._kinds:
            kinds = ", ".join(self._kinds)
            raise ValueError(f"{instance.task_name} uses `{instance.request_type}` requests; supported are {kinds}")
        text, *other_arguments = instance.args
        is_rolling = instance.request_type == "loglikelihood_rolling"
        arguments = (text, before) if is_rolling else (before + text, *other_arguments)
        parts: tuple[Continuation, ...] | Prompt = self._kinds[instance.request_type](
            [replace(instance, arguments=arguments)], disable_tqdm=True
        )[0]
        return parts

    @property
    def eot_token_id(self) -> int:
        token_id: int = self.tokenizer.eos_token_id
        return token_id

    @property
    def prefix_token_id(self) -> int:
        """Return the token that represents an empty context."""
        start = self.tokenizer.bos_token_id
        return self.eot_token_id if start is None else start

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Tokenize a text, with the start token if the tokenizer adds one and the text does not begin with it.

        Unlike in `HFLM`, no end token is appended, because every request continues after its context.
        """
        if add_special_tokens is None:
            add_special_tokens = not string.startswith(self.tokenizer.decode(self.prefix_token_id))
        return self._encode(string, special=add_special_tokens)

    def _loglikelihood_tokens(self, requests: Iterable[tuple[Any, list[int], list[int]]], **_: Any) -> list[Any]:
        return [(_continuation(context, target, source=strings),) for strings, context, target in requests]

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[Any]:
        """Split each text into windows that fill the context; the text of an edit is put before each window."""
        return [tuple(self._windows(*request.args)) for request in requests]

    def _windows(self, text: str, before: str) -> Iterable[Continuation]:
        if before:
            prefix_ids, ids = self._encode_pair(before, text)
        else:
            prefix_ids, ids = [], self.tok_encode(text)
        first_id = prefix_ids[-1] if prefix_ids else self.prefix_token_id
        window_length = self._max_length - len(prefix_ids)
        if window_length < 1:
            raise RequestTooLong(
                f"the in-context edit takes {len(prefix_ids)} tokens of a context of {self._max_length} and leaves "
                "none for requests; use fewer in-context edits"
            )
        windows = get_rolling_token_windows(ids, first_id, window_length, context_len=1)
        for number, (context, target) in enumerate(map(make_disjoint_window, windows)):
            yield _continuation([*(prefix_ids if number else prefix_ids[:-1]), *context], target, source=text)

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[Any]:
        """Return the prompts with their stop conditions."""
        return [self._prompt(*request.args) for request in requests]

    def _prompt(self, context: str, settings: dict[str, Any]) -> Prompt:
        generation_settings: dict[str, Any] = dict(normalize_gen_kwargs(settings, _DEFAULT_LIMIT))
        if generation_settings["do_sample"]:
            raise ValueError(
                f"a task uses sampling ({settings}), but only greedy decoding is supported: do_sample: false"
            )
        end = None if self.eot_token_id is None else self.tokenizer.decode(self.eot_token_id)
        texts = tuple(text for text in handle_stop_sequences(list(generation_settings["until"]), end) if text)
        start = self.tokenizer.bos_token
        add_special = start is None or not context.startswith(start)
        ids = self._encode(context, special=add_special) or [self.prefix_token_id]
        return Prompt(tuple(ids), Stops(texts, generation_settings["max_gen_toks"]))


def _continuation(context: Sequence[int], target: Sequence[int], source: Any) -> Continuation:
    if not target:
        raise ValueError(
            f"no token is left to score of {source!r:.200}: all its tokens belong to the context before it"
        )
    return Continuation((*context, *target), len(target))
