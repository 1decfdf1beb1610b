"""Fingerprints: short hashes of all that a stored item is computed from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any


def fingerprint(*parts: object) -> str:
    """Compute a short hash of JSON values, dataclasses and texts: equal inputs have equal hashes."""
    text = json.dumps(parts, sort_keys=True, default=_to_plain, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _to_plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"cannot fingerprint {type(value).__name__}")
