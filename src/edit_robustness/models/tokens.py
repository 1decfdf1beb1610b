"""From text to token ids: prompts, targets that follow them, the end of the subject, padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import torch
from torch import Tensor

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.thinking import OFF
from edit_robustness.records import SLOT, Turn, fill
from edit_robustness.text.joining import join_prompt

TODAY = datetime(2024, 7, 26)
"""The date that chat templates write: the default of the templates of Llama 3."""

_FORMS = "".join(f"|replace('%{form}','{TODAY.strftime(f'%{form}')}')" for form in "aAbBdeHIjmMpSyY")
_CLOCK = f"{{% macro strftime_now(form) %}}{{{{ form{_FORMS} }}}}{{% endmacro %}}"
"""A macro put before a template that uses the date; transformers allows no other clock in a template."""


@dataclass(frozen=True)
class RenderedPrompt:
    """Text as the model reads it.

    Attributes:
        text: The text.
        special: Whether the tokenizer adds its own start token to it.
        join: Text between it and its continuation; None for the usual one (`text.joining`).
    """

    text: str
    special: bool = True
    join: str | None = None


def render_conversation(lm: LanguageModel, turns: Sequence[Turn]) -> RenderedPrompt:
    """Render a conversation for the assistant's next turn, by the model's chat template or else as `User:` lines.

    Thinking is switched off if the template can. Otherwise the text may end in an open thinking part
    (`models.thinking`). A template that writes today's date writes `TODAY`, because else answers would change from day
    to day.
    """
    if lm.tokenizer.chat_template is None:
        lines = [f"{turn.role.capitalize()}: {turn.text}" for turn in turns]
        return RenderedPrompt("\n".join([*lines, "Assistant:"]))
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    template = lm.tokenizer.chat_template
    date_options = {"chat_template": f"{_CLOCK}{template}"} if "strftime_now" in template else {}
    text = lm.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **date_options, **OFF)
    return RenderedPrompt(text, special=False)


def prompt_ids(lm: LanguageModel, prompt: RenderedPrompt) -> list[int]:
    """Return the token ids of a prompt; never empty (a single start token stands for the empty text)."""
    ids = lm.encode(prompt.text, special=prompt.special)
    return ids or [lm.tokenizer.bos_token_id or lm.pad_id]


def target_ids(lm: LanguageModel, prompt: RenderedPrompt, target: str) -> list[int]:
    """Return the token ids of a target after a prompt.

    They are joined as a native text would be (`text.joining`), unless the prompt says how. Both are tokenized together,
    so that the ids are those that the model would generate. If that changes the prompt's own last token, the target is
    tokenized by itself.

    Raises:
        ValueError: If the target is empty.
    """
    if not target.strip():
        raise ValueError(f"an empty target after the prompt `{prompt.text[-60:]}`")
    text = join_prompt(prompt.text, target, prompt.join)
    before = prompt_ids(lm, prompt)
    all_ids = lm.encode(text, special=prompt.special)
    if all_ids[: len(before)] == before and len(all_ids) > len(before):
        return all_ids[len(before) :]
    return lm.encode(text[len(prompt.text) :], special=False)


class SubjectNotFound(ValueError):
    """No token of a filled template contains the end of the subject."""


def subject_end(lm: LanguageModel, template: str, subject: str) -> tuple[list[int], int]:
    """Return the ids of a filled template, and the index of the token that contains the subject's last character.

    A subject's tokens depend on the text before it, so the index is that of this text and of no other.

    Args:
        lm: The model.
        template: Text with ``{}`` as the slot of the subject.
        subject: The subject.

    Raises:
        ValueError: If the template has no slot for the subject.
        SubjectNotFound: If no token contains the subject's last character.
    """
    if SLOT not in template:
        raise ValueError(f"the template `{template}` has no slot {SLOT} for the subject `{subject}`")
    last_character = template.index(SLOT) + len(subject) - 1
    ids, offsets = lm.encode_with_offsets(fill(template, subject))
    places = [i for i, (start, end) in enumerate(offsets) if start <= last_character < end]
    if not places:
        raise SubjectNotFound(f"no token contains the end of the subject `{subject}` in `{template}`")
    return ids, places[-1]


def pad(rows: Sequence[Sequence[int]], pad_id: int, *, side: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pad rows on the given side, and return ids and mask, each (rows, longest)."""
    width = max(len(row) for row in rows)
    gaps = [width - len(row) for row in rows]
    if side == "left":
        ids = [[pad_id] * gap + list(row) for row, gap in zip(rows, gaps, strict=True)]
        mask = [[0] * gap + [1] * len(row) for row, gap in zip(rows, gaps, strict=True)]
    else:
        ids = [list(row) + [pad_id] * gap for row, gap in zip(rows, gaps, strict=True)]
        mask = [[1] * len(row) + [0] * gap for row, gap in zip(rows, gaps, strict=True)]
    # explicit dtype, because torch makes a tensor of empty rows float
    return (
        torch.tensor(ids, dtype=torch.long, device=device),
        torch.tensor(mask, dtype=torch.long, device=device),
    )


def positions(mask: Tensor) -> Tensor:
    """Compute the position ids of masked rows: each row counts from 0 at its first real token."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def last(columns: int) -> Tensor:
    """Return an index of the last columns, for `logits_to_keep`.

    It is an index and not a number, because a number makes transformers pass a strided slice to the head, which torch
    multiplies row by row, three times slower.
    """
    return torch.arange(-columns, 0)
