"""The pipeline of rephrase, run for each model."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resuming import fingerprints, resuming
from edit_robustness.pipelines.rephrase import nodes

_FACTS = ["sampled_facts", "raw_relations"]
_MADE = {"templates": [], "writer": ["written"], "table": ["frozen_wordings"]}


def create_pipeline(by: str) -> Pipeline:
    """The facts of this run to wordings, to probes, and to a sample of these.

    Args:
        by: Who makes the wordings: one of `nodes.SOURCES`.
    """
    settings = "params:wordings"
    ask_writer = resuming(nodes.ask_writer, stored=fingerprints)
    writing = Node(ask_writer, [*_FACTS, "writer", settings], "written", name="ask_writer")
    asking = "params:probes"
    return Pipeline(
        [
            *([writing] if by == "writer" else []),
            Node(nodes.write_wordings, [*_FACTS, settings, *_MADE[by]], "wordings", name="write_wordings"),
            Node(
                nodes.make_probes,
                ["sampled_facts", "facts", "raw_relations", "wordings", asking],
                "probes",
                name="make_probes",
            ),
            Node(nodes.sample_probes, ["probes", asking], "probes_sample", name="sample_probes"),
        ]
    )
