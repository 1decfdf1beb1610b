"""The runner of the project: nodes side by side if the run has workers."""

from threading import Barrier, Event
from threading import enumerate as enumerate_threads

import pytest
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner
from kedro.utils import load_obj

from edit_robustness import cli, runner
from edit_robustness.errors import node_of
from edit_robustness.runner import SideBySideRunner
from edit_robustness.workers.crew import Stopped
from edit_robustness.workers.pool import ThisProcess, Workers


class Elsewhere(Workers):
    """Workers that are not in this process, and that can be told to stop."""

    def __init__(self):
        self.ended, self.successors = Event(), []

    def attempts(self, lm, task):
        raise NotImplementedError

    def close(self):
        pass

    def stop(self):
        self.ended.set()


@pytest.fixture
def workers(monkeypatch):
    workers = Elsewhere()
    monkeypatch.setattr(runner, "current_workers", lambda: workers)

    def replace(successor):
        workers.successors.append(successor)
        # Ray's processes die with the thread that started them
        assert any(thread.name.startswith("node") for thread in enumerate_threads())

    monkeypatch.setattr(runner, "use_workers", replace)
    return workers


def run(nodes, **inputs):
    catalog = DataCatalog({name: MemoryDataset(value) for name, value in inputs.items()})
    outputs = SideBySideRunner().run(Pipeline(nodes), catalog)
    return {name: dataset.load() for name, dataset in outputs.items()}


def test_nodes_whose_inputs_are_there_run_at_once_and_others_after_them(workers):
    together = Barrier(2, timeout=20)

    def first(number):
        together.wait()
        return number + 1

    def second(number):
        together.wait()
        return number + 2

    nodes = [
        Node(first, "a", "b", name="first"),
        Node(second, "a", "c", name="second"),
        Node(lambda b, c: b * c, ["b", "c"], "d", name="third"),
    ]
    assert run(nodes, a=1) == {"d": 6}
    assert [type(successor) for successor in workers.successors] == [ThisProcess]


def test_an_error_of_a_node_ends_the_others_and_is_the_run_s_error(workers):
    def fail(number):
        raise ValueError("no such number")

    def wait(number):
        # as a node whose items the workers make
        if workers.ended.wait(timeout=20):
            raise RuntimeError("the run ends")
        return number

    nodes = [Node(fail, "a", "b", name="fail"), Node(wait, "a", "c", name="wait"), Node(len, "c", "d", name="after")]
    with pytest.raises(ValueError, match="no such number"):
        run(nodes, a=1)


def test_the_error_of_another_node_is_in_the_log_and_the_workers_end(workers, caplog):
    together = Barrier(2, timeout=20)

    def fail(number):
        together.wait()
        raise ValueError("no such number")

    def fail_later(number):
        together.wait()
        workers.ended.wait(timeout=20)
        raise OSError("no space left")

    def end(number):
        workers.ended.wait(timeout=20)
        raise DatasetError("loading fails") from Stopped("the run ends")

    nodes = [
        Node(fail, "a", "b", name="fail"),
        Node(fail_later, "a", "c", name="later"),
        Node(end, "a", "d", name="end"),
    ]
    with pytest.raises(ValueError, match="no such number") as caught:
        run(nodes, a=1)
    assert node_of(caught.value) == "fail"
    assert [line for line in caplog.messages if "too" in line] == ["later failed, too: no space left"]
    assert [type(successor) for successor in workers.successors] == [ThisProcess]


def test_without_workers_nodes_run_one_after_another():
    numbers = []
    nodes = [Node(lambda a: numbers.append(a) or a, "a", f"b{number}", name=f"n{number}") for number in range(3)]
    assert run(nodes, a=1) == {"b0": 1, "b1": 1, "b2": 1}
    assert numbers == [1, 1, 1]


def test_it_is_the_runner_of_the_command_and_kedro_viz_records_its_nodes():
    from kedro_viz.integrations.kedro.hooks_utils import is_sequential_runner

    assert load_obj(cli._RUNNER) is SideBySideRunner
    assert issubclass(SideBySideRunner, SequentialRunner)
    assert is_sequential_runner({"runner": str(SideBySideRunner())})
