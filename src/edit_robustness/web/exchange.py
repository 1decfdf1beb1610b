"""Send one request and read its response within limits of total time, size and redirect targets."""

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

# urllib3 logs full URLs with credentials at debug level
logging.getLogger("urllib3.connectionpool").addFilter(WithoutSecrets())

_CHUNK = 1 << 16
_MOST_REDIRECTS = 10
_PORTS = {"http": 80, "https": 443}
_BECOME_GET = (301, 302, 303)
"""Status codes of redirects that are followed with GET, whatever the method before (RFC 9110, section 15.4)."""


class OverLimit(Exception):
    """A limit was exceeded (time or size), or a redirect may not be followed; the message says which."""


@dataclass(frozen=True)
class Limits:
    """Limits of one exchange.

    Attributes:
        timeout: Seconds to wait for a connection, and for each part of a response.
        deadline: Seconds for the whole exchange, however many parts arrive.
        max_bytes: Maximum size of a response in bytes, after decompression.
        allow_private: Whether a redirect may lead to this machine or a private network.
    """

    timeout: float
    deadline: float
    max_bytes: int
    allow_private: bool = False


@dataclass(frozen=True)
class HttpRequest:
    """A request in the form in which it is sent.

    Attributes:
        url: The URL; user and password in it are sent to that host only.
        params: The query.
        body: JSON body of a POST request; None for GET.
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
    """Status and headers of a response; names in `headers` are case-insensitive."""

    status: int
    headers: Mapping[str, str]


def new_session() -> requests.Session:
    """Return a session whose exchanges can be stopped from another thread, and that ignores credentials in a .netrc."""
    session = requests.Session()
    session.mount("http://", _Adapter())
    session.mount("https://", _Adapter())
    # anything but None keeps requests from taking credentials out of a .netrc
    session.auth = lambda request: request
    return session


def exchange(session: requests.Session, request: HttpRequest, limits: Limits, write: Callable[[bytes], object]) -> Head:
    """Send a request and write the body of its response part by part.

    Args:
        session: A session of `new_session`.
        request: The request.
        limits: The limits of the exchange.
        write: Called with each part of the body.

    Returns:
        Status and headers of the response.

    Raises:
        OverLimit: If a limit is exceeded, or a redirect leads to this machine or a private network.
        requests.RequestException: If the connection fails or breaks off.
        ValueError: If a redirect has an invalid URL.
    """
    with _watch_time(limits.deadline) as watch:
        try:
            with _answer(session, request, limits) as answer:
                size = 0
                for part in answer.iter_content(_CHUNK):
                    size += len(part)
                    if size > limits.max_bytes:
                        raise OverLimit(f"the response is longer than {limits.max_bytes} bytes (max_bytes)")
                    if watch.expired:
                        break
                    write(part)
        except (requests.RequestException, ValueError, OSError):
            # a connection that the watch closed can raise any of these errors
            if not watch.expired:
                raise
        if watch.expired:
            raise OverLimit(f"the response was not complete within {limits.deadline:g} s (deadline)")
    return Head(answer.status_code, answer.headers)


def _answer(session: requests.Session, request: HttpRequest, limits: Limits) -> requests.Response:
    """Follow redirects and return the final response; its body is not read yet."""
    first = urlsplit(request.url)
    url, params, body, method = (
        request.url,
        dict(request.params),
        request.body,
        "GET" if request.body is None else "POST",
    )
    for _ in range(_MOST_REDIRECTS):
        answer = session.request(
            method,
            url,
            params=params,
            json=body,
            headers=dict(request.headers),
            timeout=(limits.timeout, limits.timeout),
            allow_redirects=False,
            stream=True,
            auth=_credentials(first) if _place(urlsplit(url)) == _place(first) else None,
        )
        target = session.get_redirect_target(answer) if request.follow else None
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
    """Refuse a redirect to this machine or a private network, unless the original request was sent to the same host."""
    parts = urlsplit(url)
    if not parts.hostname or _place(parts)[1:] == _place(first)[1:]:
        return
    if any(map(_is_private, _addresses(parts.hostname))):
        raise OverLimit(
            f"it redirects to {parts.hostname}, on this machine or in a private network, which is not followed "
            "(allow_private)"
        )


def _addresses(host: str) -> list[str]:
    """Return the addresses of a host name; none if it is unknown, because the connection will fail then."""
    try:
        return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None)]
    except (OSError, UnicodeError):
        return []


def _is_private(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return not ip.is_global or ip.is_multicast


class _Watch:
    """The state of an exchange with a deadline: whether it has expired, and the socket to close then."""

    def __init__(self) -> None:
        self.expired = False
        self.sock: socket.socket | None = None

    def cut(self) -> None:
        """Mark the exchange as expired and shut its socket down, so that blocked reads return."""
        self.expired = True
        if self.sock is not None:
            # an error means that it is already closed; the method of an SSL socket would continue unencrypted instead
            with suppress(OSError):
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


_WATCH: ContextVar[_Watch | None] = ContextVar("watch", default=None)


@contextmanager
def _watch_time(seconds: float) -> Iterator[_Watch]:
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


class _WatchMixin:
    """Mixin of connections that registers the socket, new or reused, in the watch of the current exchange."""

    def request(self, *args: Any, **options: Any) -> Any:
        """Send a request and register its socket, because the connection may drop it before the body is read."""
        super().request(*args, **options)  # type: ignore[misc]
        watch, sock = _WATCH.get(), getattr(self, "sock", None)
        if watch is not None:
            watch.sock = sock
            if watch.expired:
                watch.cut()


class _Connection(_WatchMixin, HTTPConnection):
    pass


class _SecureConnection(_WatchMixin, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """An adapter whose connections register in the watch of the current exchange."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Use the pools with registered connections."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Use the pools with registered connections for proxies too."""
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager
