"""A place in the catalog where nobody stands yet: it can be loaded, and says how to fill it once it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from edit_robustness.records import Turn


class NobodySpeaks(RuntimeError):
    """A speaker that the catalog leaves open was asked to speak."""


class UnsetSpeaker:
    """Nobody.

    Args:
        name: What it is called in tables.
    """

    def __init__(self, name: str = "nobody"):
        self.name = name
        self.fingerprint = "unset"

    def replies(self, conversations: Sequence[Sequence[Turn]]) -> NoReturn:
        """Refuse, and say what to do.

        Raises:
            NobodySpeaks: Always.
        """
        raise NobodySpeaks(
            f"`{self.name}` is not set: give this entry of the catalog, in conf/local/catalog.yml, "
            "`kind: local` with the `model:` of an entry <model>.language_model, or `kind: endpoint` with `url:` and "
            "`model:`; see docs/how-to/conversation.md"
        )
