"""A speaker that uses an OpenAI-compatible endpoint, commercial or self-hosted (vLLM, llama.cpp)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from edit_robustness.models.thinking import answer_of
from edit_robustness.records import Turn
from edit_robustness.text.secrets import is_secret, redact
from edit_robustness.web.transport import Request, RequestFailed, Response, Transport

_PATH = "/chat/completions"
_AT_HOME = ("localhost", "127.0.0.1", "::1")


class EndpointSpeaker:
    """A speaker that sends one conversation after another to a model over HTTP.

    Args:
        transport: Sends the requests. With a cached transport, a second run sends nothing.
        url: Base URL of the endpoint, such as ``https://host/v1``; `/chat/completions` is appended to its path. A query
            parameter with a credential (``?api-key=...``) is treated like `key`.
        model: Name of the model at the endpoint.
        options: Other fields of every request: ``max_tokens``, ``temperature``, ``seed`` ...
        key: Bearer token. It appears in no log, error, cache or fingerprint. Empty for none.
        name: Name in tables; defaults to the model's name.

    Raises:
        ValueError: If the URL is not http(s), or a key would be sent unencrypted.
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
            _ = parts.port  # urlsplit checks the port only on access
        except ValueError as error:
            raise ValueError(f"url: not a URL such as https://host/v1 ({error})") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ValueError(
                f"url: `{parts.hostname or parts.scheme}` is not a URL such as https://host/v1 without credentials"
            )
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self._secret_params = {name: value for name, value in query.items() if is_secret(name)}
        self._params = {name: value for name, value in query.items() if name not in self._secret_params}
        if (key or self._secret_params) and parts.scheme == "http" and parts.hostname not in _AT_HOME:
            raise ValueError(
                f"url: {redact(url)} would send the key unencrypted; use https, or leave the credentials out"
            )
        path = parts.path.rstrip("/").removesuffix(_PATH) + _PATH
        self._transport, self._url = transport, urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self._model, self._options = model, dict({"temperature": 0} if options is None else options)
        self._secret = {"Authorization": f"Bearer {key}"} if key else {}
        self.name = name or model
        query_fields = [self._params] if self._params else []
        self.fingerprint = json.dumps(["endpoint", self._url, model, self._options, *query_fields], sort_keys=True)

    def replies(self, conversations: Sequence[Sequence[Turn]]) -> list[str]:
        """Return the endpoint's reply to each conversation.

        Raises:
            RequestFailed: If the endpoint returns no usable reply.
        """
        return [self._reply(turns) for turns in conversations]

    def _reply(self, turns: Sequence[Turn]) -> str:
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        body = {"model": self._model, "messages": messages, **self._options}
        request = Request(self._url, self._params, body, self._secret, self._secret_params)
        try:
            return self._transport.send(request, read_reply)
        except RequestFailed as reason:
            raise RequestFailed(
                f"{self.name}: no reply from {self._url} ({reason}); check `url`, `model` and `credentials` of its "
                "entry in the catalog, then run again; replies received so far are stored"
            ) from None


def read_reply(response: Response) -> str:
    """Return the text of a chat completion without the thinking part; empty if there is no text.

    Raises:
        RequestFailed: If the response is not a chat completion.
    """
    answer = response.json()
    try:
        content = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise RequestFailed(f"the response is not a chat completion: {response.text[:60]!r}") from None
    if content is not None and not isinstance(content, str):
        raise RequestFailed(f"the reply is not text: {str(content)[:60]!r}")
    return answer_of((content or "").strip())
