"""Whole runs of the project, in a copy of it, on a tiny random model."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from edit_robustness.configuration.active import Holder
from edit_robustness.datasets import LanguageModelDataset
from edit_robustness.hooks import OneRun

ROOT = Path(__file__).parents[2]
FACTS = 60
"""Rows of the table that the copies keep: recalling all facts is most of a tiny run."""


def copy_of_the_project(folder):
    """The project's settings, configuration and raw data; the code is the one that is installed."""
    folder.mkdir()
    (folder / "src").mkdir()
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(
        ROOT / "conf", folder / "conf", ignore=lambda where, names: names if where.endswith("local") else []
    )
    shutil.copytree(ROOT / "data" / "01_raw", folder / "data" / "01_raw")
    table = folder / "data" / "01_raw" / "facts.csv"
    facts = pd.read_csv(table, dtype=str, keep_default_na=False)
    facts.iloc[:: max(1, len(facts) // FACTS)].to_csv(table, index=False)
    return folder


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


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that was never run, as a new process finds it."""
    Holder.configuration = None
    folder = copy_of_the_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    return Project(folder)


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = copy_of_the_project(tmp_path_factory.mktemp("finished") / "project")
        patch.chdir(folder)
        project = Project(folder)
        project.run()
    return project


@pytest.fixture
def finished_project(finished_once, monkeypatch):
    """A project that was run whole; for reading."""
    monkeypatch.chdir(finished_once.folder)
    return finished_once


@pytest.fixture
def run_before(finished_once, tmp_path, monkeypatch):
    """A project that was run whole; for running again."""
    again = finished_once.copy(tmp_path / "again")
    monkeypatch.chdir(again.folder)
    return again


@pytest.fixture
def no_model(monkeypatch):
    """Fails the test if a model is loaded."""

    def refuse(dataset):
        raise AssertionError(f"{dataset._name} was loaded")

    LanguageModelDataset.slot.model = LanguageModelDataset.slot.key = None
    monkeypatch.setattr(LanguageModelDataset, "_from_source", refuse)
