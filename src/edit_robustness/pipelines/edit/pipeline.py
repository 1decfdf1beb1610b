"""The graph of edit: the corpus and its statistics, once a model; preparing and editing, for each method."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resuming import fingerprints, items, resuming
from edit_robustness.editing.fitting import TextNeed
from edit_robustness.editing.method import Trained
from edit_robustness.editing.methods import METHODS
from edit_robustness.pipelines.edit.nodes import edit_with, prepare_with, take_moments, write_corpus_with

_SOURCES = {
    "texts": {"corpus": "corpus"},
    "moments": {"moments": "moments"},
    "facts": {"facts": "lessons", "sampled_facts": "sampled_facts", "raw_relations": "raw_relations"},
}


def create_corpus_pipeline(methods: Sequence[str], model: str, need: TextNeed | None = None) -> Pipeline:
    """The model's running text, and the second moments of the keys that the methods ask for.

    Args:
        methods: Rows of METHODS.
        model: Whose hyperparameters are meant.
        need: How much text the methods of all pipelines read, so that they share one corpus.
    """
    inputs = ["language_model", "corpus_source", "facts"]
    writing = resuming(write_corpus_with(need or TextNeed()), stored=fingerprints)
    nodes = [Node(writing, inputs, "corpus", name="write_corpus", tags=["gpu"])]
    if asking := [method for method in methods if "moments" in METHODS[method].learns_from]:
        settings = [f"params:methods.{method}.{model}" for method in asking]
        inputs = ["language_model", "corpus", *settings]
        nodes.append(
            Node(resuming(take_moments, stored=fingerprints), inputs, "moments", name="take_moments", tags=["gpu"])
        )
    return Pipeline(nodes)


def create_pipeline(method: str, model: str) -> Pipeline:
    """Facts to edits with one method, after what it prepares.

    Args:
        method: Row of METHODS.
        model: Whose hyperparameters are meant.
    """
    inputs = {
        "lm": "language_model",
        "method": f"params:methods.{method}.{model}",
        "sampled_facts": "sampled_facts",
    }
    if METHODS[method].learns_from:
        inputs["prepared"] = "prepared"
    editing = Node(resuming(edit_with(method), stored=fingerprints), inputs, "edits", name="edit", tags=["gpu"])
    return create_preparing_pipeline(method, model) + Pipeline([editing])


def create_preparing_pipeline(method: str, model: str, purpose: str = "") -> Pipeline:
    """What one method prepares; no node where that is nothing.

    Args:
        method: Row of METHODS.
        model: Whose hyperparameters are meant.
        purpose: Where other facts are edited than in single editing: what for.
    """
    if not (parts := METHODS[method].learns_from):
        return Pipeline([])
    sources = {name: dataset for part in parts for name, dataset in _SOURCES[part].items()}
    hyperparameters = f"params:methods.{method}.{model}"
    preparing = {"lm": "language_model", "method": hyperparameters, **sources}
    # a training that was interrupted goes on from its last state
    begun = {"unfinished": items} if issubclass(METHODS[method], Trained) else {}
    function = resuming(prepare_with(method, purpose), stored=fingerprints, **begun)
    return Pipeline([Node(function, preparing, "prepared", name="prepare", tags=["gpu"])])
