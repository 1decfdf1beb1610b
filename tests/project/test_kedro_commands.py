"""Every command of Kedro and of kedro-viz works in a project that was never run."""

import json

import pytest
import yaml
from click.testing import CliRunner
from kedro.framework.cli.cli import KedroCLI
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.inspection import get_project_snapshot
from kedro_viz.data_access import DataAccessManager
from kedro_viz.server import populate_data

from edit_robustness.configuration.active import Holder

NAMES = {
    *("__default__", "bake", "conversation", "edit_eval", "export_study", "popularity", "preflight", "rescore"),
    *("parity", "sequential_eval", "study"),
}
LAYERS = ["raw", "primary", "feature", "model_input", "models", "model_output", "reporting"]


@pytest.fixture
def command(project, monkeypatch):
    """Runs a command as in a new process of the test environment: no context was made."""
    monkeypatch.setenv("KEDRO_ENV", "test")

    def run(*words):
        Holder.configuration = None
        result = CliRunner().invoke(KedroCLI(project.folder), words)
        assert result.exit_code == 0, (words, result.output)
        return result.stdout

    return run


def test_what_reads_the_pipelines_or_the_catalog(command):
    assert set(command("registry", "list").replace("- ", "").split()) == NAMES
    assert "tiny.rome.edit (edit)" in command("registry", "describe", "edit_eval")
    assert "raw_facts" in command("catalog", "describe-datasets", "--pipeline=edit_eval")
    assert "{model}.{method}_edits" in command("catalog", "list-patterns")
    entries = yaml.safe_load(command("catalog", "resolve-patterns", "--pipeline=bake"))
    assert entries["tiny.rome_edits"]["path"].endswith("data/test/07_model_output/tiny/rome/edits")
    assert entries["tiny_answers"]["filepath"].endswith("data/test/07_model_output/tiny/answers.parquet")


def test_what_needs_no_pipelines(command, tmp_path, monkeypatch):
    assert "kedro_viz" in command("info")
    assert "memit " in command("list", "methods")
    for words in (["pipeline"], ["run"], ["viz"], ["viz", "build"], ["package"], ["server", "start"], ["jupyter"]):
        assert "Usage: " in command(*words, "--help"), words
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    command("jupyter", "setup")
    (kernel,) = (tmp_path / "jupyter").rglob("kernel.json")
    assert "kedro.ipython" in json.loads(kernel.read_text())["argv"]


def test_a_pipeline_is_created_and_deleted(command, project):
    folder = project.folder / "src" / "edit_robustness" / "pipelines" / "riddles"
    parameters = project.folder / "conf" / "base" / "parameters_riddles.yml"
    assert "'riddles' was successfully created" in command("pipeline", "create", "riddles")
    assert (folder / "nodes.py").exists()
    assert parameters.exists()
    assert "'riddles' was successfully deleted" in command("pipeline", "delete", "riddles", "--yes")
    assert not folder.exists()
    assert not parameters.exists()


def test_ipython_is_that_of_the_environment_and_knows_the_project(command, project, monkeypatch, capfd):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("IPYTHONDIR", str(project.folder / "ipython"))
    line = "print(sorted(pipelines), context.env, len(catalog.load('raw_facts')))"
    command("ipython", "--env=test", "--no-banner", "-c", line)
    output = capfd.readouterr()
    assert f"{sorted(NAMES)} test 6" in output.out, output


def test_a_snapshot_from_another_folder_and_pipelines_that_follow_the_configuration(project, monkeypatch, tmp_path):
    monkeypatch.setenv("KEDRO_ENV", "test")
    Holder.configuration = None
    nodes_by_pipeline = {pipeline.name: pipeline.nodes for pipeline in get_project_snapshot(project.folder).pipelines}
    assert nodes_by_pipeline.keys() == NAMES
    assert "tiny.rome.edit" in {node.name for node in nodes_by_pipeline["edit_eval"]}
    # Kedro keeps the pipelines that it has; a session with another configuration must not run them
    grid = {"tiny": {"rome": False, "context": True}}
    KedroSession.create(project.folder, runtime_params={"grid": grid}, save_on_close=False).load_context()
    assert "tiny.rome.edit" not in {node.name for node in pipelines["edit_eval"].nodes}
    # an IDE may have been started anywhere
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEDRO_ENV")
    Holder.configuration = None
    assert get_project_snapshot(project.folder).pipelines[0].nodes


@pytest.mark.parametrize("env", ["test", "local", "gpu", "paper2"])
def test_the_graph_opens_small_and_its_layers_walk_forward(project, env):
    catalog = project.context(env).catalog
    manager = DataAccessManager()
    populate_data(manager, catalog, dict(pipelines), {})
    for name, pipeline in pipelines.items():
        assert set(manager.get_sorted_layers_for_registered_pipeline(name)) - {"raw"}, name
        for node in pipeline.nodes:
            after = max((place(manager, dataset) for dataset in node.inputs), default=0)
            assert all(after <= place(manager, dataset) for dataset in node.outputs), (name, node.name)
        if name not in ("rescore", "bake", "export_study"):
            free = {dataset for dataset in pipeline.inputs() if not dataset.startswith("params:")}
            assert {place(manager, dataset) for dataset in free} == {0}, (
                "a run starts from raw data, and from no plumbing"
            )
    root = manager.modular_pipelines["__default__"].as_dict()["__root__"].children
    tasks = [child for child in root if child.type == "task"]
    assert len(tasks) <= 2, "the rest is in boxes: one per model, and the analysis"


def place(manager, name):
    """The place of a data set's layer in the order of layers; parameters come before all."""
    if name.startswith("params:"):
        return 0
    layer = manager.catalog.get_layer_for_dataset(name)
    if layer is None:
        assert name.endswith("_selection"), f"`{name}` has no layer"
        layer = "model_output"
    return LAYERS.index(layer)
