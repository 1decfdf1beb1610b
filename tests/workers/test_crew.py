"""The crew: models share workers, and a worker keeps its model as long as that has work."""

from threading import Thread

import pytest

from edit_robustness.workers import crew as crew_module
from edit_robustness.workers.crew import Crew, NobodyLeft, Stopped

PARTS = ["a part that nobody makes yet"]


def crew_of(workers):
    crew = Crew()
    crew.join(workers)
    return crew


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it."""
    now = [100.0]
    monkeypatch.setattr(crew_module.time, "monotonic", lambda: now[0])
    return now


def test_one_model_may_have_all_workers(clock):
    crew = crew_of(["w1", "w2"])
    with crew.working_for("a", PARTS):
        assert [crew.take("a"), crew.take("a"), crew.take("a")] == ["w1", "w2", None]
        crew.give_back("w2")
        assert crew.take("a") == "w2"


def test_models_that_work_at_once_have_equal_shares(clock):
    crew = crew_of(["w1", "w2", "w3", "w4"])
    with crew.working_for("a", PARTS), crew.working_for("b", PARTS):
        assert [crew.take("a") for _ in range(3)] == ["w1", "w2", None]
        assert [crew.take("b") for _ in range(3)] == ["w3", "w4", None]


def test_a_model_that_had_all_gives_up_what_another_wants(clock):
    crew = crew_of(["w1", "w2"])
    with crew.working_for("a", PARTS):
        assert [crew.take("a"), crew.take("a")] == ["w1", "w2"]
        with crew.working_for("b", PARTS):
            assert crew.take("b") is None, "both are busy"
            crew.give_back("w2")
            assert crew.take("b") == "w2"


def test_a_model_that_had_all_does_not_take_again_what_another_has_a_right_to(clock):
    crew = crew_of(["w1", "w2", "w3"])
    with crew.working_for("a", PARTS):
        assert [crew.take("a") for _ in range(3)] == ["w1", "w2", "w3"]
        with crew.working_for("b", PARTS):
            crew.give_back("w3")
            assert crew.take("a") is None
            assert crew.take("b") == "w3"
            crew.give_back("w2")
            assert (crew.take("b"), crew.take("a")) == (None, "w2")


def test_shares_differ_by_one_worker_at_most(clock):
    crew = crew_of(["w1", "w2", "w3", "w4"])
    with crew.working_for("a", PARTS), crew.working_for("b", PARTS), crew.working_for("c", PARTS):
        assert [crew.take("a") for _ in range(3)] == ["w1", "w2", None]
        assert [crew.take("b") for _ in range(2)] == ["w3", None]
        assert crew.take("c") == "w4"


def test_what_a_model_does_not_want_goes_to_others(clock):
    crew, training = crew_of(["w1", "w2", "w3", "w4"]), ["the only part"]
    with crew.working_for("a", training), crew.working_for("b", PARTS):
        assert crew.take("a") == "w1"
        training.clear()
        assert [crew.take("b") for _ in range(4)] == ["w2", "w3", "w4", None]


def test_a_free_worker_of_a_model_whose_last_part_is_being_made_goes_to_another_model_after_a_while(clock):
    crew, queue = crew_of(["w1", "w2"]), ["last", "before it"]
    with crew.working_for("a", queue):
        assert [crew.take("a"), crew.take("a")] == ["w1", "w2"]
        queue.clear()
        crew.give_back("w2")
        with crew.working_for("b", PARTS):
            assert crew.take("b") is None
            clock[0] += crew_module._GAP_SECONDS
            assert crew.take("b") == "w2"


def test_a_worker_waits_for_the_next_node_of_its_model_but_not_long(clock):
    crew = crew_of(["w1"])
    with crew.working_for("a", PARTS):
        assert crew.take("a") == "w1"
        crew.give_back("w1")
    with crew.working_for("b", PARTS):
        assert crew.take("b") is None
        clock[0] += crew_module._GAP_SECONDS
        assert crew.take("b") == "w1"


def test_its_own_model_comes_back_to_a_worker_at_once(clock):
    crew = crew_of(["w1", "w2"])
    with crew.working_for("a", PARTS), crew.working_for("b", PARTS):
        assert (crew.take("a"), crew.take("b")) == ("w1", "w2")
        crew.give_back("w1")
        crew.give_back("w2")
        assert (crew.take("b"), crew.take("a")) == ("w2", "w1")


def test_of_more_models_than_workers_the_first_come_first(clock):
    crew = crew_of(["w1"])
    with crew.working_for("a", PARTS), crew.working_for("b", PARTS), crew.working_for("c", PARTS):
        assert crew.take("c") is None
        assert crew.take("b") is None
        assert crew.take("a") == "w1"


def test_a_new_worker_has_no_model_and_a_lost_one_is_gone(clock):
    crew = crew_of(["w1", "w2"])
    with crew.working_for("a", PARTS):
        assert (crew.take("a"), crew.take("a")) == ("w1", "w2")
        crew.replace("w1", "w3")
        assert crew.take("a") == "w3"
        crew.replace("w2", None)
        crew.replace("w3", None)
        assert crew.workers == []
        with pytest.raises(NobodyLeft):
            crew.take("a")


def test_a_thread_that_waits_ends_with_the_run():
    crew, errors = crew_of(["w1"]), []
    crew.take("a")

    def wait():
        try:
            crew.take("b", wait=True)
        except Stopped as error:
            errors.append(str(error))

    thread = Thread(target=wait)
    thread.start()
    crew.stop()
    thread.join(timeout=10)
    assert errors == ["the run ends"]


def test_who_joins_after_the_end_has_no_work():
    crew = Crew()
    crew.stop()
    crew.join(["w1"])
    with pytest.raises(Stopped):
        crew.take("a")
