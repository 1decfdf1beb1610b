"""Pipelines of evaluate: the answers under each method, and their scores."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resume import fingerprints, resume_folder
from edit_robustness.editing.methods import METHODS
from edit_robustness.pipelines.evaluate import nodes

_DECODING = "params:decoding"


def create_pipeline(method: str) -> Pipeline:
    """Create the pipeline from the edits and probes of one method to answers."""
    inputs = {
        "lm": "language_model",
        "edits": "edits",
        "probes": "probes",
        "decoding": _DECODING,
        "check_record": "requirements",
        **({"artefacts": "artefact"} if METHODS[method].edits_need_artefact else {}),
    }
    ask = resume_folder(nodes.evaluate, inventory=fingerprints)
    return Pipeline([Node(ask, inputs, "answers", name="evaluate", tags=["gpu"])])


def create_scoring_pipeline(
    methods: Sequence[str], model: str, *, with_judge: bool = False, with_writer: bool = False
) -> Pipeline:
    """Create the pipeline from the answers of all methods of one model to tables.

    Args:
        methods: Rows of METHODS.
        model: Whose hyperparameters are meant.
        with_judge: Whether a judge rates the answers.
        with_writer: Whether a writer generates the wordings.
    """
    answers = [f"{method}_answers" for method in methods]
    switches = {"judge_replies": with_judge, "writer_wordings": with_writer}
    inputs = {
        "lm": "language_model",
        "sampled_facts": "sampled_facts",
        "used_defaults": "params:used_defaults",
        **{name: name for name in nodes.SHARED if switches.get(name, True)},
        **{f"{method}_{suffix}": f"{method}_{suffix}" for method in methods for suffix in ("edits", "answers")},
        **{f"{method}_settings": f"params:methods.{method}.{model}" for method in methods},
    }
    return Pipeline(
        [
            Node(nodes.gather_with(methods), ["language_model", _DECODING, *answers], "answers", name="gather"),
            *(_judge_nodes() if with_judge else []),
            *create_rescore_pipeline(with_judge=with_judge).nodes,
            Node(nodes.describe_with(methods), inputs, ["run", "failed_items"], name="describe"),
        ]
    )


def create_rescore_pipeline(*, with_judge: bool = False) -> Pipeline:
    """Create the pipeline from a table of answers to scores, which loads no model.

    Args:
        with_judge: Whether scores include the verdicts of a judge.
    """
    inputs = ["answers", "judgements"] if with_judge else ["answers"]
    return Pipeline([Node(nodes.score, inputs, "scores", name="score")])


def _judge_nodes() -> list[Node]:
    judge = resume_folder(nodes.judge_each, inventory=fingerprints)
    return [
        Node(judge, ["answers", "judge"], "judge_replies", name="judge"),
        Node(nodes.read_judgements, ["answers", "judge_replies"], "judgements", name="read_judgements"),
    ]
