"""The graph of evaluate: what the unedited model knows, the answers under each method, and their scores."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.editing.methods import METHODS
from edit_robustness.pipelines.evaluate import nodes

_DECODING = "params:decoding"


def create_familiarity_pipeline() -> Pipeline:
    """What the model knows of all facts, before any edit."""
    asking = ["language_model", "facts", "recalled_stored", _DECODING]
    return Pipeline(
        [
            Node(nodes.recall, asking, "recalled", name="recall", tags=["gpu"]),
            Node(nodes.memorise, ["language_model", "recalled", "facts"], "memorisation", name="memorise"),
        ]
    )


def create_pipeline(method: str) -> Pipeline:
    """Edits and probes of one method to answers."""
    inputs = ["language_model", "edits", "probes", "answers_stored", _DECODING]
    if METHODS[method].edits_need_prepared:
        inputs.append("prepared")
    return Pipeline([Node(nodes.evaluate, inputs, "answers", name="evaluate", tags=["gpu"])])


def create_scoring_pipeline(methods: Sequence[str], model: str) -> Pipeline:
    """The answers of all methods of one model to tables."""
    answers = [f"{method}_answers" for method in methods]
    edits = [f"{method}_edits" for method in methods]
    settings = [f"params:methods.{method}.{model}" for method in methods]
    return Pipeline(
        [
            Node(nodes.score_with(methods), ["language_model", *answers], ["answers", "scores"], name="score"),
            Node(
                nodes.describe_with(methods),
                ["language_model", "sampled_facts", *edits, *settings],
                "run",
                name="describe",
            ),
        ]
    )
