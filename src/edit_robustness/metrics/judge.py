"""A language model as a judge of answers: one more protocol, beside the rule that reads names.

The judge sees the question, the answer and both objects, under letters that say nothing, and replies with one letter.
A reply that is not exactly that is not guessed at: it stays unread, and is counted as such.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from edit_robustness.records import Turn

JUDGEMENT_COLUMNS = ["model", "method", "probe_id", "judge", "reply", "judged"]
_REPLY = re.compile(r"\W*([ABC])\W*")

_INSTRUCTIONS = (
    "You read what somebody answered and say what the answer claims. Judge the claim only, not whether it is true. "
    "Reply with one letter and nothing else."
)


def is_judged(answers: pd.DataFrame) -> pd.Series:
    """Which answers a judge is asked about: those that the edit shall change, and that name an object to compare."""
    return answers["family"].isin(("edit", "portability"))


def options(new: str, old: str) -> dict[str, tuple[str, str]]:
    """For each letter the verdict that it stands for, and its wording.

    Objects stand by alphabet, so that a judge with a liking for the first letter favours neither; an old object that
    is not known (empty) has no letter.
    """
    known = sorted((name, verdict) for name, verdict in ((new, "new"), (old, "old")) if name)
    neither = "something else, several of these, or nothing"
    listed = [*((verdict, name) for name, verdict in known), ("neither", neither)]
    return dict(zip("ABC", listed, strict=False))


def conversation(prompt: str, text: str, new: str, old: str) -> tuple[Turn, ...]:
    """What the judge is shown of one answer.

    Args:
        prompt: What was asked.
        text: What was said.
        new: The new object.
        old: The old one; empty where it is not known.
    """
    lines = [
        f"Prompt: {prompt}",
        f"Answer: {text.strip() or '(nothing)'}",
        "",
        "What does the answer give?",
        *(f"{letter}: {wording}" for letter, (_, wording) in options(new, old).items()),
        "",
        "Letter:",
    ]
    return (Turn("system", _INSTRUCTIONS), Turn("user", "\n".join(lines)))


def conversations(answers: pd.DataFrame) -> list[tuple[Turn, ...]]:
    """One conversation for each answer, in order."""
    shown = answers[["prompt", "text", "target_new", "target_true"]].itertuples(index=False)
    return [conversation(*row) for row in shown]


def read_reply(reply: str, new: str, old: str) -> str:
    """``new``, ``old`` or ``neither``; empty where the reply is not exactly one letter of those that were offered."""
    found = _REPLY.fullmatch(reply)
    return options(new, old).get(found.group(1), ("", ""))[0] if found else ""


def judgements_table(answers: pd.DataFrame, replies: Sequence[str], judge: str) -> pd.DataFrame:
    """`JUDGEMENT_COLUMNS`: what the judge replied to each answer, and how it was read."""
    objects = answers[["target_new", "target_true"]].itertuples(index=False)
    read = [read_reply(reply, *pair) for reply, pair in zip(replies, objects, strict=True)]
    table = answers[["model", "method", "probe_id"]].assign(judge=judge, reply=list(replies), judged=read)
    return table.astype({"reply": str, "judged": str}).reset_index(drop=True)
