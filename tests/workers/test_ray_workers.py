"""Workers as Ray actors: the same items as in this process, whatever happens to a worker."""

import os
import signal
import sys

import pytest

ray = pytest.importorskip("ray")

from edit_robustness.datasets import LanguageModelDataset  # noqa: E402 - after the check for Ray
from edit_robustness.workers import Work  # noqa: E402
from edit_robustness.workers.pool import ThisProcess  # noqa: E402
from edit_robustness.workers.ray_workers import RayWorkers, UnusableWorkers, find_lack  # noqa: E402
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
    return [f"{text} of {len(inputs)}" for text in inputs]


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
    return outcomes(workers.attempts(lm, work, list(inputs), "letters", **options))


def test_workers_make_what_this_process_makes(workers, lm):
    inputs = {key: key.upper() for key in KEYS}
    assert make(workers, lm, inputs) == make(ThisProcess(), lm, inputs)


def test_a_worker_that_is_killed_costs_its_items_a_second_try(workers, lm, tmp_path):
    inputs = {key: key for key in KEYS} | {"f7": f"die once {tmp_path / 'died'}"}
    result = make(workers, lm, inputs)
    assert set(result) == set(KEYS)
    assert all(text.endswith("! tiny") for text in result.values())


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


def test_batches_stay_whole_and_only_what_is_wanted_comes(workers, lm):
    batches = [KEYS[:5], KEYS[5:12], KEYS[12:]]
    work = Work(group, {key: key for key in KEYS})
    result = outcomes(workers.attempts(lm, work, ["f1", "f23"], "letters", batches=batches))
    assert result == {"f1": "f1 of 5", "f23": "f23 of 12"}


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
