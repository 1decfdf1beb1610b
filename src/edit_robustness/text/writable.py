"""Texts that can be written as UTF-8: without half of a surrogate pair."""

from __future__ import annotations

import re

_HALF = re.compile("[\ud800-\udfff]")


def writable(text: str) -> str:
    """Return a text that can be written as UTF-8: each half of a surrogate pair without the other becomes U+FFFD.

    JSON may contain such halves (as the escape for U+D83D alone), and a reply that was cut inside an emoji has one.
    """
    if not _HALF.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
