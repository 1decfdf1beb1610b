"""Pipelines of conversation: talk and judge for each method, verdicts for each model, one page for all."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resume import fingerprints, resume_folder
from edit_robustness.editing.methods import METHODS
from edit_robustness.pipelines.conversation import nodes
from edit_robustness.tables import collect

_REPORTING = "params:conversation_report"


def create_pipeline(method: str) -> Pipeline:
    """Create the pipeline from the edits of one method to transcripts and the judge's replies."""
    talk_inputs = {
        "lm": "language_model",
        "edits": "edits",
        "sampled_facts": "sampled_facts",
        "raw_relations": "raw_relations",
        "tester": "tester",
        "settings": "params:conversation",
    }
    if METHODS[method].edits_need_artefact:
        talk_inputs["artefacts"] = "artefact"
    talk = resume_folder(nodes.talk_with(method), inventory=fingerprints)
    judge_inputs = ["transcripts", "sampled_facts", "judge"]
    return Pipeline(
        [
            Node(talk, talk_inputs, "transcripts", name="talk", tags=["gpu"]),
            Node(
                resume_folder(nodes.judge, inventory=fingerprints), judge_inputs, "opinions", name="judge", tags=["gpu"]
            ),
        ]
    )


def create_verdict_pipeline(methods: Sequence[str], model: str) -> Pipeline:
    """Create the pipeline from the conversations of all methods of one model to tables."""
    inputs = ["facts", "sampled_facts", *_of(methods, "transcripts"), *_of(methods, "opinions")]
    folders = [*_of(methods, "edits"), *_of(methods, "transcripts"), *_of(methods, "opinions")]
    return Pipeline(
        [
            Node(nodes.rule_with(methods, model), inputs, ["verdicts", "comparisons", "turns"], name="rule"),
            Node(
                nodes.list_failures_with(methods, model),
                folders,
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
    """Create the pipeline that joins the tables of all models and writes the page.

    Args:
        models: Names of the models; ``<model>_verdicts``, ``<model>_comparisons``, ``<model>_turns``,
            ``<model>_conversation_failed_items`` and ``<model>_conversation_run`` are inputs.
    """
    names = {table: f"conversation_{table}" for table in ("verdicts", "comparisons", "turns")}
    verdicts, comparisons, turns = names.values()
    names["conversation_failed_items"] = failures = "conversation_failed_items"
    tables = ["conversation_rates", "conversation_agreement"]
    return Pipeline(
        [
            *(Node(collect, _of(models, table), name, name=f"collect_{table}") for table, name in names.items()),
            Node(nodes.sum_up, [verdicts, comparisons, _REPORTING], tables, name="sum_up_conversations"),
            Node(
                nodes.write_page,
                [verdicts, turns, *tables, failures, _REPORTING, *_of(models, "conversation_run")],
                "conversations",
                name="write_conversations",
            ),
        ]
    )


def _of(owners: Sequence[str], name: str) -> list[str]:
    return [f"{owner}_{name}" for owner in owners]
