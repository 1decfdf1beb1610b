from itertools import pairwise

import pytest
from kedro.pipeline import Node, Pipeline

from edit_robustness import grid
from edit_robustness.configuration.parameters import BLOCKS
from edit_robustness.context import keeping_stale
from edit_robustness.grid import ByModel, GridError, edit_eval, read_grid, rescoring, sequential_eval
from edit_robustness.pipelines.rephrase import SOURCES

ROME = {
    "layer": 1,
    "v_lr": 0.5,
    "v_steps": 5,
    "v_stop_loss": 0.05,
    "clamp_norm_factor": 4.0,
    "kl_factor": 0.0625,
    "v_weight_decay": 0.0,
    "context_lengths": [5],
    "mom2_tokens": 400,
}
MODELS = ["left", "right"]


def parameters(**models):
    settings = {"none": {}, "rome": ROME}
    return {
        "grid": models,
        "methods": {method: dict.fromkeys(MODELS, values) for method, values in settings.items()},
    }


def main_job():
    both = {"none": True, "rome": True}
    return edit_eval(read_grid(parameters(right=both, left=both), MODELS))


def test_rescoring_needs_answers_and_no_model():
    grid_of_two = read_grid(parameters(left={"none": True}, right={"none": True}), MODELS)
    for judged in (False, True):
        pipeline = rescoring(grid_of_two, judged)
        wanted = pipeline.inputs()
        assert {f"{model}_answers" for model in MODELS} <= wanted
        assert {name for name in wanted if name.endswith("_judgements")} == (
            {f"{model}_judgements" for model in MODELS} if judged else set()
        )
        assert not [name for name in wanted if "language_model" in name or "judge" in name.split(".")[-1].split("_")]
        assert "report" in pipeline.outputs()
        assert wanted <= edit_eval(grid_of_two, judged).datasets()


def test_a_judge_is_asked_only_where_it_is_wanted():
    one = read_grid(parameters(left={"none": True}), MODELS)
    assert "judge" not in edit_eval(one).inputs()
    assert "judge" in edit_eval(one, judged=True).inputs()


def test_who_makes_the_wordings_decides_what_is_needed():
    one = read_grid(parameters(left={"none": True}), MODELS)
    needed = {by: edit_eval(one, worded_by=by).inputs() & {"writer", "frozen_wordings"} for by in SOURCES}
    assert needed == {"templates": set(), "writer": {"writer"}, "table": {"frozen_wordings"}}
    assert "left.ask_writer" in {node.name for node in edit_eval(one, worded_by="writer").nodes}


def test_wordings_by_nobody_are_refused(monkeypatch):
    for name in vars(grid._Active):
        if not name.startswith("__"):
            monkeypatch.setattr(grid._Active, name, getattr(grid._Active, name))
    with pytest.raises(GridError, match=r"wordings\.by: one of templates, writer, table, not 'magic'"):
        grid.activate(parameters(left={"none": True}) | {"wordings": {"by": "magic"}}, MODELS)


def switches(pipeline):
    """How often the run goes on to another model."""
    models = [node.namespace.split(".")[0] for node in pipeline.nodes if node.namespace]
    return sum(one != other for one, other in pairwise(models))


def assert_in_order_of_dependence(pipeline):
    done = set()
    for node in pipeline.nodes:
        assert pipeline.node_dependencies[node] <= done
        done.add(node)


def test_methods_that_are_on_in_the_order_of_the_table():
    wanted = parameters(left={"rome": True, "none": True}, right={"none": False})
    assert read_grid(wanted, MODELS) == {"left": ["none", "rome"]}


def test_a_model_set_to_nothing_is_left_out():
    assert list(read_grid(parameters(left={"none": True}, right=None), MODELS)) == ["left"]


@pytest.mark.parametrize("wanted", [["left"], 3, "left"])
def test_a_grid_that_is_no_mapping(wanted):
    with pytest.raises(GridError, match=r"grid: it must be \{model: \{method: true\}\}; it is "):
        read_grid({"grid": wanted}, MODELS)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"lef": {"none": True}}, "no model `lef` in the catalog; did you mean `left`"),
        ({"left": {"none": True, "romee": True}}, "grid.left: no method `romee`; did you mean `rome`"),
        ({"left": {"rome": True}}, "`none` must be on"),
        ({"left": {"none": True, "ike": True}}, "ike has no hyperparameters for left .*parameters/methods/ike.yml"),
        ({"left": ["none"]}, r"grid.left: it must be \{method: true\}; it is \['none'\]"),
        ({"left": True}, r"grid.left: it must be \{method: true\}; it is True"),
        ({"left": {"none": True, "rome": "no"}}, "grid.left.rome: write true or false, without quotes; it is 'no'"),
        ({"left": {"none": 1}}, "grid.left.none: write true or false, without quotes; it is 1"),
        ({}, "it is empty; name a model of left, right"),
    ],
)
def test_a_grid_that_asks_for_what_does_not_exist(models, message):
    with pytest.raises(GridError, match=message):
        read_grid(parameters(**models), MODELS)


def test_the_grid_of_sequences_is_checked_as_the_other_is_and_may_be_missing(monkeypatch):
    for name in ("grid", "sequential", "baked", "judged", "worded_by"):
        monkeypatch.setattr(grid._Active, name, getattr(grid._Active, name))
    given = parameters(left={"none": True})
    grid.activate(given, MODELS)
    assert grid.sequential() is None
    grid.activate(given | {"sequential_grid": {"right": {"rome": True, "none": True}}}, MODELS)
    assert grid.sequential() == {"right": ["none", "rome"]}
    for wrong, message in [
        ({"lef": {"none": True}}, "sequential_grid: no model `lef` in the catalog; did you mean `left`"),
        ({"left": {"none": True, "romee": True}}, "sequential_grid.left: no method `romee`; did you mean `rome`"),
        ({"left": {"rome": True}}, "sequential_grid.left: `none` must be on"),
        ({"left": {"none": True, "ike": True}}, "sequential_grid.left: ike has no hyperparameters for left"),
        ({}, "sequential_grid: it is empty"),
    ]:
        with pytest.raises(GridError, match=message):
            grid.activate(given | {"sequential_grid": wrong}, MODELS)


def test_sequences_have_models_and_in_them_methods_and_edit_none_under_no_method():
    pipeline = sequential_eval(read_grid(parameters(left={"none": True, "rome": True}), MODELS))
    names = {node.name for node in pipeline.nodes}
    assert {"left.rome.edit_in_sequence", "left.rome.measure_drift", "left.none.ask_checkpoints"} <= names
    assert not {"left.none.edit_in_sequence", "left.none.measure_drift", "left.rome.edit"} & names
    assert {"left.rome_sequence", "left_documents", "left_sequence_facts"} <= pipeline.datasets()
    assert pipeline.nodes[0].name == "validate_facts"
    assert "check_enough" in [node.name for node in pipeline.nodes][:3]
    assert_in_order_of_dependence(pipeline)


def test_the_grid_must_be_known_first(monkeypatch):
    monkeypatch.setattr(grid._Active, "grid", None)
    with pytest.raises(GridError, match="create a KedroSession"):
        grid.active()


def test_one_model_after_another_in_the_order_of_the_grid():
    pipeline = main_job()
    assert switches(pipeline) == 1
    assert next(node.namespace for node in pipeline.nodes if node.namespace).startswith("right")
    assert_in_order_of_dependence(pipeline)
    assert switches(Pipeline(pipeline._nodes)) > 1  # Kedro's own order, which is why


def test_facts_are_checked_before_anything_needs_a_model():
    assert main_job().nodes[0].name == "validate_facts"


def test_every_parameter_that_a_pipeline_reads_is_checked():
    both = read_grid(parameters(left={"none": True, "rome": True}), MODELS)
    pipelines = [edit_eval(both), sequential_eval(both), grid.conversing(both), grid.baking(both, "rome")]
    read = {name.removeprefix("params:") for each in pipelines for name in each.inputs() if name.startswith("params:")}
    blocks = {name for name in read if not name.startswith("methods.")}
    assert blocks == set(BLOCKS)


def test_checks_come_before_what_they_are_for():
    both = read_grid(parameters(left={"none": True, "rome": True}), MODELS)
    for pipeline, lengths, asking in (
        (edit_eval(both), "check_lengths", "rome.evaluate"),
        (sequential_eval(both), "check_sequences", "rome.ask_checkpoints"),
    ):
        nodes = {node.name.removeprefix("left."): node for node in pipeline.nodes}
        for earlier, later in [
            ("check_model", "ask_objects"),
            ("complete_facts", "recall"),
            ("complete_facts", "write_corpus"),  # a model that names no old object writes none
            (lengths, asking),
        ]:
            assert before(pipeline, nodes, earlier, later), (earlier, later)


def before(pipeline, nodes, earlier, later):
    """Whether a node follows from another, in some steps."""
    due, seen = [nodes[later]], set()
    while due:
        node = due.pop()
        seen.add(node.name)
        due += [other for other in pipeline.node_dependencies[node] if other.name not in seen]
    return nodes[earlier].name in seen


def test_the_order_survives_what_a_session_does_to_a_pipeline():
    whole = main_job()
    for pipeline in (Pipeline([]) + whole, whole + Pipeline([]), whole + whole, whole.filter(tags=["rome", "none"])):
        assert switches(pipeline) == 1
        assert_in_order_of_dependence(pipeline)
    assert set((Pipeline([]) + whole).nodes) == set(whole.nodes)
    assert [node.name for node in (Pipeline([]) + whole).filter().nodes] == [node.name for node in whole.nodes]


def test_nodes_of_no_model_come_as_soon_as_they_can():
    def same(x):
        return x

    nodes = [
        Node(same, "a", "left_b", name="b", namespace="left"),
        Node(same, "left_b", "c", name="c"),
        Node(same, "left_b", "left_d", name="d", namespace="left"),
        Node(same, "a", "right_e", name="e", namespace="right"),
        Node(same, "a", "f", name="f"),
    ]
    assert [node.name.split(".")[-1] for node in ByModel(nodes, MODELS).nodes] == ["f", "b", "c", "d", "e"]


def test_one_word_makes_every_folder_keep_files_of_another_version():
    catalog = {
        "a": {"type": "edit_robustness.datasets.EditsDataset", "path": "x"},
        "b": {"type": "edit_robustness.datasets.StoredFingerprints", "of": "EditsDataset", "path": "x"},
        "c": {"type": "pandas.CSVDataset", "filepath": "x"},
    }
    assert keeping_stale(catalog, False) == catalog
    assert [entry.get("keep_stale") for entry in keeping_stale(catalog, True).values()] == [True, True, None]
    with pytest.raises(ValueError, match="keep_stale: true or false, not 'no'"):
        keeping_stale(catalog, "no")
