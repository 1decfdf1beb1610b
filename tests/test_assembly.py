from grids import MODELS, assert_in_order_of_dependence, main_job, parameters

from edit_robustness.assembly import (
    bake_pipeline,
    conversation_pipeline,
    edit_eval,
    parity_pipeline,
    preflight_pipeline,
    rescore_pipeline,
    sequential_eval,
)
from edit_robustness.configuration import USED_DEFAULTS
from edit_robustness.configuration.grid import read_grid
from edit_robustness.configuration.parameters import BLOCKS
from edit_robustness.editing.requirements import TextNeed
from edit_robustness.pipelines import popularity
from edit_robustness.pipelines.rephrase import SOURCES


def test_rescoring_needs_answers_and_no_model():
    grid_of_two = read_grid(parameters(left={"none": True}, right={"none": True}), MODELS)
    for with_judge in (False, True):
        pipeline = rescore_pipeline(grid_of_two, with_judge)
        inputs = pipeline.inputs()
        assert {f"{model}_answers" for model in MODELS} <= inputs
        assert {name for name in inputs if name.endswith("_judgements")} == (
            {f"{model}_judgements" for model in MODELS} if with_judge else set()
        )
        assert not [name for name in inputs if "language_model" in name or "judge" in name.split(".")[-1].split("_")]
        assert "report" in pipeline.outputs()
        assert inputs <= edit_eval(grid_of_two, with_judge).datasets()


def test_a_judge_is_asked_only_where_it_is_wanted():
    grid = read_grid(parameters(left={"none": True}), MODELS)
    assert "judge" not in edit_eval(grid).inputs()
    assert "judge" in edit_eval(grid, with_judge=True).inputs()


def test_who_makes_the_wordings_decides_what_is_needed():
    grid = read_grid(parameters(left={"none": True}), MODELS)
    inputs = {by: edit_eval(grid, worded_by=by).inputs() & {"writer", "frozen_wordings"} for by in SOURCES}
    assert inputs == {"templates": set(), "writer": {"writer"}, "table": {"frozen_wordings"}}
    assert "left.ask_writer" in {node.name for node in edit_eval(grid, worded_by="writer").nodes}


def test_sequences_have_models_and_in_them_methods_and_edit_none_under_no_method():
    pipeline = sequential_eval(read_grid(parameters(left={"none": True, "rome": True}), MODELS))
    names = {node.name for node in pipeline.nodes}
    assert {"left.rome.edit_in_sequence", "left.rome.measure_drift", "left.none.ask_checkpoints"} <= names
    assert not {"left.none.edit_in_sequence", "left.none.measure_drift", "left.rome.edit"} & names
    assert {"left.rome_sequence", "left_documents", "left_sequence_facts"} <= pipeline.datasets()
    assert pipeline.nodes[0].name == "validate_facts"
    assert "check_enough" in [node.name for node in pipeline.nodes][:3]
    assert_in_order_of_dependence(pipeline)


def test_facts_are_checked_before_anything_needs_a_model():
    names = [node.name for node in main_job().nodes]
    assert names[0] == "validate_facts"
    assert "analyze.check_formulas" in names[:3], "before any model is loaded"


def test_every_parameter_that_a_pipeline_reads_is_checked():
    grid = read_grid(parameters(left={"none": True, "rome": True}), MODELS)
    pipelines = [
        edit_eval(grid),
        sequential_eval(grid),
        conversation_pipeline(grid),
        bake_pipeline(grid, "rome"),
        preflight_pipeline(grid),
        popularity.create_pipeline(),
        parity_pipeline({"left": TextNeed()}),
    ]
    parameter_names = {
        name.removeprefix("params:")
        for pipeline in pipelines
        for name in pipeline.inputs()
        if name.startswith("params:")
    }
    blocks = {name for name in parameter_names if not name.startswith("methods.")}
    # what the context fills in, and no file sets; all methods, which are checked one by one; what the hooks read
    assert blocks - {USED_DEFAULTS, "methods"} == set(BLOCKS) - {"workers"}


def test_preflight_measures_facts_and_makes_no_edit():
    grid = read_grid(parameters(left={"none": True, "rome": True}, right={"none": True}), MODELS)
    pipeline = preflight_pipeline(grid)
    names = [node.name for node in pipeline.nodes]
    assert names[0] == "validate_facts"
    assert names[-2:] == ["preflight.gather_preflight", "preflight.write_preflight"]
    for model in MODELS:
        assert f"{model}.preflight.forecast" in names
    assert not {name.split(".")[-1] for name in names} & {"edit", "evaluate", "write_corpus", "take_moments"}
    nodes = {node.name: node for node in pipeline.nodes}
    for later in ("ask_objects", "recall", "rank_objects"):
        assert before(pipeline, nodes, "left.preflight.check_predictor", f"left.preflight.{later}"), later
    # what it writes is apart from what the other pipelines read
    outputs = pipeline.all_outputs()
    assert not outputs & edit_eval(grid).datasets()
    assert_in_order_of_dependence(pipeline)


def test_checks_come_before_what_they_are_for():
    grid = read_grid(parameters(left={"none": True, "rome": True}), MODELS)
    for pipeline, lengths, ask_node in (
        (edit_eval(grid), "check_lengths", "rome.evaluate"),
        (sequential_eval(grid), "check_sequences", "rome.ask_checkpoints"),
    ):
        nodes = {node.name.removeprefix("left."): node for node in pipeline.nodes}
        for earlier, later in [
            ("check_model", "ask_objects"),
            ("complete_facts", "recall"),
            ("complete_facts", "write_corpus"),  # a model that names no old object writes none
            (lengths, ask_node),
        ]:
            assert before(pipeline, nodes, earlier, later), (earlier, later)


def before(pipeline, nodes, earlier, later):
    """Whether a node follows from another, in some steps."""
    due, names = [nodes[later]], set()
    while due:
        node = due.pop()
        names.add(node.name)
        due += [parent for parent in pipeline.node_dependencies[node] if parent.name not in names]
    return nodes[earlier].name in names
