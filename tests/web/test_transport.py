import logging
import time
from email.utils import formatdate

import pytest
from local_server import FakeClock, Say, local_server
from pydantic import ValidationError

from edit_robustness.web import exchange
from edit_robustness.web.transport import (
    Http,
    Request,
    RequestFailed,
    RequestSettings,
    Response,
    _Host,
    accept_any,
    retry_after,
)

SECRET = {"Authorization": "Bearer s3cret"}


@pytest.fixture
def server():
    with local_server() as server:
        yield server


@pytest.fixture
def clock():
    return FakeClock()


def http(clock, **manners):
    return Http(
        RequestSettings(**{"user_agent": "tests (me@here)", "timeout": 5.0, "per_second": 1000.0, **manners}), clock
    )


def test_a_query_and_a_body_arrive_with_who_asks(server, clock):
    server.says(Say({"a": "ü"}))
    web = http(clock)
    assert web.get(server.url + "/x/y", {"q": "a&b", "n": "ü"}, Response.json) == {"a": "ü"}
    assert web.post(server.url + "/z", {"model": "m"}, Response.json, SECRET) == {"a": "ü"}
    got, post = server.requests
    assert (got.method, got.path, got.query, got.body) == ("GET", "/x/y", {"q": "a&b", "n": "ü"}, None)
    assert (post.method, post.path, post.query, post.body) == ("POST", "/z", {}, {"model": "m"})
    assert got.headers["User-Agent"] == post.headers["User-Agent"] == "tests (me@here)"
    assert "Authorization" not in got.headers
    assert post.headers["Authorization"] == SECRET["Authorization"]


def test_what_passes_is_asked_again_with_growing_pauses(server, clock):
    server.says(Say(status=503), Say(status=502), Say({"views": 3}, breaks_off=True), Say({"views": 3}))
    assert http(clock, backoff=2.0).get(server.url, {}, Response.json) == {"views": 3}
    assert len(server.requests) == 4
    assert [pause for pause in clock.slept if pause >= 1] == [2.0, 4.0, 8.0]


@pytest.mark.parametrize("header", ["7", "date"])
def test_a_throttled_request_waits_as_long_as_it_is_asked_to(server, clock, header):
    later = formatdate(clock.start + 7, usegmt=True)
    server.says(Say(status=429, headers={"Retry-After": later if header == "date" else header}), Say([1]))
    assert http(clock, backoff=0.5).get(server.url, {}, Response.json) == [1]
    assert sum(clock.slept) == pytest.approx(7.0, abs=0.01)


def test_a_host_that_asks_for_too_long_is_left_alone(server, clock):
    server.says(Say(status=429, headers={"Retry-After": "3600"}), Say([1]))
    web = http(clock)
    for _ in range(3):
        with pytest.raises(RequestFailed, match="requests a pause of more than 120 s"):
            web.get(server.url, {}, Response.json)
    assert len(server.requests) == 1
    assert sum(clock.slept) < 120
    clock.passed += 3600
    assert web.get(server.url, {}, Response.json) == [1]


def test_one_pace_for_each_host(server, clock):
    server.says(Say([1]))
    web, times = http(clock, per_second=4.0), []

    def stamped(response):
        times.append(clock.now())

    for _ in range(5):
        web.get(server.url, {}, stamped)
        clock.passed += 0.1
    web.get(server.url.replace("127.0.0.1", "localhost"), {}, stamped)
    assert times[:5] == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    assert times[5] == pytest.approx(1.1)


def test_threads_that_wait_at_the_same_time_keep_one_pace():
    delays = []

    class StandingClock(FakeClock):
        """Others wait while one sleeps, so no time passes between them."""

        def sleep(self, seconds):
            delays.append(seconds)

    host = _Host("here", RequestSettings(user_agent="tests (me@here)", per_second=4.0), StandingClock())
    for _ in range(4):
        host.wait()
    assert delays == pytest.approx([0.25, 0.5, 0.75])


def test_silence_is_given_up_with_a_reason(server, clock):
    server.says(Say([1], after=0.5))
    with pytest.raises(RequestFailed, match=r"127\.0\.0\.1: no response within 0\.1 s, after 2 attempts"):
        http(clock, timeout=0.1, attempts=2).get(server.url, {}, Response.json)
    assert len(server.requests) == 2


def test_a_host_that_is_down_is_not_asked_for_ever(clock, caplog):
    with local_server() as server:
        url = server.url
    web = http(clock, attempts=2, give_up=3)
    for _ in range(3):
        with pytest.raises(RequestFailed, match="the connection failed or broke off"):
            web.get(url, {}, Response.json)
    start_time = time.monotonic()
    for _ in range(100):
        with pytest.raises(RequestFailed, match="did not respond 3 times in a row and is considered down"):
            web.get(url, {}, Response.json)
    assert time.monotonic() - start_time < 1
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1


def test_a_server_that_says_no_is_not_down(server, clock):
    server.says(Say(status=503))
    web = http(clock, attempts=1, give_up=2)
    for _ in range(4):
        with pytest.raises(RequestFailed, match="the server returned status 503"):
            web.get(server.url, {}, Response.json)
    assert len(server.requests) == 4


def test_which_statuses_are_asked_again_is_a_setting(server, clock):
    server.says(Say(status=500, text="TimeoutException"))
    with pytest.raises(RequestFailed, match="the server returned status 500: 'TimeoutException'"):
        http(clock, retried=(429,)).get(server.url, {}, Response.json)
    assert len(server.requests) == 1


@pytest.mark.parametrize("text", ["<html>log in</html>", "", '{"a": ', "[" * 100_000, "\xff"])
def test_nonsense_is_no_answer(server, clock, text):
    server.says(Say(text=text))
    with pytest.raises(RequestFailed, match="the response is not JSON"):
        http(clock).get(server.url, {}, Response.json)


def test_a_reader_gets_statuses_that_are_answers(server, clock):
    server.says(Say({"detail": "nothing"}, status=404))
    assert http(clock).get(server.url, {}, accept_any) == Response(404, '{"detail": "nothing"}')
    assert len(server.requests) == 1


def test_credentials_are_in_no_log_and_no_error(server, clock, caplog):
    caplog.set_level(logging.DEBUG)
    server.says(Say(status=401, text="who?"))
    with pytest.raises(RequestFailed) as no_answer:
        http(clock).post(server.url, {}, Response.json, SECRET)
    with pytest.raises(ValueError, match="cannot be sent") as value_error:
        http(clock).post(server.url, {}, Response.json, {"Authorization": "Bearer s3cret\nline"})
    with pytest.raises(ValueError, match="cannot be sent") as exotic:
        http(clock).post(server.url, {}, Response.json, {"Authorization": "Bearer s3cret\u4e2d"})
    texts = [caplog.text, repr(Request("u", secret=SECRET)), *(str(e.value) for e in (no_answer, value_error, exotic))]
    assert not any("s3cret" in text for text in texts)
    assert len(server.requests) == 1


def test_credentials_do_not_follow_a_redirect(server, clock):
    server.says(Say(status=302, headers={"Location": "/elsewhere"}), Say([1]))
    with pytest.raises(RequestFailed, match="the server returned status 302"):
        http(clock).post(server.url, {}, Response.json, SECRET)
    assert len(server.requests) == 1
    server.says(Say(status=302, headers={"Location": "/elsewhere"}), Say([1]))
    assert http(clock).get(server.url, {}, Response.json) == [1]


def test_a_redirect_to_nonsense_stops_nothing(server, clock):
    server.says(Say(status=302, headers={"Location": "http://"}))
    with pytest.raises(RequestFailed, match="more than 10 redirects"):
        http(clock, attempts=1).get(server.url, {}, Response.json)


@pytest.mark.parametrize("drips", ["body", "all"])
def test_an_answer_that_drips_ends_at_the_deadline(server, clock, drips):
    server.says(Say(text="[" + "1," * 1000, drips=drips))
    start_time = time.monotonic()
    with pytest.raises(RequestFailed, match=r"the response was not complete within 0\.3 s \(deadline\)"):
        http(clock, deadline=0.3).get(server.url, {}, Response.json)
    assert time.monotonic() - start_time < 2
    assert len(server.requests) == 1


def test_an_answer_within_the_deadline_is_whole(server, clock):
    server.says(Say([1, 2, 3], drips="body", pause=0.001))
    assert http(clock, deadline=5.0).get(server.url, {}, Response.json) == [1, 2, 3]


@pytest.mark.parametrize("status", [200, 302])
def test_an_endless_answer_ends_at_the_limit(server, clock, status):
    server.says(Say(text="x" * 65_536, endless=True, status=status))
    with pytest.raises(RequestFailed, match=r"the response is longer than 100000 bytes \(max_bytes\)"):
        http(clock, max_bytes=100_000).get(server.url, {}, Response.json)
    assert len(server.requests) == 1


PRIVATE = ["127.0.0.1", "localhost", "169.254.169.254", "10.1.2.3", "172.16.0.1", "192.168.1.1", "[::1]", "[fc00::1]"]


@pytest.mark.parametrize("host", [*PRIVATE, "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0", "100.64.0.1"])
def test_a_redirect_to_this_machine_or_a_private_network_is_not_followed(server, clock, host):
    with local_server() as inner:
        port = inner.url.rpartition(":")[2]
        server.says(Say(status=302, headers={"Location": f"http://{host}:{port}/admin"}))
        with pytest.raises(RequestFailed, match=r"it redirects to .* which is not followed \(allow_private\)"):
            http(clock).get(server.url, {}, Response.json)
        assert not inner.requests
    assert len(server.requests) == 1


def test_a_name_that_stands_for_this_machine_is_private(server, clock, monkeypatch):
    monkeypatch.setattr(exchange.socket, "getaddrinfo", resolves_here(exchange.socket.getaddrinfo))
    server.says(Say(status=302, headers={"Location": "http://innocent.example/"}))
    with pytest.raises(RequestFailed, match=r"it redirects to innocent\.example"):
        http(clock).get(server.url, {}, Response.json)


def resolves_here(real):
    return lambda host, *arguments, **options: real(
        "127.0.0.1" if host == "innocent.example" else host, *arguments, **options
    )


def test_a_redirect_to_this_machine_can_be_allowed_and_one_to_the_same_place_is(server, clock):
    with local_server() as inner:
        inner.says(Say([2]))
        server.says(Say(status=302, headers={"Location": inner.url}))
        assert http(clock, allow_private=True).get(server.url, {}, Response.json) == [2]
    server.says(Say(status=307, headers={"Location": server.url + "/v1/"}), Say([1]))
    assert http(clock).get(server.url, {}, Response.json) == [1]


def test_credentials_of_an_address_go_to_its_host_only_and_are_in_no_log_and_no_error(server, clock, caplog):
    caplog.set_level(logging.DEBUG)
    with local_server() as inner:
        inner.says(Say([2]))
        server.says(Say(status=302, headers={"Location": inner.url}))
        url = server.url.replace("//", "//me:s3cret@")
        assert http(clock, allow_private=True).get(url, {"q": "1"}, Response.json) == [2]
        assert server.requests[0].headers["Authorization"].startswith("Basic ")
        assert "Authorization" not in inner.requests[0].headers
    with pytest.raises(ValueError, match="cannot be sent") as value_error:
        http(clock).get("http://me:s3cret@/x?token=s3cret", {}, Response.json)
    assert "s3cret" not in caplog.text + str(value_error.value)


def test_half_a_surrogate_pair_never_reaches_a_value(server, clock):
    server.says(Say(text='{"a\\ud83d": ["b\\uDE00", "\\ud83d\\ude00", "c\\\\ud83d"]}'))
    value = http(clock).get(server.url, {}, Response.json)
    assert value == {"a\ufffd": ["b\ufffd", "\U0001f600", "c\\ud83d"]}


def test_no_credentials_come_from_a_netrc(server, clock, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.says(Say([1]))
    http(clock).get(server.url, {}, Response.json)
    assert "Authorization" not in server.requests[0].headers


def test_somebody_must_ask(server, clock):
    with pytest.raises(ValueError, match=r"`user_agent` is empty.*conf/local/globals\.yml"):
        http(clock, user_agent=" ").get(server.url, {}, Response.json)
    assert not server.requests


@pytest.mark.parametrize("url", ["no address", "http://", "//x"])
def test_an_address_that_is_none_is_an_error_of_the_settings(clock, url):
    with pytest.raises(ValueError, match="cannot be sent"):
        http(clock).get(url, {}, Response.json)


@pytest.mark.parametrize(
    "settings",
    [
        {"deadline": 0},
        {"max_bytes": 0},
        {"per_second": 0},
        {"attempts": 0},
        {"timeout": 0},
        {"backoff": -1},
        {"retries": 3},
    ],
)
def test_manners_refuse_what_makes_no_sense(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        RequestSettings(**settings)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 0), ("", 0), ("12", 12), (" 3 ", 3), ("-5", 0), ("soon", 0), ("1e9", 0), ("²", 0)],
)
def test_retry_after(header, seconds):
    assert retry_after(header, 1_700_000_000.0) == seconds


def test_a_date_that_has_passed_asks_for_nothing():
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 1_700_000_000.0) == 0.0
