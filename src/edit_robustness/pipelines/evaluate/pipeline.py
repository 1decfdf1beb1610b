"""The graph of evaluate: the answers under each method, and their scores."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resuming import fingerprints, resuming
from edit_robustness.editing.methods import METHODS
from edit_robustness.pipelines.evaluate import nodes

_DECODING = "params:decoding"


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
        "used_defaults": "params:used_defaults",
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
