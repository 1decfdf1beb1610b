"""A cache of server responses on disk, so that no request is repeated and a second run works offline.

Each request has one JSON file, named by a hash of all that changes the response. A failure is stored too, with its
reason. A second run repeats a failed request. If it is offline, it reports the stored reason.
"""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edit_robustness.storage import write_atomically
from edit_robustness.text.secrets import redact, without_secrets
from edit_robustness.web.transport import Reader, Request, RequestFailed, Response, T, Transport, accept_any

logger = logging.getLogger(__name__)


class ResponseCache(Transport):
    """A transport that uses a cache.

    Args:
        folder: Folder of the files. It is created if necessary.
        live: Transport for requests that are not in the cache; None to stay offline.
    """

    def __init__(self, folder: Path, live: Transport | None):
        self._folder, self._live = folder, live

    def send(self, request: Request, reader: Reader[T]) -> T:
        """Return the value of a request from the cache, or send the request and store the response.

        Raises:
            RequestFailed: If neither the cache nor the live transport has a response that `reader` can use.
        """
        path = self._folder / f"{key(request)}.json"
        entry = _entry(path)
        if "status" in entry:
            try:
                return reader(Response(entry["status"], entry["text"]))
            except RequestFailed:
                # the response was stored for another reader; send the request again if possible
                if self._live is None:
                    raise
        if self._live is None:
            raise RequestFailed(entry.get("failure", "it is not in the cache, and `offline` is true"))
        return self._ask_live(self._live, request, reader, path)

    def _ask_live(self, live: Transport, request: Request, reader: Reader[T], path: Path) -> T:
        try:
            response = live.send(request, accept_any)
            value = reader(response)
        except RequestFailed as failure:
            _write(path, request, {"failure": str(failure)})
            raise
        _write(path, request, {"status": response.status, "text": response.text})
        return value


def key(request: Request) -> str:
    """Return a hash of all that changes the response to a request, without credentials in headers, query or URL."""
    return hashlib.sha256(json.dumps(_without_credentials(request), sort_keys=True).encode()).hexdigest()


def _without_credentials(request: Request) -> dict[str, Any]:
    params = without_secrets(dict(request.params))
    return {"url": redact(request.url), "params": params, "body": request.body}


def _entry(path: Path) -> dict[str, Any]:
    """Read the cache entry of a request; empty if there is none, or it is invalid."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        entry = None
    if isinstance(entry, dict):
        has_answer = isinstance(entry.get("status"), int) and isinstance(entry.get("text"), str)
        if has_answer or isinstance(entry.get("failure"), str):
            return entry
    logger.warning("Ignoring %s, which is not a valid cache entry", path)
    return {}


def _write(path: Path, request: Request, outcome: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {**_without_credentials(request), "asked": datetime.now(UTC).isoformat(timespec="seconds"), **outcome}
    # an unpaired surrogate cannot be encoded as UTF-8, so it is written as a JSON escape
    content = json.dumps(entry, ensure_ascii=False, indent=1).encode("utf-8", errors="backslashreplace")
    write_atomically(path, lambda part: part.write_bytes(content))
