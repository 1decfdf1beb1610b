from itertools import pairwise

from grids import MODELS, assert_in_order_of_dependence, main_job
from kedro.pipeline import Node, Pipeline

from edit_robustness.ordering import ByModel, model_of


def switches(pipeline):
    """How often the run goes on to another model."""
    models = [model for node in pipeline.nodes if (model := model_of(node))]
    return sum(first != second for first, second in pairwise(models))


def test_one_model_after_another_in_the_order_of_the_grid():
    pipeline = main_job()
    assert switches(pipeline) == 1
    assert next(model for node in pipeline.nodes if (model := model_of(node))) == "right"
    assert_in_order_of_dependence(pipeline)
    assert switches(Pipeline(pipeline._nodes)) > 1  # Kedro's own order, which is why


def test_the_order_survives_what_a_session_does_to_a_pipeline():
    job = main_job()
    for pipeline in (Pipeline([]) + job, job + Pipeline([]), job + job, job.filter(tags=["rome", "none"])):
        assert switches(pipeline) == 1
        assert_in_order_of_dependence(pipeline)
    assert set((Pipeline([]) + job).nodes) == set(job.nodes)
    assert [node.name for node in (Pipeline([]) + job).filter().nodes] == [node.name for node in job.nodes]


def test_nodes_of_no_model_come_as_soon_as_they_can():
    def identity(x):
        return x

    nodes = [
        Node(identity, "a", "left_b", name="b", namespace="left"),
        Node(identity, "left_b", "c", name="c"),
        Node(identity, "left_b", "left_d", name="d", namespace="left"),
        Node(identity, "a", "right_e", name="e", namespace="right"),
        Node(identity, "a", "f", name="f"),
    ]
    assert [node.name.split(".")[-1] for node in ByModel(nodes, MODELS).nodes] == ["f", "b", "c", "d", "e"]
