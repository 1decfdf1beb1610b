"""Whether prompts fit into a model's context with the words of an edit before them and an answer after them.

One check for all that is asked. It runs before anything is asked, names what is too long, and says what to do. Only
prompts that could be too long by their bytes are tokenized.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edit_robustness.asking.ask import Decoding, render_probe
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tokens import prompt_ids
from edit_robustness.records import Probe

Prefixed = tuple[str, Probe]
"""The words of an edit, and a prompt that comes after them."""

_TOKENS_PER_BYTE = 2
"""No tokenizer makes more tokens of a byte of text; most make a quarter of one."""

_TEMPLATE = 256
"""Tokens that a chat template may add to a conversation."""


_SHOWN = 5
"""Kinds of prompt that are named for each method."""


class TooLong(ValueError):
    """Prompts that do not fit into a model's context."""


@dataclass(frozen=True)
class Need:
    """The tokens that one prompt takes.

    Attributes:
        kind: Its kind.
        fact: The id of the fact that it is about.
        words: Tokens of the edit's words before it; they are among `prompt`.
        prompt: Tokens of all that stands before the answer.
        answer: Most tokens of the answer.
    """

    kind: str
    fact: str
    words: int
    prompt: int
    answer: int

    @property
    def total(self) -> int:
        """All tokens together."""
        return self.prompt + self.answer


def longest(lm: LanguageModel, asked: Iterable[Prefixed], decoding: Decoding) -> dict[str, Need]:
    """Return the longest need of each kind of prompt.

    It is exact where a prompt might not fit. If all of a kind certainly fit, it is that of the prompt with most bytes.

    Args:
        lm: The model.
        asked: Prompts with the words before them.
        decoding: How long answers may be.
    """
    kinds: dict[str, list[tuple[int, Prefixed]]] = {}
    for prefix, probe in asked:
        kinds.setdefault(probe.kind, []).append((_bytes(prefix, probe), (prefix, probe)))
    room = lm.max_length - decoding.most_tokens(lm) - decoding.max_new_tokens
    needs = {}
    for kind, prompts in kinds.items():
        doubtful = [one for size, one in prompts if _TOKENS_PER_BYTE * size + _TEMPLATE > room]
        measured = doubtful or [max(prompts, key=lambda pair: pair[0])[1]]
        needs[kind] = max((_need(lm, one, decoding) for one in measured), key=lambda need: need.total)
    return needs


def check_fit(lm: LanguageModel, needs: Mapping[str, Mapping[str, Need]], *, shorten: str, cells: str = "") -> None:
    """Refuse prompts that leave no room for a whole answer.

    Args:
        lm: The model.
        needs: For each method the longest need of each kind.
        shorten: What makes prompts or answers shorter, as the end of a sentence.
        cells: The part of the grid where a method is switched off, ``grid.smollm2``; empty if that is no way out.

    Raises:
        TooLong: Naming each method and kind, the tokens needed, and those that the context has.
    """
    # a kind that is too long without words is told once, not for every method
    plain = {need.kind for own in needs.values() for need in own.values() if _too_long(lm, need) and not need.words}
    long = {
        who: [n for n in own.values() if _too_long(lm, n) and not (n.words and n.kind in plain)]
        for who, own in needs.items()
    }
    told = {who: _told(who, own) for who, own in long.items() if own}
    if not told:
        return
    wordy = [who for who in told if long[who][0].words]
    off = f", or set {' and '.join(f'{cells}.{who}: false' for who in wordy)}" if cells and wordy else ""
    raise TooLong(
        f"{lm.name}'s context has {lm.max_length} tokens, and prompts with their answers need more "
        f"({'; '.join(told.values())}): {shorten}{off}"
    )


def _too_long(lm: LanguageModel, need: Need) -> bool:
    return need.total > lm.max_length


def _told(who: str, needs: Sequence[Need]) -> str:
    ordered = sorted(needs, key=lambda need: -need.total)
    kinds = ", ".join(f"{need.kind} {need.total}" for need in ordered[:_SHOWN])
    more = f" and {len(ordered) - _SHOWN} kinds more" if len(ordered) > _SHOWN else ""
    words = f"{needs[0].words} for the words of {who}, " if needs[0].words else ""
    end = f"{needs[0].answer} for the answer, the longest for the fact {ordered[0].fact}"
    return f"{who if words else 'any method'}: {kinds}{more}, of them {words}{end}"


def _need(lm: LanguageModel, asked: Prefixed, decoding: Decoding) -> Need:
    prefix, probe = asked
    prompt = len(prompt_ids(lm, render_probe(lm, probe, prefix, "")))
    # the answer that a prompt follows stands inside it
    before = decoding.max_new_tokens if probe.follows is not None else 0
    words = len(lm.encode(prefix, special=False)) if prefix else 0
    return Need(probe.kind, probe.fact_id, words, prompt + before, decoding.most_tokens(lm))


def _bytes(prefix: str, probe: Probe) -> int:
    return sum(
        len(text.encode(errors="replace")) for text in (prefix, probe.text, *(turn.text for turn in probe.history))
    )
