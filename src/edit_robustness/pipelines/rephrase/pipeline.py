"""Pipeline of rephrase, run for each model."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resume import fingerprints, resume_folder
from edit_robustness.pipelines.rephrase import nodes

_FACTS = ["sampled_facts", "raw_relations"]
_WORDING_INPUTS = {"templates": [], "writer": ["writer_wordings"], "table": ["frozen_wordings"]}


def create_pipeline(by: str) -> Pipeline:
    """Create the pipeline from the sampled facts to wordings, probes, and a sample of the probes.

    Args:
        by: Who makes the wordings: one of `nodes.SOURCES`.
    """
    settings = "params:wordings"
    ask_writer = resume_folder(nodes.ask_writer, inventory=fingerprints)
    write = Node(ask_writer, [*_FACTS, "writer", settings], "writer_wordings", name="ask_writer")
    probe_settings = "params:probes"
    return Pipeline(
        [
            *([write] if by == "writer" else []),
            Node(nodes.write_wordings, [*_FACTS, settings, *_WORDING_INPUTS[by]], "wordings", name="write_wordings"),
            Node(
                nodes.make_probes,
                ["sampled_facts", "facts", "raw_relations", "wordings", probe_settings],
                "probes",
                name="make_probes",
            ),
            Node(nodes.sample_probes, ["probes", probe_settings], "probes_sample", name="sample_probes"),
        ]
    )
