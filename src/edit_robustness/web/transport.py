"""Asking a server politely: one pace a host, patience with what passes, and a reason when nothing comes.

Whoever asks hands over a reader, which turns an answer into a value or refuses it. So a cache keeps as an answer only
what could be read, and no failure ever becomes a number.
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
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as validated
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from edit_robustness.setting_types import STRICT, Listed
from edit_robustness.text.secrets import redacted
from edit_robustness.text.writable import writable
from edit_robustness.web.exchange import Asked, Limits, OverLimit, exchange, new_session

T = TypeVar("T")
logger = logging.getLogger(__name__)

OK, NOT_FOUND = 200, 404
_HALF = "\\ud"
SHOWN = 60
"""Characters of a server's own text in a reason."""


class NoAnswer(Exception):
    """No answer came, or none that can be used; the text says why, in words for a table."""


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        url: The address, without the query.
        params: The query.
        body: Posted as JSON; None to get.
        secret: Headers with credentials. They are in no log, error or file, do not tell requests apart, and are never
            sent on to where a server redirects.
        secret_params: Parameters of the query with credentials; the same holds for them.
    """

    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    secret: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    secret_params: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Response:
    """What a server said: its status, and its text read as UTF-8."""

    status: int
    text: str

    def json(self) -> Any:
        """The answer as plain values, whose texts can be written.

        Raises:
            NoAnswer: If the status is not 200, or the text is no JSON.
        """
        if self.status != OK:
            raise NoAnswer(f"the server said {self.status}: {self.text[:SHOWN]!r}")
        try:
            value = json.loads(self.text)
            if _HALF not in self.text.lower():
                return value
            # an escape of half a surrogate pair, which no later file could hold
            return json.loads(writable(json.dumps(value, ensure_ascii=False)))
        except (ValueError, RecursionError):
            raise NoAnswer(f"the answer is no JSON: {self.text[:SHOWN]!r}") from None


Reader = Callable[[Response], T]
"""Turns an answer into a value; raises `NoAnswer` for one that it cannot use."""


def whole(response: Response) -> Response:
    """The reader that takes every answer as it is."""
    return response


class Transport(ABC):
    """A way to servers: the live one, a cache before it, or what a test puts in its place."""

    @abstractmethod
    def send(self, request: Request, read: Reader[T]) -> T:
        """Ask, and read the answer.

        Raises:
            NoAnswer: If there is none that `read` can use.
            ValueError: If a setting makes asking impossible.
        """

    def get(self, url: str, params: Mapping[str, str], read: Reader[T]) -> T:
        """`send` a query."""
        return self.send(Request(url, params), read)

    def post(self, url: str, body: Any, read: Reader[T], secret: Mapping[str, str] | None = None) -> T:
        """`send` a body as JSON, with headers that hold credentials."""
        return self.send(Request(url, body=body, secret=secret or {}), read)


@validated(frozen=True, config=STRICT)
class Manners:
    """How to ask.

    Attributes:
        user_agent: Who asks. Wikimedia wants a name and an address to write to, and may refuse others.
        timeout: Seconds to wait for a connection, and for each part of an answer.
        deadline: Seconds for a whole answer, however many parts come; one that takes longer is not asked for again.
        max_bytes: Most bytes of an answer.
        allow_private: Whether a redirect may lead to this machine or a private network. An address of your own choice
            may do so always.
        attempts: How often a request is sent before it is given up.
        backoff: Seconds before the second attempt; each further pause is twice as long.
        longest_wait: Seconds. A server that asks for more with `Retry-After` is left alone until then.
        per_second: Requests a second to one host.
        retried: Statuses after which it is worth asking again.
        give_up: After so many requests in a row without any answer a host is taken as down.
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
    retried: Listed[int] = (429, 500, 502, 503, 504)
    give_up: PositiveInt = 5


def check_user_agent(user_agent: str) -> None:
    """See that somebody asks.

    Raises:
        ValueError: If nobody is named.
    """
    if not user_agent.strip():
        raise ValueError(
            "`user_agent` is empty, and servers (Wikimedia's above all) want to know who asks: set "
            "`user_agent: <project> (<address to write to>)` in conf/local/globals.yml (with --env, in that "
            "environment's), or `offline: true` to use only what is in the cache; `--params=offline=true` does it too"
        )


class Clock:
    """Seconds, and how to let them pass; a test puts its own in place."""

    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    sleep = staticmethod(time.sleep)


class _Again(Exception):
    """A failure that may pass; `silent` if no answer came at all."""

    def __init__(self, why: str, *, silent: bool = False):
        super().__init__(why)
        self.silent = silent


class _Host:
    """One host: when it may be asked next, and how often in a row it said nothing."""

    def __init__(self, name: str, manners: Manners, clock: Clock):
        self._name, self._manners, self._clock = name, manners, clock
        self._next, self.unanswered = clock.now(), 0

    def wait(self) -> None:
        """Let the time pass until the host may be asked.

        Raises:
            NoAnswer: If that is too long, or the host is taken as down.
        """
        if self.unanswered >= self._manners.give_up:
            raise NoAnswer(f"{self._name} did not answer {self.unanswered} times in a row, and is not asked any more")
        delay = self._next - self._clock.now()
        if delay > self._manners.longest_wait:
            raise NoAnswer(f"{self._name} asks to be left alone for longer than {self._manners.longest_wait:g} s")
        if delay > 0:
            self._clock.sleep(delay)
        self._next = self._clock.now() + 1 / self._manners.per_second

    def leave_alone(self, seconds: float) -> None:
        """Ask nothing for so long."""
        self._next = max(self._next, self._clock.now() + seconds)

    def note(self, *, silent: bool) -> None:
        """Remember how a request ended."""
        self.unanswered = self.unanswered + 1 if silent else 0
        if self.unanswered == self._manners.give_up:
            logger.warning("%s did not answer %d times in a row: it is taken as down", self._name, self.unanswered)


class Http(Transport):
    """The live transport.

    Args:
        manners: How to ask.
        clock: The time.
    """

    def __init__(self, manners: Manners, clock: Clock | None = None):
        self._manners, self._clock = manners, clock or Clock()
        self._hosts: dict[str, _Host] = {}
        self._session = new_session()
        self._limits = Limits(manners.timeout, manners.deadline, manners.max_bytes, manners.allow_private)

    def send(self, request: Request, read: Reader[T]) -> T:
        """See `Transport.send`."""
        check_user_agent(self._manners.user_agent)
        self._check(request)
        return read(self._answer(request))

    def _headers(self, request: Request) -> dict[str, str]:
        return {"User-Agent": self._manners.user_agent, **request.secret}

    def _check(self, request: Request) -> None:
        """Refuse an address or a header that no server could be sent; the error quotes no header."""
        headers = self._headers(request)
        try:
            requests.Request("GET", request.url, headers=headers).prepare()
            "".join(headers.values()).encode("latin-1")
        except ValueError as error:
            kind = type(error).__name__
            url = redacted(request.url)
            raise ValueError(f"{url!r}: the address, or a header for it, cannot be sent ({kind})") from None

    def _answer(self, request: Request) -> Response:
        name = urlsplit(request.url).hostname or redacted(request.url)
        host = self._hosts.setdefault(name, _Host(name, self._manners, self._clock))
        retrying = Retrying(
            stop=stop_after_attempt(self._manners.attempts),
            wait=self._pause,
            sleep=self._clock.sleep,
            retry=retry_if_exception_type(_Again),
            reraise=True,
        )
        try:
            response = retrying(self._once, request, host)
        except OverLimit as reason:
            host.note(silent=False)
            raise NoAnswer(f"{name}: {reason}") from None
        except _Again as last:
            host.note(silent=last.silent)
            raise NoAnswer(f"{name}: {last}, asked {self._manners.attempts} times") from None
        host.note(silent=False)
        return response

    def _pause(self, state: RetryCallState) -> float:
        return min(self._manners.backoff * 2 ** (state.attempt_number - 1), self._manners.longest_wait)

    def _once(self, request: Request, host: _Host) -> Response:
        host.wait()
        asked = Asked(
            request.url,
            {**request.params, **request.secret_params},
            request.body,
            self._headers(request),
            follow=not (request.secret or request.secret_params),
        )
        parts: list[bytes] = []
        try:
            got = exchange(self._session, asked, self._limits, parts.append)
        except requests.Timeout:
            raise _Again(f"no answer within {self._manners.timeout:g} s", silent=True) from None
        except (requests.RequestException, ValueError) as error:
            # what can be wrong with the request itself was found before: a ValueError is a redirect to nonsense
            raise _Again(f"the connection failed or broke off ({type(error).__name__})", silent=True) from None
        if got.status in self._manners.retried:
            host.leave_alone(retry_after(got.headers.get("Retry-After"), self._clock.wall()))
            raise _Again(f"the server said {got.status}")
        return Response(got.status, b"".join(parts).decode("utf-8", errors="replace"))


def retry_after(header: str | None, now: float) -> float:
    """Seconds that a `Retry-After` asks for, as a number or a date (RFC 9110, section 10.2.3); 0 without a sound one.

    Args:
        header: The header's text.
        now: Seconds since 1970.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
