"""One failure loses one item, and nothing is slower where nothing fails."""

import logging

import pytest

from edit_robustness.datasets.failures import FailedItem, failed_table, run_attempts, run_batches, stop_at_failure
from edit_robustness.datasets.folders import StoredItem

KEYS = [f"f{number}" for number in range(20)]


def batched(bad, calls, size=5):
    """Makes items in batches, of which each fails as a whole."""

    def make(keys):
        calls.append(list(keys))
        for first in range(0, len(keys), size):
            batch = keys[first : first + size]
            if set(batch) & set(bad):
                raise RuntimeError(f"a batch of {len(batch)}")
            yield from (key.upper() for key in batch)

    return make


def outcome(items):
    return {item.key: item.value if item.error is None else str(item.error) for item in items}


def test_what_does_not_fail_is_made_in_one_call():
    calls = []
    assert outcome(run_attempts(KEYS, batched([], calls), "letters")) == {key: key.upper() for key in KEYS}
    assert calls == [KEYS]


def test_an_item_that_fails_its_batch_is_lost_alone(caplog):
    calls, bad = [], ["f7", "f8", "f19"]
    with caplog.at_level(logging.DEBUG, "edit_robustness"):
        result = outcome(run_attempts(KEYS, batched(bad, calls), "letters"))
    assert result == {key: "a batch of 1" if key in bad else key.upper() for key in KEYS}
    assert list(result) == KEYS
    assert len(calls) < 20
    lines = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in lines] == [f"letters: {key} failed: a batch of 1" for key in bad]
    assert all(record.exc_info is None for record in lines)
    assert "Traceback" in caplog.text, "for the log file"


def test_a_batch_of_which_an_item_is_missing_is_made_whole():
    calls, batches = [], [KEYS[:5], KEYS[5:10], KEYS[10:15], KEYS[15:]]
    result = outcome(run_batches(batches, ["f7", "f19"], batched([], calls), "letters"))
    assert result == {"f7": "F7", "f19": "F19"}
    assert calls == [KEYS[5:10], KEYS[15:]]


def test_an_item_that_fails_its_batch_leaves_the_others_of_the_batch():
    calls, batches = [], [KEYS[:5], KEYS[5:10]]
    result = outcome(run_batches(batches, KEYS[:10], batched(["f7"], calls), "letters"))
    assert result == {key: "a batch of 1" if key == "f7" else key.upper() for key in KEYS[:10]}


def test_an_error_leaves_the_later_batches_whole():
    calls, batches = [], [KEYS[:5], KEYS[5:10], KEYS[10:15]]
    outcome(run_batches(batches, KEYS[:15], batched(["f1"], calls), "letters"))
    assert calls[-2:] == [KEYS[5:10], KEYS[10:15]]
    result = outcome(run_batches(batches, ["f0", "f9", "f14"], batched(KEYS, []), "letters", patience=3))
    assert result == {
        "f0": "a batch of 1",
        "f9": "not tried after 3 failures in a row: a batch of 1",
        "f14": "not tried after 3 failures in a row: a batch of 1",
    }


def test_what_is_made_one_by_one_is_not_tried_twice():
    calls = []
    result = outcome(run_attempts(KEYS[:4], batched(["f1"], calls, size=1), "letters", in_batches=False))
    assert result == {"f0": "F0", "f1": "a batch of 1", "f2": "F2", "f3": "F3"}
    assert calls == [KEYS[:4], KEYS[2:4]]


def test_what_fails_before_it_yields_fails_an_item():
    def make(keys):
        if "f1" in keys:
            raise RuntimeError("at once")
        return [key.upper() for key in keys]

    assert outcome(run_attempts(KEYS[:3], make, "letters")) == {"f0": "F0", "f1": "at once", "f2": "F2"}


def test_an_item_that_may_not_be_kept_stops_nothing():
    calls = []

    def check(item):
        if item == "F1":
            raise ValueError("not this one")

    result = outcome(run_attempts(KEYS[:3], batched([], calls), "letters", check=check))
    assert result == {"f0": "F0", "f1": "not this one", "f2": "F2"}
    assert calls == [KEYS[:3]]


def test_a_service_that_is_down_is_not_asked_for_every_item():
    calls = []
    result = outcome(run_attempts(KEYS, batched(KEYS, calls), "letters", patience=3))
    assert len(calls) == 4
    assert result["f2"] == "a batch of 1"
    assert result["f3"] == "not tried after 3 failures in a row: a batch of 1"
    assert list(result) == KEYS


def test_what_makes_nothing_is_a_defect():
    with pytest.raises(RuntimeError, match="nothing was made of 20 items"):
        list(run_attempts(KEYS, lambda keys: [], "letters"))


def test_a_run_can_stop_at_the_first_failure():
    stop_at_failure(True)
    try:
        with pytest.raises(FailedItem, match="letters: f7 failed: a batch of 1"):
            list(run_attempts(KEYS, batched(["f7"], []), "letters"))
    finally:
        stop_at_failure(False)
    with pytest.raises(ValueError, match="stop_at_failure: true or false, not 'no'"):
        stop_at_failure("no")


def test_a_table_of_what_failed():
    items = {
        "a": StoredItem.of("1", "fine"),
        "b": StoredItem.failed_item("2", "no\nway", fact_id="b"),
        "c": StoredItem.failed_item("3", ""),
    }
    table = failed_table("tiny", [("rome", "edit", items), ("", "judge", None)])
    assert table[["model", "method", "stage", "key", "fact_id"]].to_numpy().tolist() == [
        ["tiny", "rome", "edit", "b", "b"],
        ["tiny", "rome", "edit", "c", ""],
    ]
    assert failed_table("tiny", []).columns.tolist() == table.columns.tolist()
