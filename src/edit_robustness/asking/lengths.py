"""Check that prompts fit into a model's context together with an edit's text and an answer.

The check runs before any model call. Its error lists the prompts that are too long and how to fix it. Only prompts that
could be too long by their number of bytes are tokenized.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edit_robustness.asking.ask import Decoding, render_probe
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tokens import prompt_ids
from edit_robustness.records import Probe

ProbeAfterText = tuple[str, Probe]
"""The text that an in-context edit puts before a probe, and the probe."""

_TOKENS_PER_BYTE = 2
"""Upper bound of tokens per byte of text for every tokenizer; most need a quarter of a token."""

_TEMPLATE = 256
"""Upper bound of the tokens that a chat template adds to a conversation."""

_N_SHOWN = 5
"""Maximum number of kinds of prompt that the error lists per method."""


class TooLong(ValueError):
    """Prompts that do not fit into a model's context."""


@dataclass(frozen=True)
class Need:
    """The number of tokens that one prompt needs.

    Attributes:
        kind: The kind of prompt.
        fact: The id of its fact.
        words: Tokens of the edit's text; included in `prompt`.
        prompt: Tokens of everything before the answer.
        answer: Maximum tokens of the answer.
    """

    kind: str
    fact: str
    words: int
    prompt: int
    answer: int

    @property
    def total(self) -> int:
        """Return the tokens of prompt and answer."""
        return self.prompt + self.answer


def longest(lm: LanguageModel, prompts: Iterable[ProbeAfterText], decoding: Decoding) -> dict[str, Need]:
    """Return the largest number of tokens that a prompt of each kind needs.

    The number is exact for a kind with prompts that might not fit. If all prompts of a kind certainly fit, it is that
    of the prompt with most bytes.

    Args:
        lm: The model.
        prompts: Texts of edits and probes.
        decoding: Gives the maximum length of answers.
    """
    kinds: dict[str, list[tuple[int, ProbeAfterText]]] = {}
    for before, probe in prompts:
        kinds.setdefault(probe.kind, []).append((_bytes(before, probe), (before, probe)))
    free_tokens = lm.max_length - decoding.most_tokens(lm) - decoding.max_new_tokens
    needs = {}
    for kind, kind_prompts in kinds.items():
        long_prompts = [prompt for size, prompt in kind_prompts if _TOKENS_PER_BYTE * size + _TEMPLATE > free_tokens]
        candidates = long_prompts or [max(kind_prompts, key=lambda pair: pair[0])[1]]
        needs[kind] = max((_need(lm, prompt, decoding) for prompt in candidates), key=lambda need: need.total)
    return needs


def check_fit(lm: LanguageModel, needs: Mapping[str, Mapping[str, Need]], *, shorten: str, cells: str = "") -> None:
    """Refuse prompts that leave too few tokens for an answer.

    Args:
        lm: The model.
        needs: The largest need per method and kind (`longest`).
        shorten: Advice on how to shorten prompts or answers, used as the end of the message.
        cells: Setting that switches a method off, ``grid.smollm2``; empty if that does not help.

    Raises:
        TooLong: If a prompt does not fit. The message lists methods, kinds, and the tokens needed and available.
    """
    # a kind that is too long without an edit's text is reported once, not for every method
    kinds_too_long = {
        need.kind
        for method_needs in needs.values()
        for need in method_needs.values()
        if _is_too_long(lm, need) and not need.words
    }
    long_needs = {
        method: [
            method_need
            for method_need in method_needs.values()
            if _is_too_long(lm, method_need) and not (method_need.words and method_need.kind in kinds_too_long)
        ]
        for method, method_needs in needs.items()
    }
    messages = {method: _describe(method, method_needs) for method, method_needs in long_needs.items() if method_needs}
    if not messages:
        return
    methods_with_words = [method for method in messages if long_needs[method][0].words]
    advice = (
        f", or set {' and '.join(f'{cells}.{method}: false' for method in methods_with_words)}"
        if cells and methods_with_words
        else ""
    )
    raise TooLong(
        f"{lm.name}'s context has {lm.max_length} tokens, and prompts with their answers need more "
        f"({'; '.join(messages.values())}): {shorten}{advice}"
    )


def _is_too_long(lm: LanguageModel, need: Need) -> bool:
    return need.total > lm.max_length


def _describe(method: str, needs: Sequence[Need]) -> str:
    by_length = sorted(needs, key=lambda need: -need.total)
    kinds = ", ".join(f"{need.kind} {need.total}" for need in by_length[:_N_SHOWN])
    remainder = f" and {len(by_length) - _N_SHOWN} kinds more" if len(by_length) > _N_SHOWN else ""
    words = f"{needs[0].words} for the words of {method}, " if needs[0].words else ""
    end = f"{needs[0].answer} for the answer, the longest for the fact {by_length[0].fact}"
    return f"{method if words else 'any method'}: {kinds}{remainder}, of them {words}{end}"


def _need(lm: LanguageModel, prompt: ProbeAfterText, decoding: Decoding) -> Need:
    before, probe = prompt
    tokens = len(prompt_ids(lm, render_probe(lm, probe, before, "")))
    # a follow-up prompt contains the answer before it
    answer_tokens = decoding.max_new_tokens if probe.follows is not None else 0
    words = len(lm.encode(before, special=False)) if before else 0
    return Need(probe.kind, probe.fact_id, words, tokens + answer_tokens, decoding.most_tokens(lm))


def _bytes(before: str, probe: Probe) -> int:
    return sum(
        len(text.encode(errors="replace"))
        for text in (before, probe.text, *(turn.text for turn in probe.previous_turns))
    )
