"""A sweep on a cluster of three machines, whose workers, machines and driver are killed: the tables of one process."""

import logging
import os
import random
import signal
import subprocess
import sys
import time
from threading import Event, Thread

import pandas as pd
import psutil
import pytest
import yaml
from whole_run import ROOT, copy_of_the_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
ray = pytest.importorskip("ray")
logger = logging.getLogger(__name__)

MODELS = {"tiny": "llama", "second": "gpt2", "third": "qwen2"}
METHODS = ("none", "context", "ft", "ft_l", "rome", "memit", "grace", "ike")
KILLS_OF_THE_DRIVER = (40, 80)
"""Seconds after which the driver is killed, each counted from its start."""


def sweep(folder):
    """A copy of the project with three models and eight methods."""
    project = copy_of_the_project(folder)
    path = project / "conf" / "test" / "parameters.yml"
    parameters = yaml.safe_load(path.read_text())
    grid, methods = parameters["grid"], parameters["methods"]
    for model in MODELS:
        grid[model] = dict.fromkeys(METHODS, True)
        for method in METHODS:
            methods[method][model] = methods[method]["tiny"]
    path.write_text(yaml.safe_dump(parameters))
    with (project / "conf" / "test" / "catalog.yml").open("a") as file:
        for model, architecture in list(MODELS.items())[1:]:
            entry = {"type": "edit_robustness.datasets.LanguageModelDataset", "name": model, "random": architecture}
            file.write("\n" + yaml.safe_dump({f"{model}.language_model": entry}))
    facts = pd.read_csv(ROOT / "data" / "01_raw" / "facts.csv", dtype=str, keep_default_na=False)
    facts.iloc[3::8].to_csv(project / "data" / "01_raw" / "other.csv", index=False)
    return project


def start(project, facts, log, **workers):
    settings = [f"workers.{name}={value}" for name, value in {"threads": 1, **workers}.items()]
    params = ",".join([f"facts_path=data/01_raw/{facts}.csv", *settings])
    words = ["run", "--env=test", "--pipeline=edit_eval", f"--params={params}"]
    environment = {**os.environ, "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "kedro", *words], cwd=project, env=environment, stdout=log, stderr=log
    )


def tables(project):
    folder = project / "data" / "test" / "08_reporting" / "latest"
    return {path.name: pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}


def workers_of_ray():
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "ray::WorkerProcess.make" in " ".join(process.info["cmdline"])
    ]


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_worker_niceness", "0")
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    others = [machines.add_node(num_cpus=2) for _ in range(2)]
    yield machines, others
    machines.shutdown()


@pytest.mark.parametrize("facts", ["facts", "other"])
def test_tables_are_those_of_one_undisturbed_process(facts, cluster, tmp_path):
    machines, (lost, _) = cluster
    alone, disturbed = sweep(tmp_path / "alone"), sweep(tmp_path / "disturbed")
    with (tmp_path / "alone.log").open("w") as log:
        begin = time.monotonic()
        assert start(alone, facts, log).wait() == 0
    logger.info("one process: %.0f s", time.monotonic() - begin)

    is_over, kills = Event(), []

    def kill_workers():
        choices = random.Random(0)
        while not is_over.wait(choices.uniform(3, 7)):
            if victims := workers_of_ray():
                victim = choices.choice(victims)
                kills.append(victim.pid)
                victim.send_signal(signal.SIGKILL)

    killer = Thread(target=kill_workers)
    killer.start()
    begin = time.monotonic()
    with (tmp_path / "disturbed.log").open("w") as log:
        for number, seconds in enumerate((*KILLS_OF_THE_DRIVER, None)):
            driver = start(disturbed, facts, log, count=4, address=machines.address, retries=20)
            try:
                status = driver.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                driver.kill()
                driver.wait()
            if number == 0:
                machines.remove_node(lost)
    is_over.set()
    killer.join()
    text = (tmp_path / "disturbed.log").read_text()
    deaths = [line for line in text.splitlines() if "a worker died with" in line]
    n_lost = sum(int(line.split("a worker died with ")[1].split()[0]) for line in deaths)
    logger.info(
        "cluster: %.0f s, %d workers killed, %d of them with %d items in hand",
        *(time.monotonic() - begin, len(kills), len(deaths), n_lost),
    )
    assert status == 0, text[-3000:]
    assert len(kills) > 3
    expected, made = tables(alone), tables(disturbed)
    assert made.keys() == expected.keys()
    for name, table in expected.items():
        pd.testing.assert_frame_equal(made[name], table, check_exact=True, obj=name)
