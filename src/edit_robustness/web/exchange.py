"""One request and its answer within limits: of time in all, of bytes, and of where a redirect may lead."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from edit_robustness.text.secrets import WithoutSecrets

# it logs whole addresses where somebody asks for its debugging
logging.getLogger("urllib3.connectionpool").addFilter(WithoutSecrets())

_CHUNK = 1 << 16
_MOST_REDIRECTS = 10
_PORTS = {"http": 80, "https": 443}
_BECOME_GET = (301, 302, 303)
"""Statuses after which a browser asks with GET, whatever was asked before (RFC 9110, section 15.4)."""


class OverLimit(Exception):
    """An exchange that took too long or gave too much, or a redirect that may not be followed; the text says which."""


@dataclass(frozen=True)
class Limits:
    """What one exchange may take.

    Attributes:
        timeout: Seconds to wait for a connection, and for each part of an answer.
        deadline: Seconds for all of it, however many parts come.
        max_bytes: Most bytes of an answer, unpacked.
        allow_private: Whether a redirect may lead to this machine or a private network.
    """

    timeout: float
    deadline: float
    max_bytes: int
    allow_private: bool = False


@dataclass(frozen=True)
class Asked:
    """A request as it is sent.

    Attributes:
        url: The address; user and password in it are sent to that host only.
        params: The query.
        body: Posted as JSON; None to get.
        headers: The headers.
        follow: Whether redirects are followed.
    """

    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    follow: bool = True


@dataclass(frozen=True)
class Head:
    """Status and headers of an answer; `headers` finds a name in any capitals."""

    status: int
    headers: Mapping[str, str]


def new_session() -> requests.Session:
    """Return a session whose exchanges can be stopped from outside, and that takes no credentials out of a .netrc."""
    session = requests.Session()
    session.mount("http://", _Adapter())
    session.mount("https://", _Adapter())
    # anything but None keeps requests from taking credentials out of a .netrc
    session.auth = lambda prepared: prepared
    return session


def exchange(session: requests.Session, asked: Asked, limits: Limits, write: Callable[[bytes], object]) -> Head:
    """Send a request and hand over the body of its answer part by part.

    Args:
        session: Of `new_session`.
        asked: The request.
        limits: What it may take.
        write: Takes each part of the body.

    Raises:
        OverLimit: If a limit is reached, or a redirect leads to a private place.
        requests.RequestException: If the connection fails or breaks off.
        ValueError: If a redirect leads to nonsense.
    """
    with _watched(limits.deadline) as watch:
        try:
            with _answer(session, asked, limits) as answer:
                size = 0
                for part in answer.iter_content(_CHUNK):
                    size += len(part)
                    if size > limits.max_bytes:
                        raise OverLimit(f"the answer is longer than {limits.max_bytes} bytes (max_bytes)")
                    if watch.expired:
                        break
                    write(part)
        except (requests.RequestException, ValueError, OSError):
            # a connection that the watch cut fails in many ways
            if not watch.expired:
                raise
        if watch.expired:
            raise OverLimit(f"the answer was not whole within {limits.deadline:g} s (deadline)")
    return Head(answer.status_code, answer.headers)


def _answer(session: requests.Session, asked: Asked, limits: Limits) -> requests.Response:
    """The first answer that is no redirect to follow; its body is not read yet."""
    first = urlsplit(asked.url)
    url, params, body, method = asked.url, dict(asked.params), asked.body, "GET" if asked.body is None else "POST"
    for _ in range(_MOST_REDIRECTS):
        answer = session.request(
            method,
            url,
            params=params,
            json=body,
            headers=dict(asked.headers),
            timeout=(limits.timeout, limits.timeout),
            allow_redirects=False,
            stream=True,
            auth=_credentials(first) if _place(urlsplit(url)) == _place(first) else None,
        )
        target = session.get_redirect_target(answer) if asked.follow else None
        if target is None:
            return answer
        answer.close()
        url, params = urljoin(answer.url, target), {}
        if not limits.allow_private:
            _refuse_private(url, first)
        if answer.status_code in _BECOME_GET:
            method, body = "GET", None
    raise OverLimit(f"more than {_MOST_REDIRECTS} redirects")


def _credentials(parts: SplitResult) -> tuple[str, str] | None:
    return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None


def _place(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _refuse_private(url: str, first: SplitResult) -> None:
    """Refuse a redirect to this machine or a private network, unless that very place was asked in the first place."""
    parts = urlsplit(url)
    if not parts.hostname or _place(parts)[1:] == _place(first)[1:]:
        return
    if any(map(_is_private, _addresses(parts.hostname))):
        raise OverLimit(
            f"it redirects to {parts.hostname}, on this machine or in a private network, which is not followed "
            "(allow_private)"
        )


def _addresses(host: str) -> list[str]:
    """The addresses that a name stands for; none where it is unknown, for then the connection fails, too."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None)]
    except (OSError, UnicodeError):
        return []


def _is_private(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    return not found.is_global or found.is_multicast


class _Watch:
    """Whether an exchange has run out of time, and the socket to cut then."""

    def __init__(self) -> None:
        self.expired = False
        self.sock: socket.socket | None = None

    def cut(self) -> None:
        """Let whoever waits for this socket find its end."""
        self.expired = True
        if self.sock is not None:
            # an error: it has ended by itself. Not the method of an SSL socket, which would go on without its key
            with suppress(OSError):
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


_WATCH: ContextVar[_Watch | None] = ContextVar("watch", default=None)


@contextmanager
def _watched(seconds: float) -> Iterator[_Watch]:
    watch = _Watch()
    token = _WATCH.set(watch)
    timer = threading.Timer(seconds, watch.cut)
    timer.daemon = True
    timer.start()
    try:
        yield watch
    finally:
        timer.cancel()
        _WATCH.reset(token)


class _Watchable:
    """Tells the watch of this exchange which socket is used: a new one, or one that was kept open."""

    def request(self, *args: Any, **options: Any) -> Any:
        """Send; the socket is kept in the watch, since the connection may forget it before the body is read."""
        super().request(*args, **options)  # type: ignore[misc]
        watch, sock = _WATCH.get(), getattr(self, "sock", None)
        if watch is not None:
            watch.sock = sock
            if watch.expired:
                watch.cut()


class _Connection(_Watchable, HTTPConnection):
    pass


class _SecureConnection(_Watchable, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """Connections that can be watched."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """See `HTTPAdapter`."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """See `HTTPAdapter`."""
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager
