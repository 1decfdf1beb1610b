"""The graph of conversation: talk and judge for each method, verdicts for each model, one page for all."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resuming import fingerprints, resuming
from edit_robustness.editing.methods import METHODS
from edit_robustness.pipelines.conversation import nodes
from edit_robustness.tables import collect

_REPORTING = "params:conversation_report"


def create_pipeline(method: str) -> Pipeline:
    """Edits of one method to transcripts, and a judge's words on them."""
    talking = {
        "lm": "language_model",
        "edits": "edits",
        "sampled_facts": "sampled_facts",
        "raw_relations": "raw_relations",
        "tester": "tester",
        "settings": "params:conversation",
    }
    if METHODS[method].edits_need_prepared:
        talking["prepared"] = "prepared"
    talk = resuming(nodes.talk_with(method), stored=fingerprints)
    judging = ["transcripts", "sampled_facts", "judge"]
    return Pipeline(
        [
            Node(talk, talking, "transcripts", name="talk", tags=["gpu"]),
            Node(resuming(nodes.judge, stored=fingerprints), judging, "opinions", name="judge", tags=["gpu"]),
        ]
    )


def create_verdict_pipeline(methods: Sequence[str], model: str) -> Pipeline:
    """The conversations of all methods of one model to tables."""
    inputs = ["facts", "sampled_facts", *_of(methods, "transcripts"), *_of(methods, "opinions")]
    left = [*_of(methods, "edits"), *_of(methods, "transcripts"), *_of(methods, "opinions")]
    return Pipeline(
        [
            Node(nodes.rule_with(methods, model), inputs, ["verdicts", "compared", "turns"], name="rule"),
            Node(
                nodes.list_failures_with(methods, model),
                left,
                "conversation_failed_items",
                name="list_conversation_failures",
            ),
            Node(
                nodes.describe_with(model),
                [*_of(methods, "edits"), *_of(methods, "transcripts")],
                "conversation_run",
                name="describe_conversations",
            ),
        ]
    )


def create_report_pipeline(models: Sequence[str]) -> Pipeline:
    """The tables of all models together, and the page.

    Args:
        models: Names of the models; ``<model>_verdicts``, ``<model>_compared``, ``<model>_turns``,
            ``<model>_conversation_failed_items`` and ``<model>_conversation_run`` are inputs.
    """
    collected = {what: f"conversation_{what}" for what in ("verdicts", "compared", "turns")}
    verdicts, compared, turns = collected.values()
    collected["conversation_failed_items"] = failed = "conversation_failed_items"
    tables = ["conversation_rates", "conversation_agreement"]
    return Pipeline(
        [
            *(Node(collect, _of(models, what), whole, name=f"collect_{what}") for what, whole in collected.items()),
            Node(nodes.sum_up, [verdicts, compared, _REPORTING], tables, name="sum_up_conversations"),
            Node(
                nodes.write_page,
                [verdicts, turns, *tables, failed, _REPORTING, *_of(models, "conversation_run")],
                "conversations",
                name="write_conversations",
            ),
        ]
    )


def _of(owners: Sequence[str], what: str) -> list[str]:
    return [f"{owner}_{what}" for owner in owners]
