"""Language model as a judge of answers: a further protocol besides the rule that matches names.

The judge sees the question, the answer and both objects under neutral letters, and replies with one letter. A reply
that is not exactly one letter is not interpreted. It counts as unreadable.
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
    """Select the answers that a judge is asked about: those of probes whose answer the edit should change."""
    return answers["family"].isin(("edit", "portability"))


def options(new: str, old: str) -> dict[str, tuple[str, str]]:
    """Return for each letter the verdict that it stands for, and its wording.

    Objects are sorted by name, so that a judge with a preference for the first letter favours neither. An unknown
    (empty) old object has no letter.
    """
    objects = sorted((name, verdict) for name, verdict in ((new, "new"), (old, "old")) if name)
    neither_wording = "something else, several of these, or nothing"
    choices = [*((verdict, name) for name, verdict in objects), ("neither", neither_wording)]
    return dict(zip("ABC", choices, strict=False))


def conversation(prompt: str, text: str, new: str, old: str) -> tuple[Turn, ...]:
    """Return the messages that show one answer to the judge.

    Args:
        prompt: The prompt of the probe.
        text: The answer.
        new: The new object.
        old: The old object; empty if it is unknown.
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
    """Return one conversation with the judge per answer, in order."""
    rows = answers[["prompt", "text", "target_new", "target_true"]].itertuples(index=False)
    return [conversation(*row) for row in rows]


def read_reply(reply: str, new: str, old: str) -> str:
    """Return ``new``, ``old`` or ``neither``; empty if the reply is not exactly one of the letters on offer."""
    match = _REPLY.fullmatch(reply)
    return options(new, old).get(match.group(1), ("", ""))[0] if match else ""


def judgements_table(answers: pd.DataFrame, replies: Sequence[str], judge: str) -> pd.DataFrame:
    """Build a table with the judge's reply to each answer and its verdict, with `JUDGEMENT_COLUMNS`."""
    objects = answers[["target_new", "target_true"]].itertuples(index=False)
    verdicts = [read_reply(reply, *pair) for reply, pair in zip(replies, objects, strict=True)]
    table = answers[["model", "method", "probe_id"]].assign(judge=judge, reply=list(replies), judged=verdicts)
    return table.astype({"reply": str, "judged": str}).reset_index(drop=True)
