"""What benchmarks ask, as token ids: made once and asked of every checkpoint.

The ids are those that the evaluation harness's own `HFLM` makes, by the harness's own rules. What it would cut off on
the left until it fits is an error here: a few-shot prompt without its first examples is another question.
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
from edit_robustness.models.decode import ending_tokens
from edit_robustness.models.language_model import LanguageModel

_DEFAULT_LIMIT = 256
"""Most tokens of a generation that states no limit, as in the harness."""


class RequestTooLong(ValueError):
    """What a benchmark asks does not fit into the model's context."""


@dataclass(frozen=True)
class Continuation:
    """Token ids of which the last `scored` are looked for, each after those before it."""

    ids: Ids
    scored: int

    @property
    def needed(self) -> int:
        """How many tokens of context it takes: the last one is only looked for."""
        return len(self.ids) - 1


@dataclass(frozen=True)
class Stops:
    """When a generation ends.

    Attributes:
        texts: What it ends before.
        limit: Most new tokens.
    """

    texts: tuple[str, ...]
    limit: int


@dataclass(frozen=True)
class Prompt:
    """Token ids to be continued."""

    ids: Ids
    stops: Stops

    @property
    def needed(self) -> int:
        """How many tokens of context it takes with what may follow."""
        return len(self.ids) + self.stops.limit


@dataclass(frozen=True)
class Scoring:
    """Continuations, no two alike, and the tree of what is run for them.

    Attributes:
        continuations: What is scored.
        asked: For each sequence that is run the numbers of the continuations that it serves: options of one token
            after one context are read from the same place.
        roots: The tree of those sequences.
    """

    continuations: tuple[Continuation, ...]
    asked: tuple[tuple[int, ...], ...]
    roots: tuple[Node, ...]


@dataclass(frozen=True)
class Generating:
    """Prompts that end alike, no two the same.

    Attributes:
        prompts: What is continued.
        stops: When.
        stop_ids: Tokens that end a generation besides the model's own.
        may_end: (vocabulary,) true for tokens with which one of the texts that end it may be complete.
        roots: The tree of the prompts.
    """

    prompts: tuple[Prompt, ...]
    stops: Stops
    stop_ids: frozenset[int]
    may_end: Tensor
    roots: tuple[Node, ...]


@dataclass(frozen=True)
class Work:
    """Requests of the harness as token ids, with what they share.

    Attributes:
        instances: The requests.
        prefix: The words before each of them.
        asked: For each request what answers it: continuations (several where a text is longer than the context, none
            where it is empty) or one prompt.
        scoring: All continuations.
        generating: All prompts, by how they end.
    """

    instances: tuple[Instance, ...]
    prefix: str
    asked: tuple[tuple[Continuation, ...] | Prompt, ...]
    scoring: Scoring
    generating: tuple[Generating, ...]


def planned(lm: LanguageModel, instances: Sequence[Instance], prefix: str = "") -> Work:
    """Requests as the model reads them.

    Args:
        lm: The model; only its tokenizer, its context's length and its device count.
        instances: Requests of the harness: `loglikelihood`, `loglikelihood_rolling` and `generate_until`.
        prefix: Words before each whole request, examples included: those of an edit that acts by words.

    Raises:
        RequestTooLong: If a request does not fit into the model's context.
        ValueError: For another kind of request, and for sampling.
    """
    encode = _Encoder(lm, prefix)
    asked = tuple(encode(instance) for instance in instances)
    _check_lengths(lm, instances, asked, prefix)
    prompts = dict.fromkeys(one for one in asked if isinstance(one, Prompt))
    groups: dict[Stops, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt.stops, []).append(prompt)
    continuations = dict.fromkeys(one for several in asked if not isinstance(several, Prompt) for one in several)
    return Work(
        tuple(instances),
        prefix,
        asked,
        _scoring(tuple(continuations)),
        tuple(_generating(lm, tuple(group), stops) for stops, group in groups.items()),
    )


def _scoring(continuations: tuple[Continuation, ...]) -> Scoring:
    rows: dict[Ids, list[int]] = {}
    for number, one in enumerate(continuations):
        rows.setdefault(one.ids[:-1], []).append(number)
    return Scoring(continuations, tuple(tuple(numbers) for numbers in rows.values()), tree(tuple(rows)))


def _generating(lm: LanguageModel, prompts: tuple[Prompt, ...], stops: Stops) -> Generating:
    special = {token.content: i for i, token in lm.tokenizer.added_tokens_decoder.items() if token.special}
    return Generating(
        prompts,
        stops,
        frozenset(special[text] for text in stops.texts if text in special),
        ending_tokens(lm, {text[-1] for text in stops.texts if text not in special}),
        tree([prompt.ids for prompt in prompts]),
    )


def _check_lengths(
    lm: LanguageModel, instances: Sequence[Instance], asked: Sequence[tuple[Continuation, ...] | Prompt], prefix: str
) -> None:
    """Nothing longer than the context; a text that is read in windows has none that is."""
    lengths = [one.needed if isinstance(one, Prompt) else max((c.needed for c in one), default=0) for one in asked]
    long = [place for place, length in enumerate(lengths) if length > lm.max_length]
    if not long:
        return
    worst = max(long, key=lengths.__getitem__)
    instance, one = instances[worst], asked[worst]
    room = f", {one.stops.limit} of them for the answer" if isinstance(one, Prompt) else ""
    words = f", and the edit's words take {len(lm.encode(prefix))}" if prefix else ""
    raise RequestTooLong(
        f"{len(long)} of {len(instances)} requests are too long for {lm.name}: document {instance.doc_id} of "
        f"{instance.task_name} needs {lengths[worst]} tokens{room}{words}; its context has {lm.max_length}. Ask with "
        f"fewer examples (`shots`), {'with fewer edits in words, ' if prefix else ''}a shorter answer "
        "(`max_new_tokens`), or leave the benchmark out"
    )


class _Encoder(TemplateLM):
    """A model of the harness that answers each request with its token ids.

    The harness's base class says how a context and its continuation become ids; what `HFLM` adds to that (when a start
    token is added, which token stands for an empty context) is said here.
    """

    def __init__(self, lm: LanguageModel, prefix: str):
        super().__init__()
        self.tokenizer, self._encode = lm.tokenizer, lm.encode
        self._max_length, self._prefix = lm.max_length, prefix
        self._kinds: dict[str, Callable[..., list[Any]]] = {
            "loglikelihood": self.loglikelihood,
            "loglikelihood_rolling": self.loglikelihood_rolling,
            "generate_until": self.generate_until,
        }

    def __call__(self, instance: Instance) -> tuple[Continuation, ...] | Prompt:
        """What answers a request."""
        if instance.request_type not in self._kinds:
            kinds = ", ".join(self._kinds)
            raise ValueError(f"{instance.task_name} asks by `{instance.request_type}`; benchmarks may ask by {kinds}")
        text, *rest = instance.args
        if instance.request_type != "loglikelihood_rolling":
            text = self._prefix + text
        return self._kinds[instance.request_type]([replace(instance, arguments=(text, *rest))], disable_tqdm=True)[0]

    @property
    def eot_token_id(self) -> int:
        return self.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> int:
        """What stands for an empty context."""
        start = self.tokenizer.bos_token_id
        return self.eot_token_id if start is None else start

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids; with a start token where the tokenizer adds one and the text does not begin with it.

        Unlike in `HFLM` no end token follows where the tokenizer appends one: every request goes on after its context.
        """
        if add_special_tokens is None:
            add_special_tokens = not string.startswith(self.tokenizer.decode(self.prefix_token_id))
        return self._encode(string, special=add_special_tokens)

    def _loglikelihood_tokens(self, requests: Iterable[tuple[Any, list[int], list[int]]], **_: Any) -> list[Any]:
        return [(_continuation(context, scored, named=strings),) for strings, context, scored in requests]

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[Any]:
        """Windows of a text, each as long as the context allows; words before it stand before each window."""
        return [tuple(self._windows(request.args[0])) for request in requests]

    def _windows(self, text: str) -> Iterable[Continuation]:
        if self._prefix:
            before, ids = self._encode_pair(self._prefix, text)
        else:
            before, ids = [], self.tok_encode(text)
        first = before[-1] if before else self.prefix_token_id
        room = self._max_length - len(before)
        if room < 1:
            raise RequestTooLong(
                f"the edit's words take {len(before)} tokens of a context of {self._max_length}: nothing can be asked "
                "after them; keep fewer edits in words"
            )
        windows = get_rolling_token_windows(ids, first, room, context_len=1)
        for number, (context, scored) in enumerate(map(make_disjoint_window, windows)):
            yield _continuation([*(before if number else before[:-1]), *context], scored, named=text)

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[Any]:
        """A prompt, with what ends its continuation."""
        return [self._prompt(*request.args) for request in requests]

    def _prompt(self, context: str, settings: dict[str, Any]) -> Prompt:
        chosen: dict[str, Any] = dict(normalize_gen_kwargs(settings, _DEFAULT_LIMIT))
        if chosen["do_sample"]:
            raise ValueError(f"a task asks for sampling ({settings}); answers are generated greedily: do_sample: false")
        end = None if self.eot_token_id is None else self.tokenizer.decode(self.eot_token_id)
        texts = tuple(text for text in handle_stop_sequences(list(chosen["until"]), end) if text)
        start = self.tokenizer.bos_token
        special = start is None or not context.startswith(start)
        ids = self._encode(context, special=special) or [self.prefix_token_id]
        return Prompt(tuple(ids), Stops(texts, chosen["max_gen_toks"]))


def _continuation(context: Sequence[int], scored: Sequence[int], named: Any) -> Continuation:
    if not scored:
        raise ValueError(f"nothing is left to score of {named!r:.200}: its tokens are those of what stands before it")
    return Continuation((*context, *scored), len(scored))
