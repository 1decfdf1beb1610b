"""The graph of prior knowledge: old objects that a table leaves open, recall, and what else tells of familiarity."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resuming import fingerprints, resuming
from edit_robustness.pipelines.prior_knowledge import nodes, objects

_DECODING = "params:decoding"


def create_completion_pipeline() -> Pipeline:
    """Facts to facts that all have an old object: where the table names none, what the model says without any edit."""
    asking = ["language_model", "facts", _DECODING, "checked"]
    return Pipeline(
        [
            Node(resuming(objects.ask_objects, stored=fingerprints), asking, "said", name="ask_objects", tags=["gpu"]),
            Node(objects.complete_facts, ["facts", "said"], ["complete_facts", "rejects"], name="complete_facts"),
        ]
    )


def create_recall_pipeline() -> Pipeline:
    """What the model recalls of all facts, and the perplexity of both objects; facts are chosen by it."""
    asking = ["language_model", "facts", _DECODING]
    return Pipeline(
        [
            Node(resuming(nodes.recall, stored=fingerprints), asking, "recalled", name="recall", tags=["gpu"]),
            Node(nodes.memorise, ["language_model", "recalled", "facts"], "memorisation", name="memorise"),
        ]
    )


def create_features_pipeline() -> Pipeline:
    """What else the model knows of all facts: the ranks of true objects, and recall after demonstrations."""
    asking = ["language_model", "facts", _DECODING]
    again = [*asking, "params:features"]
    recalling = resuming(nodes.recall_in_context, stored=fingerprints)
    recalled = ["language_model", "recalled_in_context", "facts"]
    return Pipeline(
        [
            Node(nodes.familiarise, asking, "familiarity", name="familiarise", tags=["gpu"]),
            Node(recalling, again, "recalled_in_context", name="recall_in_context", tags=["gpu"]),
            Node(nodes.memorise, recalled, "memorisation_in_context", name="memorise_in_context"),
        ]
    )
