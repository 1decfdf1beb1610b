"""Credentials in texts: taken out before a text is logged, raised, kept or hashed."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"
"""Stands in place of a credential."""

_NAMES = re.compile(
    r"token|key|sig|secret|passw|pwd|auth|cred|session|jwt|policy|bearer|^(?:pass|pw|pin|code|sas|s[aeiprtv]|se|hmac)$",
    re.IGNORECASE,
)
"""Names of parameters that hold credentials: `access_token`, `api-key`, `X-Amz-Signature`, Azure's `sig` ..."""

_HARMLESS = re.compile(r"max_|_tokens|tokenizer|keyword|^(?:max|stop|num|min)", re.IGNORECASE)
"""Names that look like one and hold none: `max_tokens`."""

_USER = re.compile(r"(?<=://)[^\s/?#\"'<>]{1,4096}@")
_PARAMETER = re.compile(r"(?P<before>[?&;#])(?P<name>[^\s=&;#?\"'<>]{1,200})=(?P<value>[^\s&;#\"'<>]+)")
_BEARER = re.compile(r"\b(?P<kind>bearer)\s+[\w.~+/=-]{8,}", re.IGNORECASE)


def redacted(text: str) -> str:
    """Return a text without the credentials of the addresses in it.

    Gone are user and password before a host, values of parameters whose names say that they are secret (signed
    addresses of S3, Google and Azure among them), and bearer tokens. A key in the path of an address cannot be told.
    """
    text = _USER.sub(f"{HIDDEN}@", text)
    text = _PARAMETER.sub(_hidden, text)
    return _BEARER.sub(rf"\g<kind> {HIDDEN}", text)


def without_secrets(value: Any) -> Any:
    """Return plain values with credentials hidden: in texts, and under names such as `key` or `token` in mappings."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {
            name: HIDDEN if each and isinstance(each, str) and is_secret(str(name)) else without_secrets(each)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(map(without_secrets, value)) if type(value) in (list, tuple) else value
    return value


def is_secret(name: str) -> bool:
    """Return whether a parameter's name says that its value is a credential."""
    return bool(_NAMES.search(name)) and not _HARMLESS.search(name)


class WithoutSecrets(logging.Filter):
    """Takes credentials out of every record of a log handler, as the last line of defence.

    Traceback texts are of the exception, which a formatter writes; a formatter may call `redacted` on what it made.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record's message; every record passes."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            return True  # a wrong number of arguments: logging reports it itself
        clean = redacted(message)
        if clean != message:
            record.msg, record.args = clean, ()
        return True


def _hidden(found: re.Match[str]) -> str:
    name, value = unquote(found["name"]), found["value"]
    # of the sentence that the address stands in
    end = value[len(value.rstrip("),.:]")) :]
    return f"{found['before']}{found['name']}={HIDDEN + end if is_secret(name) else value}"
