"""A placeholder for a speaker that is not configured: it can be loaded, but raises an error when used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from edit_robustness.records import Turn


class SpeakerNotConfigured(RuntimeError):
    """A speaker that is not configured in the catalog was used."""


class UnsetSpeaker:
    """A speaker that is not configured.

    Args:
        name: Name in tables.
    """

    def __init__(self, name: str = "nobody"):
        self.name = name
        self.fingerprint = "unset"

    def replies(self, conversations: Sequence[Sequence[Turn]]) -> NoReturn:
        """Raise an error that describes how to configure the speaker.

        Raises:
            SpeakerNotConfigured: Always.
        """
        raise SpeakerNotConfigured(
            f"speaker `{self.name}` is not configured: set this entry in conf/local/catalog.yml to "
            "`kind: local` with the `model:` of an entry <model>.language_model, or to `kind: endpoint` with `url:` "
            "and `model:`; see docs/how-to/conversation.md"
        )
