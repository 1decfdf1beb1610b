import json
import logging

import pytest

from edit_robustness.web.cache import ResponseCache, key
from edit_robustness.web.transport import Request, RequestFailed, Response, Transport


class ScriptedTransport(Transport):
    """Answers in turn; an exception is raised."""

    def __init__(self, *answers):
        self.waiting, self.asked = list(answers), []

    def send(self, request, reader):
        self.asked.append(request)
        answer = self.waiting.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return reader(answer)


def said(value, status=200):
    return Response(status, json.dumps(value))


def test_nothing_is_asked_twice_and_a_rerun_needs_no_network(tmp_path):
    live = ScriptedTransport(said({"a": 1}))
    for web in (ResponseCache(tmp_path, live), ResponseCache(tmp_path, live), ResponseCache(tmp_path, None)):
        assert web.get("http://x", {"q": "1"}, Response.json) == {"a": 1}
    assert len(live.asked) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_the_key_is_all_that_changes_the_answer_and_no_credentials():
    requests = [
        Request("http://x"),
        Request("http://y"),
        Request("http://x", {"q": "1"}),
        Request("http://x", {"q": "2"}),
        Request("http://x", body={}),
        Request("http://x", body={"temperature": 0}),
    ]
    assert len({key(request) for request in requests}) == len(requests)
    assert key(Request("http://x", {"a": "1", "b": "2"})) == key(Request("http://x", {"b": "2", "a": "1"}))
    assert key(Request("http://x", body={}, secret={"key": "s3cret"})) == key(Request("http://x", body={}))


def test_files_are_whole_readable_and_hold_no_credentials(tmp_path):
    web = ResponseCache(tmp_path / "new", ScriptedTransport(said("ü")))
    web.post("http://x", {"q": "é"}, Response.json, {"key": "s3cret"})
    [path] = (tmp_path / "new").iterdir()
    assert path.suffix == ".json"
    text = path.read_text(encoding="utf-8")
    assert "s3cret" not in text
    assert "é" in text
    entry = json.loads(text)
    assert (entry["url"], entry["body"], entry["status"], entry["text"]) == ("http://x", {"q": "é"}, 200, '"\\u00fc"')


def test_a_key_in_an_address_is_in_no_file_and_does_not_tell_requests_apart(tmp_path):
    live = ScriptedTransport(said([1]))
    urls = ["https://me:s3cret@x/v1?token=s3cret&page=2", "https://x/v1?token=s3cret&page=2"]
    assert key(Request(urls[1])) == key(Request(urls[1].replace("s3cret", "another")))
    assert key(Request(urls[1])) != key(Request(urls[1].replace("page=2", "page=3")))
    assert key(Request("https://x", {"api_key": "s3cret"})) == key(Request("https://x", {"api_key": "another"}))
    ResponseCache(tmp_path, live).get(urls[0], {"api_key": "s3cret"}, Response.json)
    [path] = tmp_path.iterdir()
    assert "s3cret" not in path.read_text(encoding="utf-8")


def test_half_a_surrogate_pair_in_a_request_is_written_and_found_again(tmp_path):
    live = ScriptedTransport(said([1]))
    for web in (ResponseCache(tmp_path, live), ResponseCache(tmp_path, None)):
        assert web.post("http://x", {"q": "a\ud83d"}, Response.json) == [1]
    [path] = tmp_path.iterdir()
    assert json.loads(path.read_text(encoding="utf-8"))["body"] == {"q": "a\ud83d"}


def test_offline_says_what_is_missing(tmp_path):
    with pytest.raises(RequestFailed, match="not in the cache, and `offline` is true"):
        ResponseCache(tmp_path, None).get("http://x", {}, Response.json)
    assert not list(tmp_path.iterdir())


def test_a_failure_is_kept_for_a_rerun_without_network_and_asked_again_with_one(tmp_path):
    live = ScriptedTransport(RequestFailed("no response within 5 s"), said([2]))
    for web in (ResponseCache(tmp_path, live), ResponseCache(tmp_path, None)):
        with pytest.raises(RequestFailed, match="no response within 5 s"):
            web.get("http://x", {}, Response.json)
    assert ResponseCache(tmp_path, live).get("http://x", {}, Response.json) == [2]
    assert ResponseCache(tmp_path, None).get("http://x", {}, Response.json) == [2]


def test_an_answer_that_cannot_be_read_is_no_answer(tmp_path):
    live = ScriptedTransport(Response(200, "<html>"), said([1]))
    for web in (ResponseCache(tmp_path, live), ResponseCache(tmp_path, None)):
        with pytest.raises(RequestFailed, match="not JSON"):
            web.get("http://x", {}, Response.json)
    assert ResponseCache(tmp_path, live).get("http://x", {}, Response.json) == [1]


def test_an_answer_that_only_an_older_reader_took_is_asked_for_again(tmp_path):
    def strict(response):
        if response.json() != [2]:
            raise RequestFailed("too old")
        return "new"

    live = ScriptedTransport(said([1]), said([2]))
    assert ResponseCache(tmp_path, live).get("http://x", {}, Response.json) == [1]
    with pytest.raises(RequestFailed, match="too old"):
        ResponseCache(tmp_path, None).get("http://x", {}, strict)
    assert ResponseCache(tmp_path, live).get("http://x", {}, strict) == "new"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"status": "200"}', b'{"status": 200}', b"\xff\xfe"])
def test_a_broken_file_is_passed_over_and_made_again(tmp_path, caplog, content):
    (tmp_path / f"{key(Request('http://x'))}.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert ResponseCache(tmp_path, ScriptedTransport(said([1]))).get("http://x", {}, Response.json) == [1]
    assert "which is not a valid cache entry" in caplog.text
    assert ResponseCache(tmp_path, None).get("http://x", {}, Response.json) == [1]


def test_an_error_of_the_settings_is_not_kept(tmp_path):
    with pytest.raises(ValueError, match="user_agent"):
        ResponseCache(tmp_path, ScriptedTransport(ValueError("user_agent"))).get("http://x", {}, Response.json)
    assert not list(tmp_path.iterdir())
