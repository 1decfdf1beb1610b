"""Whole runs of the project, in a copy of it, on a tiny random model."""

import contextlib
import copy
import importlib.util
import io
import json
import os
import pickle
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

import dynaconf
import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro_datasets.yaml import YAMLDataset
from omegaconf import OmegaConf
from whole_run import copy_of_the_project

from edit_robustness.configuration.active import Holder
from edit_robustness.datasets import LanguageModelDataset
from edit_robustness.hooks import OneRun

SLOW_RUN = Path(__file__).with_name("slow_run.py")
KILLED_AFTER = 2
"""Items of a slow node after which a run is killed."""


class Project:
    """A copy of the project, and how to run it."""

    def __init__(self, folder):
        self.folder = folder
        self.data = folder / "data" / "test"

    def context(self, env="test", **parameters):
        bootstrap_project(self.folder)
        return KedroSession.create(self.folder, env=env, runtime_params=parameters, save_on_close=False).load_context()

    def run(self, *, parameters=None, **options):
        bootstrap_project(self.folder)
        new_session = KedroSession.create(self.folder, env="test", runtime_params=parameters, save_on_close=False)
        with new_session as session:
            session.run(**options)

    def table(self, name):
        return pd.read_parquet(self.latest / f"{name}.parquet")

    @property
    def latest(self):
        """The folder of the last run's tables and pages."""
        return self.data / "08_reporting" / "latest"

    def copy(self, folder):
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)


def merge_settings(settings, changes):
    result = {**settings, **changes}
    return {
        k: merge_settings(settings[k], v) if isinstance(v, dict) and k in settings else v for k, v in result.items()
    }


class Starting:
    """Begins runs of a project that was run before, and ends them at once: for what is refused."""

    def __init__(self, project, **parameters):
        self._context = project.context(**parameters)
        self._catalog = self._context.catalog
        self._loader = {name: self._context.config_loader[name] for name in ("parameters", "catalog", "globals")}

    def __call__(self, name="edit_eval", parameters=None, **options):
        self.begin(name, parameters, **options).after_pipeline_run()

    def begin(self, name, parameters=None, **options):
        one_run, loader = OneRun(), self._loader
        loader = {**loader, "parameters": merge_settings(loader["parameters"], parameters or {})}
        one_run.after_context_created(SimpleNamespace(config_loader=loader, project_path=self._context.project_path))
        part = pipelines[name].filter(**options)
        options["namespaces"] = options.get("node_namespaces")
        one_run.before_pipeline_run({"pipeline_names": [name], **options}, part, self._catalog)
        return one_run


class SlowRuns:
    """Starts runs of projects in which a node is slow, and kills them; see `slow_run.py`."""

    def __init__(self, log):
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, SLOW_RUN],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # what is read of a buffer is no longer there to be waited for
                bufsize=0,
            )

    def kill(self, *words, output, patience=120.0):
        """Kill a run of a project's folder, a node and a pipeline as soon as the folder `output` has a few items."""
        self._process.stdin.write(json.dumps([str(word) for word in words]).encode() + b"\n")
        run = int(self._process.stdout.readline())
        start = time.monotonic()
        try:
            while sum(1 for path in output.glob("*") if path.suffix in (".safetensors", ".jsonl")) < KILLED_AFTER:
                has_ended = select.select([self._process.stdout], [], [], 0.05)[0]
                assert not has_ended, f"the run ended by itself:\n{self._log.read_text()}"
                assert time.monotonic() - start < patience
        finally:
            # the run may have ended
            with contextlib.suppress(ProcessLookupError):
                os.kill(run, signal.SIGKILL)
            status = int(self._process.stdout.readline())
        assert status == -signal.SIGKILL

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="session")
def slow_runs(tmp_path_factory):
    runs = SlowRuns(tmp_path_factory.mktemp("slow_runs") / "errors.log")
    yield runs
    runs.close()


@pytest.fixture(scope="session", autouse=True)
def _quick_contexts():
    """Contexts as Kedro makes them, without what takes it most of the time. Commands in their own process lack this.

    Equal files and parameters give an equal configuration, and equal texts and blocks equal parts of it, so each is
    read once. Kedro tries to import ibis for each of 1,800 parameters: where it is not installed, the import system
    need not search all folders each time. And the library of its settings reads the lines of all files that call it,
    although it needs no more than their names. The table of relations is read by eight nodes of a run.
    """
    memo, original = {}, OmegaConfigLoader.__getitem__
    texts, load = {}, OmegaConf.load
    blocks, merge = {}, OmegaConfigLoader._soft_merge
    relations, load_relations = {}, YAMLDataset.load

    def get(loader, key):
        if key in loader or key not in ("catalog", "parameters"):
            return original(loader, key)
        signature = _signature(loader, key)
        if signature not in memo:
            memo[signature] = original(loader, key)
        return copy.deepcopy(memo[signature])

    def load_text(file):
        if not isinstance(file, io.StringIO):
            return load(file)
        text = file.getvalue()
        if text not in texts:
            texts[text] = pickle.dumps(load(file))
        return pickle.loads(texts[text])  # noqa: S301 - written above

    def merge_blocks(config, env_config, env_path=None):
        return {name: merge_block(name, config, env_config) for name in {**config, **env_config}}

    def merge_block(name, *configs):
        parts = [{name: config[name]} if name in config else {} for config in configs]
        if repr(parts) not in blocks:
            blocks[repr(parts)] = pickle.dumps(merge(*parts)[name])
        return pickle.loads(blocks[repr(parts)])  # noqa: S301 - written above

    def load_file(dataset):
        path = Path(dataset._filepath)
        if not path.is_file():
            return load_relations(dataset)
        content = path.read_bytes()
        if content not in relations:
            relations[content] = pickle.dumps(load_relations(dataset))
        return pickle.loads(relations[content])  # noqa: S301 - written above

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConfigLoader, "__getitem__", get)
        patch.setattr(YAMLDataset, "load", load_file)
        patch.setattr(OmegaConf, "load", load_text)
        patch.setattr(OmegaConfigLoader, "_soft_merge", staticmethod(merge_blocks))
        for module in (dynaconf.loaders.py_loader, dynaconf.utils.files):
            patch.setattr(module, "inspect", SimpleNamespace(stack=calling_files))
        if importlib.util.find_spec("ibis") is None:
            patch.setitem(sys.modules, "ibis", None)
        yield


def calling_files():
    """The files of the calls that led here."""
    return [SimpleNamespace(filename=frame.f_code.co_filename) for frame, _ in traceback.walk_stack(None)]


def _signature(loader, key):
    """What a part of the configuration follows from."""
    folders = [Path(loader.conf_source) / env for env in (loader.base_env, loader.env or loader.default_run_env)]
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    files = tuple((str(path.relative_to(loader.conf_source)), path.read_bytes()) for path in paths)
    parameters = loader.runtime_params or {}
    if key == "catalog":
        names = {name.decode() for _, text in files for name in re.findall(rb"runtime_params:\s*(\w+)", text)}
        parameters = {name: value for name, value in parameters.items() if name in names}
    return key, loader.env, repr(loader.merge_strategy), repr(parameters), files


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that was never run, as a new process finds it."""
    Holder.configuration = None
    folder = copy_of_the_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    return Project(folder)


@pytest.fixture(scope="session")
def finished_once(whole_run, tmp_path_factory):
    return Project(whole_run.folder).copy(tmp_path_factory.mktemp("finished") / "project")


@pytest.fixture
def finished_project(finished_once, monkeypatch):
    """A project that was run whole; for reading."""
    monkeypatch.chdir(finished_once.folder)
    return finished_once


@pytest.fixture
def run_before(whole_run, tmp_path, monkeypatch):
    """A project that was run whole, and only once; for running again."""
    again = Project(whole_run.folder).copy(tmp_path / "again")
    monkeypatch.chdir(again.folder)
    return again


@pytest.fixture
def no_model(monkeypatch):
    """Fails the test if a model is loaded."""
    refuse_models(monkeypatch)


def refuse_models(monkeypatch):
    def refuse(dataset):
        raise AssertionError(f"{dataset._name} was loaded")

    LanguageModelDataset.slot.model = LanguageModelDataset.slot.key = None
    monkeypatch.setattr(LanguageModelDataset, "_from_source", refuse)
