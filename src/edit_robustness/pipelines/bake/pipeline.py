"""The graph of bake: choose the edits, then write the model."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.bake.nodes import choose, put_together


def create_pipeline(model: str, method: str) -> Pipeline:
    """The edits of one model by one method to a model of its own."""
    shared = [f"{model}.language_model", f"{model}_facts", f"{model}.{method}_edits"]
    selection, verdicts = f"{model}.{method}_selection", f"{model}.{method}_verdicts"
    asked = [f"{model}_answers", "params:decoding", "params:bake"]
    return Pipeline(
        [
            # the verdicts are stored before a model is written, so that they are there where nothing is left to write
            Node(choose, [*shared, *asked], [selection, verdicts], name="choose", namespace=model, tags=["gpu"]),
            Node(
                put_together,
                [*shared, selection, "params:bake"],
                f"{model}.{method}_baked",
                name="bake",
                namespace=model,
                tags=["gpu"],
            ),
        ]
    )
