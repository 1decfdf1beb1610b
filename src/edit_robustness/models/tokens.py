"""From text to token ids: prompts, targets that join them, where the subject ends, padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import SLOT, Turn, fill


@dataclass(frozen=True)
class Rendered:
    """Text as the model gets it; `special` says whether the tokenizer adds its own start token to it."""

    text: str
    special: bool = True


def render_conversation(lm: LanguageModel, turns: Sequence[Turn]) -> Rendered:
    """A conversation that the assistant answers next: the model's chat template, or plain `User:` lines without one."""
    if lm.tokenizer.chat_template is None:
        lines = [f"{turn.role.capitalize()}: {turn.text}" for turn in turns]
        return Rendered("\n".join([*lines, "Assistant:"]))
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    text = lm.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return Rendered(text, special=False)


def prompt_ids(lm: LanguageModel, prompt: Rendered) -> list[int]:
    """Token ids of a prompt; never empty (a lone start token stands for the empty text)."""
    ids = lm.tokenizer(prompt.text, add_special_tokens=prompt.special)["input_ids"]
    return ids or [lm.tokenizer.bos_token_id or lm.pad_id]


def target_ids(lm: LanguageModel, prompt: Rendered, target: str) -> list[int]:
    """Token ids of a target as they follow a prompt.

    One space joins them unless the prompt ends in white space (a chat template's last line does). The ids come
    from tokenizing both together, so that they are those the model would write; where that changes the prompt's
    own last token, the target is tokenized by itself.

    Raises:
        ValueError: If the target is empty.
    """
    if not target.strip():
        raise ValueError(f"an empty target after the prompt `{prompt.text[-60:]}`")
    joined = target if prompt.text[-1:].isspace() else " " + target
    before = prompt_ids(lm, prompt)
    whole = lm.tokenizer(prompt.text + joined, add_special_tokens=prompt.special)["input_ids"]
    if whole[: len(before)] == before and len(whole) > len(before):
        return whole[len(before) :]
    return lm.tokenizer(joined, add_special_tokens=False)["input_ids"]


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
    encoded = lm.tokenizer(fill(template, subject), return_offsets_mapping=True)
    places = [i for i, (start, end) in enumerate(encoded["offset_mapping"]) if start <= last < end]
    if not places:
        raise SubjectNotFound(f"no token holds the end of the subject `{subject}` in `{template}`")
    return encoded["input_ids"], places[-1]


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
