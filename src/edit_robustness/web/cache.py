"""Answers of servers on disk, so that a rerun asks nothing twice and can go without a network.

One JSON file a request, named by all that changes the answer. What could not be had is kept too, with its reason: a
rerun asks for it again, and one without a network says the same of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edit_robustness.storage import write_atomically
from edit_robustness.text.secrets import redacted, without_secrets
from edit_robustness.web.transport import NoAnswer, Reader, Request, Response, T, Transport, whole

logger = logging.getLogger(__name__)


class Cached(Transport):
    """A cache before a transport.

    Args:
        folder: Where the files are; it need not be there.
        live: Who is asked for what is not in the folder; None to stay offline.
    """

    def __init__(self, folder: Path, live: Transport | None):
        self._folder, self._live = folder, live

    def send(self, request: Request, read: Reader[T]) -> T:
        """See `Transport.send`."""
        path = self._folder / f"{key(request)}.json"
        entry = _entry(path)
        if "status" in entry:
            try:
                return read(Response(entry["status"], entry["text"]))
            except NoAnswer:
                # another reader took it; ask again where that is possible
                if self._live is None:
                    raise
        if self._live is None:
            raise NoAnswer(entry.get("failure", "it is not in the cache, and `offline` is true"))
        return self._asked(self._live, request, read, path)

    def _asked(self, live: Transport, request: Request, read: Reader[T], path: Path) -> T:
        try:
            response = live.send(request, whole)
            value = read(response)
        except NoAnswer as failure:
            _write(path, request, {"failure": str(failure)})
            raise
        _write(path, request, {"status": response.status, "text": response.text})
        return value


def key(request: Request) -> str:
    """A hash of all that changes the answer to a request; credentials, also those in its address, do not."""
    return hashlib.sha256(json.dumps(_plain(request), sort_keys=True).encode()).hexdigest()


def _plain(request: Request) -> dict[str, Any]:
    params = without_secrets(dict(request.params))
    return {"url": redacted(request.url), "params": params, "body": request.body}


def _entry(path: Path) -> dict[str, Any]:
    """What is kept of a request; empty where nothing is, or nothing sound."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        entry = None
    if isinstance(entry, dict):
        answered = isinstance(entry.get("status"), int) and isinstance(entry.get("text"), str)
        if answered or isinstance(entry.get("failure"), str):
            return entry
    logger.warning("%s is no entry of the cache, and is passed over", path)
    return {}


def _write(path: Path, request: Request, outcome: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {**_plain(request), "asked": datetime.now(UTC).isoformat(timespec="seconds"), **outcome}
    # half a surrogate pair in a body is written as the escape that JSON has for it
    content = json.dumps(entry, ensure_ascii=False, indent=1).encode("utf-8", errors="backslashreplace")
    write_atomically(path, lambda part: part.write_bytes(content))
