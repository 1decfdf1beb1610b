"""`kedro run --pipeline=sequential_eval` on tiny models: whole, killed, changed, and on models that are broken."""

import json

import pandas as pd
import pytest
from fabricated_edits import TINY_SETTINGS
from kedro.framework.project import pipelines
from whole_run import copy_of_the_project

from conftest import Project, Starting
from edit_robustness.errors import RunIncomplete
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model
from edit_robustness.provenance import OtherRun

TABLES = ("documents", "benchmarks", "sequence_answers", "sequence_scores", "drift")
PIPELINE = {"pipeline_names": ["sequential_eval"]}
NODES = [f"tiny.{node}" for node in ("score_sequences", "gather_documents", "gather_drift", "describe_sequences")]
KEPT = ("sequence", "documents", "sequence_answers")
FEW_FACTS = 24


def smaller(folder):
    """Recalling all facts is most of a run."""
    table = folder / "data" / "01_raw" / "facts.csv"
    pd.read_csv(table, dtype=str, keep_default_na=False).head(FEW_FACTS).to_csv(table, index=False)
    return Project(folder)


@pytest.fixture
def project(project):
    return smaller(project.folder)


@pytest.fixture(scope="module")
def sequence_project(tmp_path_factory):
    """A project whose sequences were run whole."""
    with pytest.MonkeyPatch.context() as patch:
        project = smaller(copy_of_the_project(tmp_path_factory.mktemp("sequences") / "project"))
        patch.chdir(project.folder)
        project.run(**PIPELINE)
    return project


def table(project, name):
    folder = "05_model_input" if name == "benchmarks" else "07_model_output"
    return pd.read_parquet(project.data / folder / "tiny" / f"{name}.parquet")


def run_of(project):
    return json.loads((project.data / "07_model_output" / "tiny" / "sequence_run.json").read_text())


def read_times(project, *kinds):
    output = project.data / "07_model_output" / "tiny"
    paths = (path for kind in kinds for path in output.glob(f"*/{kind}/*") if path.name != "manifest.json")
    return {str(path.relative_to(output)): path.stat().st_mtime_ns for path in paths}


def assert_same_tables(first, second):
    for name in TABLES:
        pd.testing.assert_frame_equal(table(first, name), table(second, name), check_exact=False, rtol=1e-3, atol=1e-4)


def test_every_table_and_the_page_are_there(sequence_project):
    points = {("none", 0, 0)} | {
        (method, order, edits) for method in ("rome", "grace", "context") for order in (0, 1) for edits in (1, 3)
    }
    for name in ("documents", "sequence_answers", "sequence_scores"):
        rows = table(sequence_project, name)[["method", "order", "edits"]].drop_duplicates()
        assert set(map(tuple, rows.to_numpy())) == points, name
    prompts_per_document = (
        table(sequence_project, "documents").groupby(["benchmark", "task", "filter", "number"])["prompt_hash"].nunique()
    )
    assert set(prompts_per_document) == {1}, "every checkpoint was asked the same"
    assert set(table(sequence_project, "drift")["method"]) == {"rome"}
    sequences = run_of(sequence_project)["sequences"]["tiny"]
    assert sequences["rome"]["failed"] == []
    assert sequences["context"]["prefix_tokens"]["3"] > sequences["context"]["prefix_tokens"]["1"] > 0
    assert sequences["rome"]["prefix_tokens"] == {"1": 0, "3": 0}
    assert "tiny" in (sequence_project.latest / "sequences.html").read_text()


def test_the_graph_has_models_and_in_them_methods(sequence_project, monkeypatch):
    monkeypatch.chdir(sequence_project.folder)
    catalog = sequence_project.context().catalog
    graph = pipelines["sequential_eval"]
    assert {node.namespace for node in graph.nodes} == {
        *(None, "analyze_sequences", "tiny"),
        *(f"tiny.{m}" for m in ("none", "rome", "grace", "context")),
    }
    names = {name for name in graph.datasets() if not name.startswith("params:")}
    memory = {name for name in names if catalog.get(name) is None or "Memory" in type(catalog.get(name)).__name__}
    assert memory == set(), "a run can start from any node"
    assert "sequence_facts" in str(catalog.get("tiny_sequence_facts")), "the facts of single edits stay as they are"
    free = {name for name in graph.inputs() if not name.startswith("params:")}
    assert free == {
        *("raw_facts", "raw_training_facts", "raw_relations", "corpus_source", "benchmark_files", "tiny.language_model")
    }


def test_every_node_can_start_a_run_of_the_same_settings(sequence_project, monkeypatch):
    monkeypatch.chdir(sequence_project.folder)
    start = Starting(sequence_project)
    for node in pipelines["sequential_eval"].nodes:
        start("sequential_eval", from_nodes=[node.name])
    with pytest.raises(OtherRun, match=r"`drift_figure`.*: sequence\.orders \(then 2, now 1\)"):
        start("sequential_eval", {"sequence": {"orders": 1}}, from_nodes=["tiny.rome.measure_abilities"])
    start("sequential_eval", {"analyze_sequences": {"loss": 0.5}}, tags=["analyze_sequences"])


def test_a_run_killed_twice_ends_with_the_tables_of_one_that_was_not(project, sequence_project, slow_runs):
    items_before: dict = {}
    for node, output in (("edit_in_sequence", "rome/sequence"), ("measure_abilities", "rome/documents")):
        folder = project.data / "07_model_output" / "tiny" / output
        slow_runs.kill(project.folder, node, "sequential_eval", output=folder)
        items = read_times(project, *KEPT)
        assert items_before.items() <= items.items()
        all_items = [path for path in read_times(sequence_project, *KEPT) if path.startswith(output)]
        assert len([path for path in items if path.startswith(output)]) < len(all_items)
        items_before = items
    project.run(**PIPELINE, to_nodes=NODES)
    assert items_before.items() <= read_times(project, *KEPT).items()
    assert_same_tables(project, sequence_project)


def test_other_checkpoints_and_more_orders_use_what_is_there(sequence_project, tmp_path, monkeypatch):
    again = sequence_project.copy(tmp_path / "again")
    monkeypatch.chdir(again.folder)
    before = read_times(again, "sequence", "documents")
    grid = {"sequential_grid": {"tiny": {"context": False}}}
    more, fewer = {"checkpoints": [1, 2, 3], "orders": 3}, {"checkpoints": [1], "orders": 1}
    again.run(**PIPELINE, to_nodes=NODES, parameters={"sequence": more, **grid})
    after = read_times(again, "sequence", "documents")
    assert before.items() <= after.items()
    new_edits = {name.split("/", 1)[1] for name in set(after) - set(before) if "sequence" in name}
    assert new_edits == {f"sequence/2.{number:05d}.safetensors" for number in (1, 2, 3)}
    points = table(again, "documents")[["order", "edits"]].drop_duplicates()
    assert set(map(tuple, points.to_numpy())) == {
        (0, 0),
        *((order, edits) for order in range(3) for edits in (1, 2, 3)),
    }

    items = read_times(again, "sequence", "documents")
    again.run(**PIPELINE, to_nodes=NODES, parameters={"sequence": fewer, **grid})
    assert set(table(again, "documents")["edits"]) == {0, 1}
    assert read_times(again, "sequence", "documents") == items


def test_every_other_method_goes_through_the_graph(project):
    methods = [name for name in TINY_SETTINGS if name not in ("none", "rome", "grace", "context", "external")]
    cells = {**dict.fromkeys(("rome", "grace", "context"), False), **dict.fromkeys(methods, True), "none": True}
    parameters = {"sequential_grid": {"tiny": cells}, "sequence": {"checkpoints": [2], "orders": 1, "batch_size": 2}}
    project.run(**PIPELINE, to_nodes=NODES, parameters={**parameters, "abilities": {"tasks": "embedded.knowledge"}})
    assert set(table(project, "documents")["method"]) == {"none", *methods}
    increments = read_times(project, "sequence")
    assert "memit/sequence/0.00002.safetensors" in increments
    assert "memit/sequence/0.00001.safetensors" not in increments
    assert "kn/sequence/0.00001.safetensors" in increments, "what takes one fact at a time edits one after another"


def nan_weight(lm):
    lm.weight(Site(1, "mlp_out"))[0, 0] = float("nan")


def huge_weights(lm):
    for layer in range(len(lm.blocks)):
        lm.weight(Site(layer, "mlp_out")).mul_(1e38)


def one_token_forever(lm):
    head = lm.model.get_output_embeddings().weight
    lm.model.base_model.norm.weight.data.zero_()
    head[:] = 0
    head[70] = 1e-3


@pytest.mark.parametrize("sicken", [nan_weight, huge_weights, one_token_forever])
def test_a_model_that_is_broken_from_the_start_is_flagged_and_stops_nothing(project, sicken):
    lm = tiny_model("llama")
    sicken(lm)
    lm.model.save_pretrained(project.folder / "sick")
    lm.tokenizer.save_pretrained(project.folder / "sick")
    catalog = project.folder / "conf" / "test" / "catalog.yml"
    catalog.write_text(catalog.read_text().replace("random: llama", "folder: sick"))
    grid = {"tiny": {"mend": True, "kn": True, "grace": False, "context": False}}
    sequence = {"checkpoints": [2], "orders": 1}
    with pytest.raises(RunIncomplete, match="items failed"):
        project.run(**PIPELINE, to_nodes=NODES, parameters={"sequential_grid": grid, "sequence": sequence})
    documents, scores = table(project, "documents"), table(project, "sequence_scores")
    assert set(documents["method"]) == {"none", "rome", "mend", "kn"}
    assert (documents.loc[documents["flags"] != "[]", "score"] == 0).all()
    options = documents[documents["benchmark"] == "knowledge"]
    assert (options["flags"] != "[]").all()
    success = scores[(scores["metric"] == "success") & (scores["method"] == "none")]
    assert not (success["value"] > 0).any()
    if sicken is not one_token_forever:
        assert set(documents["flags"]) == {'["not_finite"]'}
        failures = run_of(project)["sequences"]["tiny"]["rome"]["failed"]
        assert [failure["reason"] for failure in failures] == ["the unedited model's numbers are not finite"] * 2


def test_too_few_facts_are_told_before_a_model_is_loaded(project, no_model):
    with pytest.raises(ValueError, match=r"sequence\.checkpoints: 500 edits want .* has 2\d;"):
        project.run(**PIPELINE, parameters={"sequence": {"checkpoints": [1, 500]}})


def test_wrong_settings_are_told_before_a_model_is_loaded(project, no_model):
    with pytest.raises(Exception, match="1 is inside an edit of 2 facts"):
        project.run(**PIPELINE, parameters={"sequence": {"checkpoints": [1, 4], "batch_size": 2}})


def test_the_preset_of_paper_2(project):
    context = project.context("paper2")
    assert context.params["sequence"].checkpoints == (1, 5, 10, 20, 50, 100)
    assert context.params["abilities"].tasks == ("paper2",)
    methods = ["none", "rome", "memit", "pmet", "mend", "kn", "grace", "serac"]
    names = {node.name for node in pipelines["sequential_eval"].nodes}
    assert {name.split(".")[1] for name in names if name.endswith(".measure_abilities")} == set(methods)
    assert "data/paper2/" in str(context.catalog.get("smollm2_documents")._filepath)
    assert "counterfact.json" in str(context.catalog.get("raw_facts"))
