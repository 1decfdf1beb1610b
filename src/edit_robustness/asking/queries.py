"""The part of a prompt that in-context edits read to choose their text: what the user says.

In a conversation these are all turns of the user. The last turn alone may name its subject as "this person" only. The
model's own turns are left out, so that the text does not depend on what the model answered, and its length is known
before anything is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from edit_robustness.records import Probe, Turn


def probe_query(probe: Probe) -> str:
    """Return the text of a probe for `Edit.text_before`: the text to continue, or all turns of the user."""
    return dialogue_query([*probe.previous_turns, Turn("user", probe.text)]) if probe.conversation else probe.text


def dialogue_query(turns: Sequence[Turn]) -> str:
    """Return the text of a conversation for `Edit.text_before`: all turns of the user, each on its own line."""
    return "\n".join(turn.text for turn in turns if turn.role == "user")
