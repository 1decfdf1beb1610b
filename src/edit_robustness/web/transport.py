"""Send requests with a rate limit per host, retries of temporary failures, and a reason for every failure.

Callers pass a reader, which turns a response into a value or refuses it. A cache therefore stores only responses that
could be read, and a failure never becomes a number.
"""

from __future__ import annotations

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as validated
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from edit_robustness.setting_types import STRICT, ListSetting
from edit_robustness.text.secrets import redact
from edit_robustness.text.writable import writable
from edit_robustness.web.exchange import HttpRequest, Limits, OverLimit, exchange, new_session

T = TypeVar("T")
logger = logging.getLogger(__name__)

OK, NOT_FOUND = 200, 404
_HALF = "\\ud"
SHOWN = 60
"""Maximum number of characters of a server's text that are quoted in a reason."""


class RequestFailed(Exception):
    """There is no response, or none that can be used; the message is a reason that can be stored in a table."""


@dataclass(frozen=True)
class Request:
    """A request to a server.

    Attributes:
        url: The URL without the query.
        params: The query.
        body: JSON body of a POST request; None for GET.
        secret: Headers with credentials. They appear in no log, error or file, are ignored when requests are compared,
            and are never sent to the target of a redirect.
        secret_params: Query parameters with credentials, treated in the same way.
    """

    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    secret: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    secret_params: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Response:
    """The response of a server: its status code, and its body decoded as UTF-8."""

    status: int
    text: str

    def json(self) -> Any:
        """Parse the body as JSON, with all texts encodable as UTF-8.

        Raises:
            RequestFailed: If the status is not 200, or the body is not JSON.
        """
        if self.status != OK:
            raise RequestFailed(f"the server returned status {self.status}: {self.text[:SHOWN]!r}")
        try:
            value = json.loads(self.text)
            if _HALF not in self.text.lower():
                return value
            # an escape of an unpaired surrogate, which cannot be written to a file
            return json.loads(writable(json.dumps(value, ensure_ascii=False)))
        except (ValueError, RecursionError):
            raise RequestFailed(f"the response is not JSON: {self.text[:SHOWN]!r}") from None


Reader = Callable[[Response], T]
"""Turns a response into a value; raises `RequestFailed` for a response that it cannot use."""


def accept_any(response: Response) -> Response:
    """Return a response unchanged; the reader that accepts every response."""
    return response


class Transport(ABC):
    """Interface for sending requests: the live transport, a cache, or a fake in tests."""

    @abstractmethod
    def send(self, request: Request, reader: Reader[T]) -> T:
        """Send a request and return the value that `reader` makes of the response.

        Raises:
            RequestFailed: If there is no response that `reader` can use.
            ValueError: If a setting is invalid, so that no request can be sent.
        """

    def get(self, url: str, params: Mapping[str, str], reader: Reader[T]) -> T:
        """Send a GET request with a query."""
        return self.send(Request(url, params), reader)

    def post(self, url: str, body: Any, reader: Reader[T], secret: Mapping[str, str] | None = None) -> T:
        """Send a POST request with a JSON body, and with headers that contain credentials."""
        return self.send(Request(url, body=body, secret=secret or {}), reader)


@validated(frozen=True, config=STRICT)
class RequestSettings:
    """Settings for sending requests.

    Attributes:
        user_agent: User agent of the requests. Wikimedia requires a project name and a contact address, and may refuse
            other requests.
        timeout: Seconds to wait for a connection, and for each part of a response.
        deadline: Seconds for a whole response, however many parts arrive. A response that takes longer is not retried.
        max_bytes: Maximum size of a response in bytes.
        allow_private: Whether a redirect may lead to this machine or a private network. URLs in your settings always
            may.
        attempts: Maximum number of attempts per request.
        backoff: Seconds before the second attempt; each further pause is twice as long.
        longest_wait: Maximum pause in seconds. If a server requests a longer one with `Retry-After`, requests to it
            fail until then.
        per_second: Maximum number of requests per second and host.
        retried: Status codes that are retried.
        give_up: Number of consecutive requests without any response after which a host is considered down.
    """

    user_agent: str = f"edit_robustness/{version('edit_robustness')}"
    timeout: PositiveFloat = 60.0
    deadline: PositiveFloat = 300.0
    max_bytes: PositiveInt = 64_000_000
    allow_private: bool = False
    attempts: PositiveInt = 4
    backoff: NonNegativeFloat = 1.0
    longest_wait: NonNegativeFloat = 120.0
    per_second: PositiveFloat = 2.0
    retried: ListSetting[int] = (429, 500, 502, 503, 504)
    give_up: PositiveInt = 5


def check_user_agent(user_agent: str) -> None:
    """Check that the user agent is set.

    Raises:
        ValueError: If it is empty.
    """
    if not user_agent.strip():
        raise ValueError(
            "`user_agent` is empty, but servers (Wikimedia in particular) require one: set "
            "`user_agent: <project> (<contact address>)` in conf/local/globals.yml (with --env, in the globals.yml of "
            "that environment), or use only the cache with `offline: true` or `--params=offline=true`"
        )


class Clock:
    """The time functions of a transport, which tests replace."""

    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    sleep = staticmethod(time.sleep)


class _Retry(Exception):
    """A temporary failure; `silent` if there was no response at all."""

    def __init__(self, reason: str, *, silent: bool = False):
        super().__init__(reason)
        self.silent = silent


class _Host:
    """The state of one host: the time of the next request, and the number of requests in a row without a response."""

    def __init__(self, name: str, settings: RequestSettings, clock: Clock):
        self._name, self._settings, self._clock = name, settings, clock
        self._next, self.unanswered = clock.now(), 0
        # nodes that run side by side keep one pace together
        self._lock = Lock()

    def wait(self) -> None:
        """Wait until the next request to the host is allowed.

        Raises:
            RequestFailed: If the wait is too long, or the host is considered down.
        """
        if self.unanswered >= self._settings.give_up:
            raise RequestFailed(f"{self._name} did not respond {self.unanswered} times in a row and is considered down")
        with self._lock:
            time_of_call = self._clock.now()
            delay = max(0.0, self._next - time_of_call)
            if delay > self._settings.longest_wait:
                raise RequestFailed(f"{self._name} requests a pause of more than {self._settings.longest_wait:g} s")
            self._next = time_of_call + delay + 1 / self._settings.per_second
        if delay:
            self._clock.sleep(delay)

    def leave_alone(self, seconds: float) -> None:
        """Allow no request to the host for some seconds."""
        with self._lock:
            self._next = max(self._next, self._clock.now() + seconds)

    def note(self, *, silent: bool) -> None:
        """Record whether a request got a response."""
        self.unanswered = self.unanswered + 1 if silent else 0
        if self.unanswered == self._settings.give_up:
            logger.warning("%s did not respond %d times in a row and is considered down", self._name, self.unanswered)


class Http(Transport):
    """The live transport.

    Args:
        settings: Settings for sending requests.
        clock: The time functions.
    """

    def __init__(self, settings: RequestSettings, clock: Clock | None = None):
        self._settings, self._clock = settings, clock or Clock()
        self._hosts: dict[str, _Host] = {}
        self._session = new_session()
        self._limits = Limits(settings.timeout, settings.deadline, settings.max_bytes, settings.allow_private)

    def send(self, request: Request, reader: Reader[T]) -> T:
        """Send a request with retries, and return the value that `reader` makes of the response."""
        check_user_agent(self._settings.user_agent)
        self._check(request)
        return reader(self._answer(request))

    def _headers(self, request: Request) -> dict[str, str]:
        return {"User-Agent": self._settings.user_agent, **request.secret}

    def _check(self, request: Request) -> None:
        """Refuse a URL or a header that cannot be sent; the error quotes no header."""
        headers = self._headers(request)
        try:
            requests.Request("GET", request.url, headers=headers).prepare()
            "".join(headers.values()).encode("latin-1")
        except ValueError as error:
            kind = type(error).__name__
            url = redact(request.url)
            raise ValueError(f"{url!r}: the URL, or a header for it, cannot be sent ({kind})") from None

    def _answer(self, request: Request) -> Response:
        name = urlsplit(request.url).hostname or redact(request.url)
        host = self._hosts.setdefault(name, _Host(name, self._settings, self._clock))
        retry = Retrying(
            stop=stop_after_attempt(self._settings.attempts),
            wait=self._pause,
            sleep=self._clock.sleep,
            retry=retry_if_exception_type(_Retry),
            reraise=True,
        )
        try:
            response = retry(self._send_once, request, host)
        except OverLimit as reason:
            host.note(silent=False)
            raise RequestFailed(f"{name}: {reason}") from None
        except _Retry as last:
            host.note(silent=last.silent)
            raise RequestFailed(f"{name}: {last}, after {self._settings.attempts} attempts") from None
        host.note(silent=False)
        return response

    def _pause(self, state: RetryCallState) -> float:
        pause: float = self._settings.backoff * 2 ** (state.attempt_number - 1)
        return min(pause, self._settings.longest_wait)

    def _send_once(self, request: Request, host: _Host) -> Response:
        host.wait()
        sent_request = HttpRequest(
            request.url,
            {**request.params, **request.secret_params},
            request.body,
            self._headers(request),
            follow=not (request.secret or request.secret_params),
        )
        parts: list[bytes] = []
        try:
            head = exchange(self._session, sent_request, self._limits, parts.append)
        except requests.Timeout:
            raise _Retry(f"no response within {self._settings.timeout:g} s", silent=True) from None
        except (requests.RequestException, ValueError) as error:
            # the request itself was checked before, so a ValueError comes from a redirect to an invalid URL
            raise _Retry(f"the connection failed or broke off ({type(error).__name__})", silent=True) from None
        if head.status in self._settings.retried:
            host.leave_alone(retry_after(head.headers.get("Retry-After"), self._clock.wall()))
            raise _Retry(f"the server returned status {head.status}")
        return Response(head.status, b"".join(parts).decode("utf-8", errors="replace"))


def retry_after(header: str | None, time_now: float) -> float:
    """Return the seconds of a `Retry-After` header, a number or a date (RFC 9110, section 10.2.3); 0 if it is invalid.

    Args:
        header: The text of the header.
        time_now: Seconds since 1970.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time_now)
