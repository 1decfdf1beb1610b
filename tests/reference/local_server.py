"""A server on this machine that answers as a test tells it to, well or badly."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True)
class HttpRequest:
    """A request that the server received."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None


@dataclass(frozen=True)
class Say:
    """An answer: JSON of `value`, or `text` as it is; perhaps late, perhaps broken off half way.

    With `drips` it comes byte by byte, with so many seconds between two: `body` alone, or from the first header on
    (`all`). `endless` gives its content again and again, and no length.
    """

    value: Any = None
    text: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0
    breaks_off: bool = False
    drips: str = ""
    pause: float = 0.05
    endless: bool = False

    @property
    def content(self) -> bytes:
        return (json.dumps(self.value) if self.text is None else self.text).encode()


class LocalServer:
    """A server whose `answer` may be changed at any time; `requests` has all requests so far."""

    def __init__(self, url: str):
        self.url = url
        self.requests: list[HttpRequest] = []
        self.answer: Callable[[HttpRequest], Say] = lambda request: Say({})

    def says(self, *answers: Say) -> None:
        """Give these answers in turn, the last one for ever."""
        queue = list(answers)
        self.answer = lambda request: queue.pop(0) if len(queue) > 1 else queue[0]


@contextmanager
def local_server():
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            request = HttpRequest(self.command, unquote(parts.path), query, dict(self.headers), body)
            server.requests.append(request)
            self._say(server.answer(request))

        do_POST = do_GET

        def _say(self, answer: Say):
            time.sleep(answer.after)
            try:
                if answer.drips == "all":
                    self._drip(b"HTTP/1.0 200 OK\r\nX-Slow: " + b"x" * 10_000, answer.pause)
                self.send_response(answer.status)
                if not answer.endless:
                    self.send_header("Content-Length", str(len(answer.content)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if answer.drips:
                    self._drip(answer.content, answer.pause)
                    return
                while answer.endless:
                    self.wfile.write(answer.content)
                self.wfile.write(answer.content[: len(answer.content) // 2] if answer.breaks_off else answer.content)
            except OSError:
                pass  # the client has gone
            self.close_connection = True

        def _drip(self, content: bytes, pause: float):
            for byte in content:
                self.wfile.write(bytes([byte]))
                time.sleep(pause)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = LocalServer(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


class FakeClock:
    """Time that passes only by sleeping."""

    def __init__(self, wall: float = 1_700_000_000.0):
        self.start, self.passed, self.slept = wall, 0.0, []

    def now(self) -> float:
        return self.passed

    def wall(self) -> float:
        return self.start + self.passed

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passed += seconds
