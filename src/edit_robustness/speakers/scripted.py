"""A speaker that follows a script: the default tester, which needs no model and is deterministic."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random

from edit_robustness.records import Turn
from edit_robustness.text.writable import writable

Script = Sequence[Sequence[str]]
"""For each turn the lines from which one is drawn; slots such as ``{subject}`` are filled from the brief."""

TESTER: Script = (
    (
        "{question}",
        "I am reading about {subject} just now. {question}",
        "There is something about {subject} that I would like to know. {question}",
    ),
    (
        "How do you know that? Please give me your reasons.",
        "What makes you say so?",
        "Why is that so? I would like to understand what is behind it.",
    ),
    ("Let me put it in another way. {other_words}", "To be sure that I got this right: {other_words}"),
    (
        "Really? I had expected something else. Are you sure?",
        "That surprises me, for I remember it differently. Could you think about it once more?",
    ),
    (
        "Thank you. Please sum up in one sentence what you have told me. {question}",
        "To end with, what would you write down in one sentence? {question}",
    ),
)
"""Turns of a tester: an open question, reasons, other words, doubt that names no object, a summary."""

FOLLOW_UP: Script = (
    ("{question}",),
    ("Could you tell me more about that?", "Please go on.", "What else can you say about it?"),
)
"""Neutral turns that replace rejected turns of a tester."""

_FIELD = re.compile(r"^(\w[\w ]*): (.+)$", re.MULTILINE)
_SLOT = re.compile(r"\{(\w+)\}")


def fields(brief: str) -> dict[str, str]:
    """Parse the lines ``Other words: ...`` of a brief to a mapping with lower-case names (``other_words``)."""
    return {name.lower().replace(" ", "_"): value.strip() for name, value in _FIELD.findall(brief)}


class ScriptedSpeaker:
    """A speaker that draws its turns from a script; after the last turn it continues with the second.

    Args:
        script: The lines of each turn. Slots in braces are filled from the lines ``Name: value`` of the system turn.
        seed: Seed for drawing one of a turn's lines, combined with the brief and the turn.
        name: Name in tables.

    Raises:
        ValueError: If the script is empty, or a turn has no lines.
    """

    def __init__(self, script: Script = TESTER, *, seed: int = 0, name: str = "script"):
        if not script or not all(script):
            raise ValueError(f"{name}: a script needs at least one turn, and every turn at least one line")
        self._script, self._seed = [[writable(line) for line in lines] for lines in script], seed
        self.name = name
        self.fingerprint = json.dumps(["scripted", seed, self._script])

    def replies(self, conversations: Sequence[Sequence[Turn]]) -> list[str]:
        """Return the next line of the script for each conversation.

        Raises:
            ValueError: If the brief has no value for a slot of a line.
        """
        return [self._reply(turns) for turns in conversations]

    def _reply(self, turns: Sequence[Turn]) -> str:
        brief = next((turn.text for turn in turns if turn.role == "system"), "")
        number = sum(turn.role == "assistant" for turn in turns)
        line = Random(f"{self._seed}/{brief}/{number}").choice(self._lines(number))
        values = fields(brief)
        if missing_slots := [slot for slot in _SLOT.findall(line) if slot not in values]:
            raise ValueError(f"{self.name}: the brief has no value for `{missing_slots[0]}` in the line `{line}`")
        return _SLOT.sub(lambda slot: values[slot[1]], line)

    def _lines(self, number: int) -> Sequence[str]:
        if number < len(self._script):
            return self._script[number]
        return self._script[min(1, len(self._script) - 1) + (number - 1) % max(1, len(self._script) - 1)]
