"""Facts that share a subject, in KnowEdit's form."""

import sys
from pathlib import Path

import yaml

from benchmarks import knowedit_form
from edit_robustness.datasets.readers.formats import looks_like
from edit_robustness.prompts.relations import read_relations

RAW = Path(__file__).parents[2] / "data" / "01_raw"


def test_the_projects_own_facts_that_share_a_subject_become_records(tmp_path, monkeypatch):
    out = tmp_path / "records.json"
    monkeypatch.setattr(sys, "argv", ["knowedit_form", str(RAW / "facts.csv"), str(RAW / "relations.yml"), str(out)])
    knowedit_form.main()
    records = yaml.safe_load(out.read_text(encoding="utf-8"))
    assert len(records) == 36
    assert {looks_like(record) for record in records} == {"zsre_knowedit"}
    by_prompt = {record["prompt"]: record for record in records}
    germany = by_prompt["The main official language of Germany is"]
    [probe] = germany["locality"]["Relation_Specificity"]
    assert (probe["prompt"], probe["ground_truth"]) == ("The capital of Germany is the city of", [["Berlin"]])


def test_a_subject_with_one_fact_has_no_record():
    templates = read_relations(yaml.safe_load((RAW / "relations.yml").read_text(encoding="utf-8")))
    facts = knowedit_form.read_facts(RAW / "facts.csv", templates)
    assert list(knowedit_form.records(facts[:1], templates)) == []
