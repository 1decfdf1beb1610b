"""One word picks the facts of a run; a table of one's own needs no more than prompts, subjects and new objects."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from kedro.config import OmegaConfigLoader

from edit_robustness.context import with_facts
from edit_robustness.datasets import FactsDataset
from edit_robustness.pipelines.prior_knowledge import objects

ROOT = Path(__file__).parents[2]
OTHERS = ["counterfact", "counterfact_flat", "zsre", "zsre_knowedit", "popqa", "known_facts", "pararel"]


def catalog(env="test", **parameters):
    """The catalog as configuration, without a session."""
    return OmegaConfigLoader(str(ROOT / "conf"), env, parameters, base_env="base")["catalog"]


def test_one_word_picks_the_facts_of_a_run():
    entries = catalog()
    entry = with_facts(entries, "raw_facts")["raw_facts"]
    assert (entry["path"], entry["format"]) == ("data/01_raw/facts.csv", "table")
    for word in OTHERS:
        settings = dict(with_facts(entries, word)["raw_facts"])
        assert settings.pop("type") == "edit_robustness.datasets.FactsDataset"
        description = FactsDataset(**settings)._describe()
        assert (description["format"], description["limit"]) == (word, 2000)


def test_a_path_and_a_limit_can_be_given_with_it():
    entries = catalog("gpu", facts_path="my/test.tsv", facts_limit=7)
    assert (entries["popqa"]["format"], entries["popqa"]["path"], entries["popqa"]["limit"]) == (
        "popqa",
        "my/test.tsv",
        7,
    )
    assert entries["raw_facts"]["path"] == "my/test.tsv"
    assert catalog("gpu")["popqa"]["limit"] == 0


def test_an_entry_of_ones_own_is_picked_by_its_name(project):
    entry = {"type": "edit_robustness.datasets.FactsDataset", "path": "mine.csv"}
    catalog = project.folder / "conf" / "test" / "catalog_mine.yml"
    catalog.write_text(yaml.safe_dump({"mine": entry}))
    context = project.context(facts="mine", sample={"size": 100})
    assert context.catalog.get("raw_facts")._describe()["path"] == str(project.folder / "mine.csv")
    assert (context.params["sample"].size, context.params["sample"].quantiles) == (100, 2)


def test_a_misspelt_word_lists_those_that_exist(project, no_model):
    with pytest.raises(ValueError, match=r"facts: no data set `zrse` in the catalog; did you mean `zsre`"):
        project.run(parameters={"facts": "zrse"})


def test_a_file_of_another_form_stops_the_run_before_a_model_is_loaded(project, no_model):
    with pytest.raises(Exception, match=r"facts\.csv: `format: zsre` needs .* it looks like `format: table`"):
        project.run(parameters={"facts": "zsre", "facts_path": "data/01_raw/facts.csv"})


def test_a_run_on_prompts_subjects_and_new_objects_alone(project, monkeypatch):
    # a random model says no names: say some for it
    object_texts = {
        "The Zorn flows into": " the Rhine.",
        "The Ohm flows into": " ...",
        "The Lahn flows into": " the Ill!",
    }
    with_object = objects._add_object

    def with_a_name(fact, answer):
        return with_object(
            fact, replace(answer, text=object_texts.get(answer.probe.text, " the Moselle."), finished=True)
        )

    monkeypatch.setattr(objects, "_add_object", with_a_name)
    rivers = ["Zorn", "Ohm", "Lahn", *(f"River{n}" for n in range(4))]
    table = [{"prompt": f"The {river} flows into", "subject": river, "target_new": "the Ill"} for river in rivers]
    (project.folder / "mine.jsonl").write_text("\n".join(map(json.dumps, table)))
    methods = {"none": True, "rome": True, "ft": False, "ike": False, "context": False}
    parameters = {"facts_path": "mine.jsonl", "grid": {"tiny": methods}, "sample": {"size": 4}}
    project.run(parameters=parameters, to_nodes=["analyze.collect_answers"])
    rejects = pd.read_csv(project.data / "04_feature" / "tiny" / "rejects.csv")
    assert rejects["reason"].tolist() == ["gives no object: '...'", "gives the new object already: 'the Ill!'"]
    facts = pd.read_parquet(project.data / "04_feature" / "tiny" / "facts.parquet")
    assert facts["target_true"].tolist() == ["Rhine"] + ["Moselle"] * 4
    answers = project.table("answers")
    edit_answers = answers[answers["family"] == "edit"]
    assert edit_answers["fact_id"].nunique() == 4
    assert set(edit_answers["target_true"]) <= {"Rhine", "Moselle", "No", "True"}
