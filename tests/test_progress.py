"""The lines of long work where there is no terminal, and the bar on one."""

import logging
from types import SimpleNamespace

import pytest
from rich.console import Console

from edit_robustness import progress
from edit_robustness.progress import track


@pytest.fixture
def clock(monkeypatch):
    """Each look at the clock is a second after the one before."""
    times = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))


def made(errors):
    return [SimpleNamespace(error=error) for error in errors]


def test_lines_have_what_is_done_and_failed_its_rate_and_the_time_left(clock, monkeypatch, caplog):
    monkeypatch.setattr(progress, "_EVERY", 3)
    items = made([None, ValueError("no"), None, None, None, None])
    with caplog.at_level(logging.INFO):
        assert list(track(items, "edits", 6)) == items
    assert [record.getMessage() for record in caplog.records] == [
        "edits: 3 of 6, 1/s, 1 failed, about 3 s left",
        "edits: 6 of 6 in 8 s, 1 failed",
    ]


@pytest.fixture
def lines_of(monkeypatch, caplog):
    """The lines about items that come after these seconds each."""

    def lines_of(pauses):
        now = [0.0]
        monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

        def items():
            for pause in pauses:
                now[0] += pause
                yield pause

        with caplog.at_level(logging.INFO):
            list(track(items(), "answers", len(pauses)))
        return [record.getMessage() for record in caplog.records]

    return lines_of


def test_the_rate_is_that_of_whole_batches(lines_of):
    assert lines_of([100, *[0.01] * 9] * 3) == [
        "answers: 10 of 30, 0.1/s, about 200 s left",
        "answers: 20 of 30, 0.1/s, about 100 s left",
        "answers: 30 of 30 in 300 s",
    ]


def test_items_that_come_fast_have_lines_too(lines_of):
    assert len(lines_of([0.1] * 400)) == 3


def test_an_increment_that_failed_counts_as_failed(clock, caplog):
    items = [SimpleNamespace(error=None, value=value) for value in made([None, ValueError("no"), "no"])]
    with caplog.at_level(logging.INFO):
        list(track(items, "edits in sequence", 3))
    assert [record.getMessage() for record in caplog.records] == ["edits in sequence: 3 of 3 in 5 s, 2 failed"]


def test_nothing_is_said_of_failures_where_there_are_none(clock, caplog):
    with caplog.at_level(logging.INFO):
        list(track(["a", "b"], "texts", 2))
    assert [record.getMessage() for record in caplog.records] == ["texts: 2 of 2 in 4 s"]


def test_work_that_is_left_early_says_nothing_of_its_end(caplog):
    with caplog.at_level(logging.INFO):
        next(track(["a", "b"], "texts", 2))
    assert not caplog.records


def test_a_terminal_shows_a_bar_with_the_same(monkeypatch):
    console = Console(force_terminal=True, width=120, record=True)
    monkeypatch.setattr(progress, "CONSOLE", console)
    list(track(made([None, ValueError("no")]), "edits", 2))
    text = console.export_text()
    assert "edits" in text
    assert "2/2" in text
    assert "1 failed" in text


def test_the_bars_of_several_threads_are_in_one_display(monkeypatch):
    console = Console(force_terminal=True, width=120, record=True)
    monkeypatch.setattr(progress, "CONSOLE", console)
    edits, answers = track(made([None, None]), "edits", 2), track(made([None]), "answers", 1)
    next(edits)
    list(answers)
    list(edits)
    text = console.export_text()
    assert "edits" in text
    assert "answers" in text
    assert progress._Display._progress is None
