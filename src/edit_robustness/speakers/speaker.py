"""The interface of all speakers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edit_robustness.records import Turn


class Speaker(Protocol):
    """A source of replies: a script, a local language model, or an endpoint.

    Attributes:
        name: Name in tables.
        fingerprint: Identifies everything that determines its replies (model, script, decoding), so that they can be
            stored and reused.
    """

    name: str
    fingerprint: str

    def replies(self, conversations: Sequence[Sequence[Turn]]) -> list[str]:
        """Return the next turn of each conversation.

        Args:
            conversations: Each ends with a user turn. A first turn of role ``system`` contains instructions.

        Returns:
            One stripped text per conversation, in order.
        """
        ...
