"""What a model thinks before it answers: where such a part begins and ends, in prompts and in generated text.

Chat templates are asked to switch thinking off. Some cannot: they end in an opening mark, or the model writes one by
itself. Then the part is generated under a limit of its own and cut off before anything is scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MARKS: Mapping[str, str] = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<reasoning>": "</reasoning>",
    "[THINK]": "[/THINK]",
    "<|START_THINKING|>": "<|END_THINKING|>",
}
"""Marks that open a thinking part, and what closes each."""

LIMIT = 512
"""Most tokens of a thinking part, where no setting says otherwise."""

OFF: Mapping[str, bool] = {"enable_thinking": False, "thinking": False}
"""Variables by which chat templates switch thinking off; a template that does not know them is as it was."""


@dataclass(frozen=True)
class Thinking:
    """How a row may think before its answer.

    Attributes:
        limit: Most tokens of the thinking part.
        closing: What ends the part that the prompt leaves open; empty if the answer itself may open one.
    """

    limit: int
    closing: str = ""


def may_think(template: object) -> bool:
    """Return whether a model may think before it answers: its chat template knows a mark of such a part."""
    text = str(template or "")
    return any(mark in text for pair in MARKS.items() for mark in pair)


def left_open(prompt: str) -> str:
    """Return the closing mark of the thinking part that a prompt ends in; empty if it leaves none open."""
    text = prompt.rstrip()
    return next((closing for opening, closing in MARKS.items() if text.endswith(opening)), "")


def closed(prompt: str) -> str:
    """Return a prompt with an empty thinking part where it leaves one open, as templates write one to switch it off."""
    if not (closing := left_open(prompt)):
        return prompt
    return f"{prompt.rstrip()}\n\n{closing}\n\n"


def opened(text: str) -> str | None:
    """Return what closes the thinking part that a generated text begins with.

    Returns:
        The closing mark; empty while the text is too short to tell; None if it begins with no opening mark.
    """
    begun = text.lstrip()
    for opening, closing in MARKS.items():
        if begun.startswith(opening):
            return closing
    return "" if any(opening.startswith(begun) for opening in MARKS) else None


def without_marks(thinking: str) -> str:
    """Return a thinking part without the marks around it."""
    text = thinking.strip()
    for opening, closing in MARKS.items():
        text = text.removeprefix(opening).split(closing, 1)[0]
    return text.strip()


def answer_of(text: str) -> str:
    """Return a whole reply without the thinking part before it; empty if that part never ends.

    Its opening mark may be missing: servers of models whose template writes it do not repeat it.
    """
    for closing in MARKS.values():
        if closing in text:
            return text.split(closing, 1)[1].lstrip()
    return "" if opened(text) else text
