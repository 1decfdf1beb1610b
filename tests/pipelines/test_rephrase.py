import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from pydantic import ValidationError

from edit_robustness.pipelines.rephrase import create_pipeline
from edit_robustness.pipelines.rephrase.nodes import ProbeParameters, make_probes
from edit_robustness.prompts.kinds import KINDS
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Fact
from edit_robustness.tables import facts_to_table, probes_from_table

RELATIONS = {
    "relations": {
        "P36": {
            "name": "capital",
            "object": "a city",
            "statement": "The capital of {} is",
            "paraphrases": ["{} is ruled from", "The seat of {} is", "Who rules {} sits in"],
            "question": "What is the capital of {}?",
            "cloze": "The capital of {} is ____.",
            "context": "{} is a country.",
        }
    },
    "unrelated": ["The train was late.", "It rained all day."],
}
POOL = [
    Fact(f"P36-{subject}", subject, "P36", "The capital of {} is", true, "Nowhere")
    for subject, true in [("France", "Paris"), ("Spain", "Madrid"), ("Chad", "N'Djamena"), ("Peru", "Lima")]
]


def test_probes_are_made_for_the_chosen_facts_with_neighbours_from_all():
    parameters = ProbeParameters(neighbours_per_fact=2, seed=4)
    table = make_probes(facts_to_table(POOL[:1]), facts_to_table(POOL), RELATIONS, parameters)
    expected = build_probes(POOL[:1], read_relations(RELATIONS), POOL, kinds=tuple(KINDS), neighbours=2, seed=4)
    assert probes_from_table(table) == expected
    assert set(table["fact_id"]) == {"P36-France"}
    assert (table["kind"] == "locality").sum() == 2
    assert set(table["kind"]) == set(KINDS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kinds": ["clozes"]}, "no kind of prompt 'clozes'; there are statement"),
        ({"kinds": ["doubt"]}, "add question"),
        ({"kinds": []}, "kinds"),
        ({"kind": ["cloze"]}, "kind"),
        ({"neighbours_per_fact": -1}, "neighbours_per_fact"),
    ],
)
def test_wrong_parameters_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        ProbeParameters(**wrong)


def test_the_pipeline_runs():
    catalog = DataCatalog(
        {
            "sampled_facts": MemoryDataset(facts_to_table(POOL[:2])),
            "facts": MemoryDataset(facts_to_table(POOL)),
            "raw_relations": MemoryDataset(RELATIONS),
            "params:probes": MemoryDataset(ProbeParameters(kinds=("statement", "question"))),
        }
    )
    probes = SequentialRunner().run(create_pipeline(), catalog)["probes"].load()
    assert isinstance(probes, pd.DataFrame)
    assert probes["kind"].tolist() == ["statement", "question"] * 2
