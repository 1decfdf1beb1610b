"""Fixtures that more than one room's tests use."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import torch
from fabricated_edits import REPOSITORY, SMOLLM2, Lab
from filelock import FileLock
from object_store import ObjectStore, serve
from whole_run import WholeRun, run_once

from edit_robustness.datasets.failures import stop_at_failure
from edit_robustness.datasets.language_model import LanguageModelDataset
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.storage import MARK

IN_WORKER = "PYTEST_XDIST_WORKER" in os.environ

if IN_WORKER:
    # for what the tests start, too
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def pytest_collection_finish():
    """Let the garbage collector pass over what is there before the first test: looking at it takes half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def failures_are_gaps() -> Iterator[None]:
    """What a test lets a failure do ends with the test; a run sets it for its process."""
    yield
    stop_at_failure(False)


@pytest.fixture(scope="session")
def lab() -> Lab:
    """Tiny models of every architecture and edits of every method, made once; no test may change them."""
    return Lab()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory) -> Path:
    """A folder that all workers of a test run have in common."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if IN_WORKER else folder


@pytest.fixture(scope="session")
def whole_run(shared_folder) -> WholeRun:
    """A project after `kedro run --env=test`, which all workers have in common; no test may change it."""
    return run_once(shared_folder)


@pytest.fixture(scope="session")
def smollm2_dataset(shared_folder) -> LanguageModelDataset:
    """The embedded default model; converted where a run has not done it yet."""
    folder = REPOSITORY / "data/06_models/smollm2"
    if not (folder / MARK).exists():
        folder = shared_folder / "converted" / "smollm2"
    return LanguageModelDataset("smollm2", **SMOLLM2, converted=str(folder), device="cpu")


@pytest.fixture(scope="session")
def smollm2(smollm2_dataset, shared_folder) -> LanguageModel:
    """The embedded default model in memory; the first worker that needs it converts it for all."""
    with FileLock(shared_folder / "smollm2.lock"):
        return smollm2_dataset.load()


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectStore]:
    """A server that speaks S3, one per worker."""
    pytest.importorskip("moto", reason="the server of the tests: pip install 'moto[s3]' flask-cors s3fs")
    with serve() as store:
        yield store


@pytest.fixture
def object_store(object_server, monkeypatch) -> ObjectStore:
    """An empty bucket in an object store on this machine, which the environment names."""
    object_server.empty()
    for name, value in object_server.environment.items():
        monkeypatch.setenv(name, value)
    # file systems are kept by their arguments, with their lists of files
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    return object_server


@pytest.fixture
def free_slot():
    """The slot of the loaded model, empty for the length of a test and put back after it."""
    slot = LanguageModelDataset.slot
    state = vars(slot).copy()
    slot.key, slot.model, slot.loads = None, None, 0
    yield slot
    vars(slot).update(state)


@pytest.fixture
def stopwatch():
    """Seconds since the test began."""
    start = time.perf_counter()
    return lambda: time.perf_counter() - start
