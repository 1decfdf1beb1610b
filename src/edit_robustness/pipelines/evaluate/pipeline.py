"""The graph of evaluate: what the unedited model knows, the answers under each method, and their scores."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resuming import fingerprints, resuming
from edit_robustness.editing.methods import METHODS
from edit_robustness.pipelines.evaluate import features, nodes, objects

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


def create_familiarity_pipeline() -> Pipeline:
    """What the model knows of all facts, before any edit."""
    asking = ["language_model", "facts", _DECODING]
    return Pipeline(
        [
            Node(resuming(nodes.recall, stored=fingerprints), asking, "recalled", name="recall", tags=["gpu"]),
            Node(nodes.memorise, ["language_model", "recalled", "facts"], "memorisation", name="memorise"),
        ]
    )


def create_features_pipeline() -> Pipeline:
    """All that is known of all facts, for one model, before any edit."""
    again = ["language_model", "facts", _DECODING, "params:features"]
    recalling = resuming(nodes.recall_in_context, stored=fingerprints)
    recalled = ["language_model", "recalled_in_context", "facts"]
    parts = ["memorisation", "familiarity", "memorisation_in_context", "facts", "fact_features"]
    return Pipeline(
        [
            Node(
                features.familiarise,
                ["language_model", "facts", _DECODING],
                "familiarity",
                name="familiarise",
                tags=["gpu"],
            ),
            Node(recalling, again, "recalled_in_context", name="recall_in_context", tags=["gpu"]),
            Node(nodes.memorise, recalled, "memorisation_in_context", name="memorise_in_context"),
            Node(features.join_features, parts, "features", name="join_features"),
        ]
    )


def create_pipeline(method: str) -> Pipeline:
    """Edits and probes of one method to answers."""
    inputs = {
        "lm": "language_model",
        "edits": "edits",
        "probes": "probes",
        "decoding": _DECODING,
        "checked": "fitting",
        **({"prepared": "prepared"} if METHODS[method].edits_need_prepared else {}),
    }
    asking = resuming(nodes.evaluate, stored=fingerprints)
    return Pipeline([Node(asking, inputs, "answers", name="evaluate", tags=["gpu"])])


def create_scoring_pipeline(
    methods: Sequence[str], model: str, *, judged: bool = False, written: bool = False
) -> Pipeline:
    """The answers of all methods of one model to tables.

    Args:
        methods: Rows of METHODS.
        model: Whose hyperparameters are meant.
        judged: Whether a judge reads the answers, too.
        written: Whether a writer makes the wordings.
    """
    answers = [f"{method}_answers" for method in methods]
    left_out = {"judged": judged, "written": written}
    about = {
        "lm": "language_model",
        "sampled_facts": "sampled_facts",
        **{name: name for name in nodes.SHARED if left_out.get(name, True)},
        **{f"{method}_{what}": f"{method}_{what}" for method in methods for what in ("edits", "answers")},
        **{f"{method}_settings": f"params:methods.{method}.{model}" for method in methods},
    }
    return Pipeline(
        [
            Node(nodes.gather_with(methods), ["language_model", _DECODING, *answers], "answers", name="gather"),
            *(_judging() if judged else []),
            *create_rescoring_pipeline(judged=judged).nodes,
            Node(nodes.describe_with(methods), about, ["run", "failed_items"], name="describe"),
        ]
    )


def create_rescoring_pipeline(*, judged: bool = False) -> Pipeline:
    """A table of answers to scores, with no model; `judged`: with the verdicts that a judge gave before."""
    inputs = ["answers", "judgements"] if judged else ["answers"]
    return Pipeline([Node(nodes.score, inputs, "scores", name="score")])


def _judging() -> list[Node]:
    judging = resuming(nodes.judge_each, stored=fingerprints)
    return [
        Node(judging, ["answers", "judge"], "judged", name="judge"),
        Node(nodes.read_judgements, ["answers", "judged"], "judgements", name="read_judgements"),
    ]
