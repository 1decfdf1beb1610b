"""From text to token ids: prompts, targets that join them, where the subject ends, padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import torch
from torch import Tensor

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.thinking import OFF
from edit_robustness.records import SLOT, Turn, fill
from edit_robustness.text.joining import joined

TODAY = datetime(2024, 7, 26)
"""The date that chat templates write: the one that those of Llama 3 fall back to."""

_FORMS = "".join(f"|replace('%{form}','{TODAY.strftime(f'%{form}')}')" for form in "aAbBdeHIjmMpSyY")
_CLOCK = f"{{% macro strftime_now(form) %}}{{{{ form{_FORMS} }}}}{{% endmacro %}}"
"""Stands before a template that asks for the date; transformers lets no other clock into a template."""


@dataclass(frozen=True)
class Rendered:
    """Text as the model gets it.

    Attributes:
        text: The text.
        special: Whether the tokenizer adds its own start token to it.
        join: What stands between it and what follows; None for what a native text has there.
    """

    text: str
    special: bool = True
    join: str | None = None


def render_conversation(lm: LanguageModel, turns: Sequence[Turn]) -> Rendered:
    """A conversation that the assistant answers next: the model's chat template, or plain `User:` lines without one.

    Thinking is switched off where the template can. Where it cannot, the text may end in a thinking part that is open:
    see `models.thinking`. A template that writes today's date writes `TODAY`, or answers would change from day to day.
    """
    if lm.tokenizer.chat_template is None:
        lines = [f"{turn.role.capitalize()}: {turn.text}" for turn in turns]
        return Rendered("\n".join([*lines, "Assistant:"]))
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    template = lm.tokenizer.chat_template
    dated = {"chat_template": f"{_CLOCK}{template}"} if "strftime_now" in template else {}
    text = lm.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **dated, **OFF)
    return Rendered(text, special=False)


def prompt_ids(lm: LanguageModel, prompt: Rendered) -> list[int]:
    """Token ids of a prompt; never empty (a lone start token stands for the empty text)."""
    ids = lm.encode(prompt.text, special=prompt.special)
    return ids or [lm.tokenizer.bos_token_id or lm.pad_id]


def target_ids(lm: LanguageModel, prompt: Rendered, target: str) -> list[int]:
    """Token ids of a target as they follow a prompt.

    They are joined as a native text would be (`text.joining`), unless the prompt says how. The ids come from tokenizing
    both together, so that they are those the model would write; where that changes the prompt's own last token, the
    target is tokenized by itself.

    Raises:
        ValueError: If the target is empty.
    """
    if not target.strip():
        raise ValueError(f"an empty target after the prompt `{prompt.text[-60:]}`")
    whole_text = joined(prompt.text, target, prompt.join)
    before = prompt_ids(lm, prompt)
    whole = lm.encode(whole_text, special=prompt.special)
    if whole[: len(before)] == before and len(whole) > len(before):
        return whole[len(before) :]
    return lm.encode(whole_text[len(prompt.text) :], special=False)


class SubjectNotFound(ValueError):
    """A filled template in which no token holds the end of the subject."""


def subject_end(lm: LanguageModel, template: str, subject: str) -> tuple[list[int], int]:
    """Ids of a filled template, and the index of the token that holds the subject's last character.

    A subject's tokens depend on what stands before it, so the index is that of this text and of no other.

    Args:
        lm: The model.
        template: Text with ``{}`` where the subject goes.
        subject: The subject.

    Raises:
        ValueError: If the template has no place for the subject.
        SubjectNotFound: If no token holds the subject's last character.
    """
    if SLOT not in template:
        raise ValueError(f"the template `{template}` has no {SLOT} for the subject `{subject}`")
    last = template.index(SLOT) + len(subject) - 1
    ids, offsets = lm.encode_with_offsets(fill(template, subject))
    places = [i for i, (start, end) in enumerate(offsets) if start <= last < end]
    if not places:
        raise SubjectNotFound(f"no token holds the end of the subject `{subject}` in `{template}`")
    return ids, places[-1]


def pad(rows: Sequence[Sequence[int]], pad_id: int, *, side: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and mask, each (rows, longest), padded on the given side."""
    width = max(len(row) for row in rows)
    gaps = [width - len(row) for row in rows]
    if side == "left":
        ids = [[pad_id] * gap + list(row) for row, gap in zip(rows, gaps, strict=True)]
        mask = [[0] * gap + [1] * len(row) for row, gap in zip(rows, gaps, strict=True)]
    else:
        ids = [list(row) + [pad_id] * gap for row, gap in zip(rows, gaps, strict=True)]
        mask = [[1] * len(row) + [0] * gap for row, gap in zip(rows, gaps, strict=True)]
    # said outright, for torch makes rows that are all empty float
    return (
        torch.tensor(ids, dtype=torch.long, device=device),
        torch.tensor(mask, dtype=torch.long, device=device),
    )


def positions(mask: Tensor) -> Tensor:
    """Position ids of masked rows: each row counts from 0 at its first real token."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def last(columns: int) -> Tensor:
    """For `logits_to_keep`: the last columns.

    As an index and not as a number, for a number makes transformers hand the head a strided slice, which torch then
    multiplies row by row, three times slower.
    """
    return torch.arange(-columns, 0)
