"""The client of OpenAI-compatible endpoints, against a local server that also fails."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edit_robustness.records import Turn
from edit_robustness.speakers.endpoint import EndpointSpeaker
from edit_robustness.web.cache import ResponseCache
from edit_robustness.web.transport import Http, RequestFailed, RequestSettings

KEY = "sk-nobody-may-see-this"
TALK = [Turn("system", "Be brief."), Turn("user", "Where is <Borduria> ruled from?")]


class Server(ThreadingHTTPServer):
    """Answers what it is told to, one script entry a request; then echoes."""

    def __init__(self):
        self.script, self.seen = [], []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, dict(self.headers), body))
        status, answer = self.server.script.pop(0) if self.server.script else (200, None)
        if answer is None:
            answer = {"choices": [{"message": {"content": f" You said: {body['messages'][-1]['content']} "}}]}
        text = answer if isinstance(answer, str) else json.dumps(answer)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode()) + (status == 206)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as fake_server:
        thread = threading.Thread(target=fake_server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield fake_server
        fake_server.shutdown()
        thread.join()


def live():
    return Http(RequestSettings(timeout=2, attempts=2, backoff=0, per_second=1000))


def test_what_is_sent_and_what_comes_back(server):
    speaker = EndpointSpeaker(live(), server.url, "wise-1", options={"temperature": 0.2, "max_tokens": 9}, key=KEY)
    assert speaker.replies([TALK, [Turn("user", "Yes?")]]) == [f"You said: {TALK[1].text}", "You said: Yes?"]
    path, headers, body = server.seen[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body == {
        "model": "wise-1",
        "messages": [{"role": turn.role, "content": turn.text} for turn in TALK],
        "temperature": 0.2,
        "max_tokens": 9,
    }


def test_without_a_key_no_header(server):
    EndpointSpeaker(live(), server.url + "/chat/completions", "wise-1").replies([TALK])
    path, headers, body = server.seen[0]
    assert path == "/v1/chat/completions"
    assert "Authorization" not in headers
    assert body["temperature"] == 0


def test_a_failure_that_passes_is_asked_again(server):
    server.script = [(503, "busy")]
    assert EndpointSpeaker(live(), server.url, "m").replies([TALK]) == [f"You said: {TALK[1].text}"]
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (401, {"error": "bad key"}, "the server returned status 401"),
        (500, "down", "the server returned status 500, after 2 attempts"),
        (206, "broken", "broke off"),
        (200, "<html>", "not JSON"),
        (200, {"choices": []}, "not a chat completion"),
        (200, {"choices": [{"message": {"content": {"a": 1}}}]}, "not text"),
        (200, [1], "not a chat completion"),
    ],
)
def test_a_failure_that_stays_says_why_and_what_to_do_and_never_the_key(server, caplog, status, answer, reason):
    server.script = [(status, answer)] * 2
    with caplog.at_level(logging.DEBUG), pytest.raises(RequestFailed, match=reason) as error:
        EndpointSpeaker(live(), server.url, "m", key=KEY, name="judge").replies([TALK])
    assert str(error.value).startswith(f"judge: no reply from {server.url}/chat/completions (")
    assert "`credentials`" in str(error.value)
    assert KEY not in str(error.value) + caplog.text + repr(error.value.__context__)


def test_a_model_that_says_nothing(server):
    server.script = [(200, {"choices": [{"message": {"content": None}}]})]
    assert EndpointSpeaker(live(), server.url, "m").replies([TALK]) == [""]


def test_a_cached_endpoint_is_asked_once_and_the_key_is_on_no_disk(server, tmp_path):
    first = EndpointSpeaker(ResponseCache(tmp_path, live()), server.url, "m", key=KEY)
    replies = first.replies([TALK])
    assert EndpointSpeaker(ResponseCache(tmp_path, None), server.url, "m").replies([TALK]) == replies
    assert len(server.seen) == 1
    assert KEY not in "".join(path.read_text() for path in tmp_path.iterdir()) + first.fingerprint
    assert KEY not in repr(first)
    assert first.fingerprint == EndpointSpeaker(live(), server.url, "m").fingerprint
    assert first.fingerprint != EndpointSpeaker(live(), server.url, "m", options={"temperature": 1}).fingerprint


@pytest.mark.parametrize(
    "url", ["wise.example/v1", "ftp://wise.example", "https://me:secret@wise.example/v1", "https://"]
)
def test_addresses_that_are_none(url):
    with pytest.raises(ValueError, match="not a URL such as https://host/v1") as error:
        EndpointSpeaker(live(), url, "m")
    assert "secret" not in str(error.value)


def test_a_key_in_the_address_is_sent_and_stands_nowhere(server, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    address = f"{server.url}?api-key={KEY}&api-version=2"
    speaker = EndpointSpeaker(ResponseCache(tmp_path, live()), address, "wise-1")
    assert speaker.replies([TALK]) == [f"You said: {TALK[1].text}"]
    assert server.seen[0][0] == f"/v1/chat/completions?api-version=2&api-key={KEY}"
    assert speaker.fingerprint == EndpointSpeaker(live(), address.replace(KEY, "new"), "wise-1").fingerprint
    assert speaker.fingerprint != EndpointSpeaker(live(), address.replace("=2", "=3"), "wise-1").fingerprint
    server.script = [(400, "no")]
    with pytest.raises(RequestFailed) as failure:
        speaker.replies([TALK[:1]])
    with pytest.raises(ValueError, match="would send the key unencrypted") as bare:
        EndpointSpeaker(live(), f"http://host/v1?api-key={KEY}", "m")
    texts = [speaker.fingerprint, str(failure.value), str(bare.value)]
    texts += [caplog.text, *(path.read_text() for path in tmp_path.iterdir())]
    assert not any(KEY in text for text in texts)


def test_a_reply_that_was_cut_inside_a_character_is_kept_and_written(server, tmp_path):
    server.script = [(200, '{"choices": [{"message": {"content": "Oslo \\ud83d"}}]}')]
    for web in (ResponseCache(tmp_path, live()), ResponseCache(tmp_path, None)):
        [reply] = EndpointSpeaker(web, server.url, "wise-1").replies([TALK])
        assert reply == "Oslo \ufffd"
        assert reply.encode()


def test_a_key_does_not_go_over_the_network_in_the_open():
    with pytest.raises(ValueError, match=r"http://wise\.example/v1 would send the key unencrypted"):
        EndpointSpeaker(live(), "http://wise.example/v1", "m", key=KEY)
    EndpointSpeaker(live(), "http://wise.example/v1", "m")
