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
    monkeypatch.setattr(progress, "_EVERY", 5)
    items = made([None, ValueError("no"), None, None, None, None])
    with caplog.at_level(logging.INFO):
        assert list(track(items, "edits", 6)) == items
    assert [record.getMessage() for record in caplog.records] == [
        "edits: 3 of 6, 0.6/s, 1 failed, about 5 s left",
        "edits: 6 of 6 in 14 s, 1 failed",
    ]


def test_an_increment_that_failed_counts_as_failed(clock, caplog):
    items = [SimpleNamespace(error=None, value=value) for value in made([None, ValueError("no"), "no"])]
    with caplog.at_level(logging.INFO):
        list(track(items, "edits in sequence", 3))
    assert [record.getMessage() for record in caplog.records] == ["edits in sequence: 3 of 3 in 8 s, 2 failed"]


def test_nothing_is_said_of_failures_where_there_are_none(clock, caplog):
    with caplog.at_level(logging.INFO):
        list(track(["a", "b"], "texts", 2))
    assert [record.getMessage() for record in caplog.records] == ["texts: 2 of 2 in 6 s"]


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
