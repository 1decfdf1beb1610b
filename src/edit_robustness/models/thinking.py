"""Thinking parts of reasoning models: where they begin and end, in prompts and in generated text.

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
"""Marks that open a thinking part, with the marks that close them."""

LIMIT = 512
"""Default of the maximum number of tokens of a thinking part."""

OFF: Mapping[str, bool] = {"enable_thinking": False, "thinking": False}
"""Variables by which chat templates switch thinking off; a template without them is not affected."""


@dataclass(frozen=True)
class Thinking:
    """How a row may think before its answer.

    Attributes:
        limit: Maximum number of tokens of the thinking part.
        end_mark: The mark that ends the part that the prompt leaves open; empty if the answer itself may open one.
    """

    limit: int
    end_mark: str = ""


def may_think(template: object) -> bool:
    """Return whether a model may think before its answer, because its chat template contains a mark of such a part."""
    text = str(template or "")
    return any(mark in text for pair in MARKS.items() for mark in pair)


def left_open(prompt: str) -> str:
    """Return the closing mark of the thinking part that a prompt ends in; empty if it leaves none open."""
    text = prompt.rstrip()
    return next((end_mark for start_mark, end_mark in MARKS.items() if text.endswith(start_mark)), "")


def close_thinking(prompt: str) -> str:
    """Return a prompt with an empty thinking part if it leaves one open.

    Templates write such a part to switch thinking off.
    """
    if not (end_mark := left_open(prompt)):
        return prompt
    return f"{prompt.rstrip()}\n\n{end_mark}\n\n"


def find_end_mark(text: str) -> str | None:
    """Return what closes the thinking part that a generated text begins with.

    Returns:
        The closing mark; empty while the text is too short to tell; None if it begins with no opening mark.
    """
    start = text.lstrip()
    for start_mark, end_mark in MARKS.items():
        if start.startswith(start_mark):
            return end_mark
    return "" if any(start_mark.startswith(start) for start_mark in MARKS) else None


def without_marks(part: str) -> str:
    """Return a thinking part without the marks around it."""
    text = part.strip()
    for start_mark, end_mark in MARKS.items():
        text = text.removeprefix(start_mark).split(end_mark, 1)[0]
    return text.strip()


def answer_of(text: str) -> str:
    """Return a full reply without the thinking part before it; empty if that part never ends.

    Its opening mark may be missing: if the template writes it, servers do not repeat it.
    """
    for end_mark in MARKS.values():
        if end_mark in text:
            return text.split(end_mark, 1)[1].lstrip()
    return "" if find_end_mark(text) else text
