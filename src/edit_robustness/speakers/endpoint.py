"""A speaker behind an OpenAI-compatible endpoint: a company's, or a server such as vLLM or llama.cpp of one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from edit_robustness.models.thinking import answer_of
from edit_robustness.records import Turn
from edit_robustness.text.secrets import is_secret, redacted
from edit_robustness.web.transport import NoAnswer, Request, Response, Transport

_PATH = "/chat/completions"
_AT_HOME = ("localhost", "127.0.0.1", "::1")


class EndpointSpeaker:
    """A model asked over HTTP, one conversation after another.

    Args:
        transport: Carries the requests; a cached one makes a rerun free.
        url: The endpoint's base, such as ``https://host/v1``; `/chat/completions` is added to its path. A parameter
            of its query that holds a credential (``?api-key=...``) is treated as `key` is.
        model: What the endpoint calls the model.
        options: What else every request says: ``max_tokens``, ``temperature``, ``seed`` ...
        key: Sent as a bearer token; in no log, error, cache or fingerprint. Empty for none.
        name: What it is called in tables; the model's name unless given.

    Raises:
        ValueError: If the address is no http(s) one, or a key would go over the network in the open.
    """

    def __init__(
        self,
        transport: Transport,
        url: str,
        model: str,
        *,
        options: Mapping[str, Any] | None = None,
        key: str = "",
        name: str | None = None,
    ):
        try:
            parts = urlsplit(url)
            _ = parts.port  # read once, for it is checked only then
        except ValueError as error:
            raise ValueError(f"url: it is no address such as https://host/v1 ({error})") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ValueError(
                f"url: `{parts.hostname or parts.scheme}` is no address such as https://host/v1, without credentials"
            )
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self._secret_params = {name: value for name, value in query.items() if is_secret(name)}
        self._params = {name: value for name, value in query.items() if name not in self._secret_params}
        if (key or self._secret_params) and parts.scheme == "http" and parts.hostname not in _AT_HOME:
            raise ValueError(
                f"url: {redacted(url)} would carry the key unencrypted; use https, or leave the credentials out"
            )
        path = parts.path.rstrip("/").removesuffix(_PATH) + _PATH
        self._transport, self._url = transport, urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self._model, self._options = model, dict({"temperature": 0} if options is None else options)
        self._secret = {"Authorization": f"Bearer {key}"} if key else {}
        self.name = name or model
        query_kept = [self._params] if self._params else []
        self.fingerprint = json.dumps(["endpoint", self._url, model, self._options, *query_kept], sort_keys=True)

    def replies(self, conversations: Sequence[Sequence[Turn]]) -> list[str]:
        """See `Speaker.replies`.

        Raises:
            NoAnswer: If the endpoint gives none, with the reason and the way out.
        """
        return [self._reply(turns) for turns in conversations]

    def _reply(self, turns: Sequence[Turn]) -> str:
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        body = {"model": self._model, "messages": messages, **self._options}
        request = Request(self._url, self._params, body, self._secret, self._secret_params)
        try:
            return self._transport.send(request, read_reply)
        except NoAnswer as reason:
            raise NoAnswer(
                f"{self.name}: no reply from {self._url} ({reason}); check `url`, `model` and `credentials` of its "
                "entry in the catalog, then run again: what was answered is kept"
            ) from None


def read_reply(response: Response) -> str:
    """The text of a chat completion, without what the model thought before; empty where it said nothing.

    Raises:
        NoAnswer: If the answer is no chat completion.
    """
    answer = response.json()
    try:
        content = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise NoAnswer(f"the answer is no chat completion: {response.text[:60]!r}") from None
    if content is not None and not isinstance(content, str):
        raise NoAnswer(f"the reply is no text: {str(content)[:60]!r}")
    return answer_of((content or "").strip())
