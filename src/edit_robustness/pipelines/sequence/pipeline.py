"""The graph of sequence: probes, once a model; editing, asking and drift for each method; one table for all."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resuming import fingerprints, items, resuming
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.methods.none import NoEdit
from edit_robustness.pipelines.sequence import gather, nodes

_SETTINGS = "params:sequence"
_DECODING = "params:decoding"


def create_probes_pipeline() -> Pipeline:
    """The facts of a sequence to what is asked about them."""
    inputs = ["sampled_facts", "facts", "raw_relations", _SETTINGS]
    return Pipeline([Node(nodes.make_probes, inputs, "sequence_probes", name="make_probes")])


def create_pipeline(method: str, model: str) -> Pipeline:
    """The sequences of one method, and the answers at their checkpoints; without a method the unedited model's, once.

    Args:
        method: Row of METHODS.
        model: Whose hyperparameters are meant.
    """
    edited = method != NoEdit.name
    asking = {
        "lm": "language_model",
        "probes": "sequence_probes",
        "sampled_facts": "sampled_facts",
        "orders": "orders",
        "decoding": _DECODING,
        "settings": _SETTINGS,
        "checked": "fitting",
        **({"edits": "sequence"} if edited else {}),
        **({"prepared": "prepared"} if METHODS[method].edits_need_prepared else {}),
    }
    function = resuming(nodes.ask_with(method), stored=fingerprints)
    asked = Node(function, asking, "sequence_answers", name="ask_checkpoints", tags=["gpu"])
    return Pipeline([*(_editing(method, model) if edited else []), asked])


def _editing(method: str, model: str) -> list[Node]:
    inputs = {
        "lm": "language_model",
        "sampled_facts": "sampled_facts",
        "orders": "orders",
        "method": f"params:methods.{method}.{model}",
        "settings": _SETTINGS,
        **({"prepared": "prepared"} if METHODS[method].learns_from else {}),
    }
    drifting = ["language_model", "sequence", _SETTINGS]
    editing = resuming(nodes.edit_with(method), stored=items)
    return [
        Node(editing, inputs, "sequence", name="edit_in_sequence", tags=["gpu"]),
        Node(nodes.drift_with(method), drifting, "drift", name="measure_drift", tags=["gpu"]),
    ]


def create_gathering_pipeline(methods: Sequence[str], model: str) -> Pipeline:
    """What all methods of one model left, as tables, and what was run."""
    edited = [method for method in methods if method != NoEdit.name]
    answers, documents = ([f"{method}_{what}" for method in methods] for what in ("sequence_answers", "documents"))
    about = {
        "lm": "language_model",
        "settings": _SETTINGS,
        "abilities": "params:abilities",
        "sampled_facts": "sampled_facts",
        "used_defaults": "params:used_defaults",
        **{f"{method}_documents": f"{method}_documents" for method in methods},
        **{f"{method}_sequence_answers": f"{method}_sequence_answers" for method in methods},
        **{name: name for name in gather.SHARED},
        **{f"{method}_settings": f"params:methods.{method}.{model}" for method in edited},
        **{f"{method}_sequence": f"{method}_sequence" for method in edited},
    }
    asked = ["language_model", _DECODING, "orders", *answers]
    return Pipeline(
        [
            Node(gather.gather_answers_with(methods), asked, "sequence_answers", name="gather_answers"),
            Node(gather.score_sequences, "sequence_answers", "sequence_scores", name="score_sequences"),
            Node(
                gather.gather_documents_with(methods),
                ["language_model", *documents],
                "documents",
                name="gather_documents",
            ),
            Node(gather.gather_drift, [f"{m}_drift" for m in edited], "drift", name="gather_drift"),
            Node(
                gather.describe_with(methods),
                about,
                ["sequence_run", "sequence_failed_items"],
                name="describe_sequences",
            ),
        ]
    )
