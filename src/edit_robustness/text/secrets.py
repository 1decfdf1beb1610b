"""Removal of credentials from texts before they are logged, raised, stored or hashed."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"
"""Replaces a credential."""

_NAMES = re.compile(
    r"token|key|sig|secret|passw|pwd|auth|cred|session|jwt|policy|bearer|^(?:pass|pw|pin|code|sas|s[aeiprtv]|se|hmac)$",
    re.IGNORECASE,
)
"""Names of parameters that hold credentials: `access_token`, `api-key`, `X-Amz-Signature`, Azure's `sig` ..."""

_HARMLESS = re.compile(r"max_|_tokens|tokenizer|keyword|^(?:max|stop|num|min)", re.IGNORECASE)
"""Names that look like those of credentials but are not: `max_tokens`."""

_USER = re.compile(r"(?<=://)[^\s/?#\"'<>]{1,4096}@")
_PARAMETER = re.compile(r"(?P<before>[?&;#])(?P<name>[^\s=&;#?\"'<>]{1,200})=(?P<value>[^\s&;#\"'<>]+)")
_BEARER = re.compile(r"\b(?P<kind>bearer)\s+[\w.~+/=-]{8,}", re.IGNORECASE)


def redact(text: str) -> str:
    """Return a text without the credentials of the addresses in it.

    It removes user and password before a host, values of parameters whose names say that they are secret (signed
    addresses of S3, Google and Azure among them), and bearer tokens. A key in the path of an address cannot be
    recognised.
    """
    text = _USER.sub(f"{HIDDEN}@", text)
    text = _PARAMETER.sub(_hide, text)
    return _BEARER.sub(rf"\g<kind> {HIDDEN}", text)


def without_secrets(value: Any) -> Any:
    """Return JSON values with credentials hidden: in texts, and under names such as `key` or `token` in mappings."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {
            name: HIDDEN if item and isinstance(item, str) and is_secret(str(name)) else without_secrets(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(map(without_secrets, value)) if type(value) in (list, tuple) else value
    return value


def is_secret(name: str) -> bool:
    """Return whether a parameter's name says that its value is a credential."""
    return bool(_NAMES.search(name)) and not _HARMLESS.search(name)


class WithoutSecrets(logging.Filter):
    """Removes credentials from every record of a log handler, as the last line of defence.

    Traceback texts are not covered, since a formatter writes them; a formatter may call `redact` on its output.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record's message; every record passes."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            return True  # a wrong number of arguments, which logging itself reports
        clean = redact(message)
        if clean != message:
            record.msg, record.args = clean, ()
        return True


def _hide(match: re.Match[str]) -> str:
    name, value = unquote(match["name"]), match["value"]
    # punctuation of the sentence that contains the address
    end = value[len(value.rstrip("),.:]")) :]
    return f"{match['before']}{match['name']}={HIDDEN + end if is_secret(name) else value}"
