"""Workers as Ray actors: the same items as in this process, whatever happens to a worker."""

import os
import signal
import sys
from collections import deque

import pytest

ray = pytest.importorskip("ray")

from edit_robustness.datasets import LanguageModelDataset  # noqa: E402 - after the check for Ray
from edit_robustness.workers import Task, Work, WorkerDied  # noqa: E402
from edit_robustness.workers.pool import ThisProcess  # noqa: E402
from edit_robustness.workers.ray_workers import RayWorkers, UnusableWorkers, _Part, _Running, find_lack  # noqa: E402
from edit_robustness.workers.settings import WorkerParameters  # noqa: E402

KEYS = [f"f{number}" for number in range(24)]


def letters(lm, inputs, ending):
    """Items that take a model; an input of `die` kills its process, `die once` only until the file is there."""
    for text in inputs:
        if text.startswith("die once"):
            path = text.split()[-1]
            if not os.path.exists(path):
                open(path, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
        elif text == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif text == "fail":
            raise ValueError("no such letter")
        yield f"{text}{ending} {lm.name}"


def group(lm, inputs):
    """Items that depend on which are made together."""
    yield from letters(lm, inputs, f" of {len(inputs)}")


def count(lm, inputs, text):
    """A stream of numbers from one input, the last that is known; it dies at 2 as `letters` does."""
    (start,) = inputs
    for number in range(start + 1, 4):
        if number == 2:
            list(letters(lm, [text], ""))
        yield number


def go_on(start, value):
    """After a number comes the next."""
    return start + 1 if isinstance(value, WorkerDied) else value


@pytest.fixture(scope="module")
def lm():
    return LanguageModelDataset(name="tiny", random="llama").load()


@pytest.fixture(scope="module")
def workers():
    # the functions of this module have no name in another process
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    workers = RayWorkers(WorkerParameters(count=2, threads=1, retries=1))
    yield workers
    workers.close()


def outcomes(attempts):
    return {attempt.key: attempt.value if attempt.error is None else str(attempt.error) for attempt in attempts}


def make(workers, lm, inputs, **options):
    work = Work(letters, inputs, ("!",))
    return outcomes(workers.attempts(lm, Task(work, list(inputs), "letters", **options)))


def test_workers_make_what_this_process_makes(workers, lm):
    inputs = {key: key.upper() for key in KEYS}
    assert make(workers, lm, inputs) == make(ThisProcess(), lm, inputs)


def test_an_item_that_kills_every_worker_is_lost_alone(workers, lm):
    inputs = {key: key for key in KEYS} | {"f3": "die"}
    result = make(workers, lm, inputs)
    assert result.pop("f3") == "the worker died 2 times over it"
    assert result == {key: f"{key}! tiny" for key in KEYS if key != "f3"}


def test_an_item_that_fails_is_lost_alone(workers, lm):
    inputs = {key: key for key in KEYS} | {"f3": "fail"}
    result = make(workers, lm, inputs)
    assert result.pop("f3") == "no such letter"
    assert result == {key: f"{key}! tiny" for key in KEYS if key != "f3"}


def after_death(part, made_keys=(), *, retries=0, advance=None):
    """What is made again, with the deaths over it, and what is given up."""
    workers, queue, inputs = RayWorkers(WorkerParameters(count=1, retries=retries)), deque(), {"a": 0, "b": 0, "c": 0}
    task, state = Task(Work(letters, inputs), list(inputs), "letters", advance=advance), _Running(part, None)
    state.made_keys.update(made_keys)
    lost = outcomes(workers._after_death(task, inputs, state, queue, RuntimeError("killed")))
    return [(part.keys, part.deaths) for part in queue], lost


def test_only_an_item_that_was_alone_is_given_up():
    assert after_death(_Part(["a", "b", "c"]), ["a"]) == ([(["b"], 1), (["c"], 0)], {})
    assert after_death(_Part(["a"], 1)) == ([], {"a": "the worker died 2 times over it"})
    assert after_death(_Part(["a"], 1), retries=2) == ([(["a"], 2)], {})
    assert after_death(_Part(["a"]), ["a"]) == ([], {})


def test_a_batch_is_made_whole_again_and_at_last_one_by_one():
    batch = _Part(["a", "b", "c"], whole=True)
    assert after_death(batch, ["a"], retries=1) == ([(["a", "b", "c"], 1)], {})
    assert after_death(batch, ["a"]) == ([(["b"], 1), (["c"], 1)], {})


def test_a_stream_counts_the_deaths_over_one_value_and_may_go_on_after_it():
    assert after_death(_Part(["a"], 1), ["a"], retries=1, advance=go_on) == ([(["a"], 1)], {})
    lost = {"a": "the worker died 2 times over it"}
    assert after_death(_Part(["a"], 1), retries=1, advance=go_on) == ([(["a"], 0)], lost)
    assert after_death(_Part(["a"], 1), retries=1, advance=lambda start, value: None) == ([], lost)


def test_batches_stay_whole_and_only_what_is_wanted_comes(workers, lm, tmp_path):
    batches = [KEYS[:5], KEYS[5:12], KEYS[12:]]
    inputs = {key: key for key in KEYS} | {"f8": f"die once {tmp_path / 'died'}"}
    task = Task(Work(group, inputs), ["f1", "f6", "f23"], "letters", batches=batches)
    assert outcomes(workers.attempts(lm, task)) == {"f1": "f1 of 5 tiny", "f6": "f6 of 7 tiny", "f23": "f23 of 12 tiny"}


def stream(workers, lm, text):
    task = Task(Work(count, {"a": 0}, (text,)), ["a"], "numbers", advance=go_on)
    return [attempt.value if attempt.error is None else str(attempt.error) for attempt in workers.attempts(lm, task)]


def test_a_stream_goes_on_after_the_value_that_came_before_its_worker_died(workers, lm, tmp_path):
    assert stream(ThisProcess(), lm, "b") == [1, 2, 3]
    assert stream(ThisProcess(), lm, "fail") == [1, "no such letter"]
    assert stream(workers, lm, f"die once {tmp_path / 'died'}") == [1, 2, 3]


def test_a_model_that_a_worker_cannot_load_ends_the_run_in_one_line(workers, lm, monkeypatch):
    monkeypatch.setattr(lm, "entry", {"name": "tiny", "folder": "no/such/folder"})
    with pytest.raises(
        UnusableWorkers, match=r"^workers: tiny: a worker cannot load .*there is no folder no/such/folder$"
    ):
        make(workers, lm, {"a": "a"})
    monkeypatch.setattr(lm, "entry", {"name": "tiny", "random": "llama", "seed": 1})
    with pytest.raises(UnusableWorkers, match=r"^workers: tiny: a worker loads another model than this process"):
        make(workers, lm, {"a": "a"})


def test_more_than_there_is_is_refused():
    there = {"CPU": 4.0}
    assert not find_lack(there, WorkerParameters(count=2), threads=2)
    assert "3 workers with threads=2 need 6 CPUs, and there are 4" in find_lack(there, WorkerParameters(count=3), 2)
    assert "gpus=0.5 need 1 GPUs, and there are 0" in find_lack(there, WorkerParameters(count=2, gpus=0.5), 1)


def test_an_address_where_nothing_answers_is_refused_at_once():
    with pytest.raises(UnusableWorkers, match=r"nothing answers at ray://127.0.0.1:9 .*ray start --head"):
        RayWorkers(WorkerParameters(count=1, address="ray://127.0.0.1:9"))


def test_without_ray_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("edit_robustness.workers.ray_workers.find_spec", lambda name: None)
    with pytest.raises(UnusableWorkers, match="pip install ray"):
        RayWorkers(WorkerParameters(count=2))
