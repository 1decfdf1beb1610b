"""What every speaker can do, whoever is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edit_robustness.records import Turn


class Speaker(Protocol):
    """Somebody who answers: a script, a local language model, or one behind an endpoint.

    Attributes:
        name: What it is called in tables.
        fingerprint: Of all that its replies follow from (model, script, decoding), so that they can be kept.
    """

    name: str
    fingerprint: str

    def replies(self, conversations: Sequence[Sequence[Turn]]) -> list[str]:
        """The next turn of each conversation.

        Args:
            conversations: Each ends with a user's turn; a first turn of role ``system`` says how to answer.

        Returns:
            One text for each conversation, stripped, in order.
        """
        ...
