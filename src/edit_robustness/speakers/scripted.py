"""A speaker that follows a script: the default tester, which needs no model and says the same in every run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random

from edit_robustness.records import Turn
from edit_robustness.text.writable import writable

Script = Sequence[Sequence[str]]
"""For each turn in order the lines of which one is said; ``{subject}`` and the like are filled from the brief."""

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
"""A tester's turns: an open question, reasons, other words, doubt that names no object, a summary."""

FOLLOW_UP: Script = (
    ("{question}",),
    ("Could you tell me more about that?", "Please go on.", "What else can you say about it?"),
)
"""What is said in place of a tester's turn that may not be said."""

_FIELD = re.compile(r"^(\w[\w ]*): (.+)$", re.MULTILINE)
_SLOT = re.compile(r"\{(\w+)\}")


def fields(brief: str) -> dict[str, str]:
    """What a brief says in lines such as ``Other words: ...``, by names in small letters (``other_words``)."""
    return {name.lower().replace(" ", "_"): value.strip() for name, value in _FIELD.findall(brief)}


class ScriptedSpeaker:
    """Says the lines of a script, turn by turn; after the last turn it goes on with the second.

    Args:
        script: For each turn its lines; slots in braces are filled from the lines ``Name: value`` of the system turn.
        seed: Draws one of a turn's lines, for each brief and turn by itself.
        name: What it is called in tables.

    Raises:
        ValueError: If a turn of the script has no lines.
    """

    def __init__(self, script: Script = TESTER, *, seed: int = 0, name: str = "script"):
        if not script or not all(script):
            raise ValueError(f"{name}: a script needs one turn at least, and every turn a line")
        self._script, self._seed = [[writable(line) for line in lines] for lines in script], seed
        self.name = name
        self.fingerprint = json.dumps(["scripted", seed, self._script])

    def replies(self, conversations: Sequence[Sequence[Turn]]) -> list[str]:
        """See `Speaker.replies`.

        Raises:
            ValueError: If a line has a slot that the brief says nothing about.
        """
        return [self._reply(turns) for turns in conversations]

    def _reply(self, turns: Sequence[Turn]) -> str:
        brief = next((turn.text for turn in turns if turn.role == "system"), "")
        number = sum(turn.role == "assistant" for turn in turns)
        line = Random(f"{self._seed}/{brief}/{number}").choice(self._lines(number))
        known = fields(brief)
        if lacking := [slot for slot in _SLOT.findall(line) if slot not in known]:
            raise ValueError(f"{self.name}: the brief has no `{lacking[0]}` for the line `{line}`")
        return _SLOT.sub(lambda slot: known[slot[1]], line)

    def _lines(self, number: int) -> Sequence[str]:
        if number < len(self._script):
            return self._script[number]
        return self._script[min(1, len(self._script) - 1) + (number - 1) % max(1, len(self._script) - 1)]
