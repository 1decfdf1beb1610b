"""The tables of the study that the project contains, the predictor made from them, and the page that reads them."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from edit_robustness.editing.methods import METHODS
from edit_robustness.pipelines.study.nodes import TABLES
from edit_robustness.statistics.intervals import rates

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "data" / "01_raw" / "study"
PAGE = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
EDITED = ("ft", "rome", "memit", "grace")
ROWS = {"Fact in context": "context", "FT": "ft", "ROME": "rome", "MEMIT": "memit", "GRACE": "grace"}


@pytest.fixture(scope="module")
def scores():
    return pd.read_parquet(STUDY / "scores.parquet")


def read_settings(method):
    path = ROOT / "conf/base/parameters/methods" / f"{method}.yml"
    return METHODS[method](**yaml.safe_load(path.read_text())["methods"][method]["smollm2"]).settings()


def test_the_tables_are_complete_small_and_without_texts(scores):
    assert {path.stem for path in STUDY.glob("*.parquet")} == set(TABLES)
    assert sum(path.stat().st_size for path in STUDY.iterdir()) < 3_000_000
    for path in STUDY.glob("*.parquet"):
        assert not {"prompt", "text", "statement", "paraphrases"} & set(pd.read_parquet(path).columns)
    cells = scores.groupby("method")["fact_id"].nunique()
    assert set(cells.index) == {"none", "context", *EDITED}
    assert cells.nunique() == 1


@pytest.mark.parametrize("method", EDITED)
def test_the_study_and_its_predictor_have_the_settings_of_the_configuration(method):
    predictor = json.loads((STUDY / "predictor.json").read_text())["predictors"]["smollm2"]
    (record,) = json.loads((STUDY / "runs.json").read_text())
    assert predictor["methods"][method] == record["methods"]["smollm2"][method] == read_settings(method)


def test_the_page_states_the_number_of_facts_and_the_efficacy_of_the_tables(scores):
    facts = pd.read_parquet(STUDY / "edited_facts.parquet")
    numbers = facts["dataset"].value_counts()
    assert f"has {len(facts)} facts: {numbers['counterfact']} of CounterFact and {numbers['popqa']} of PopQA" in PAGE
    statements = scores.query("kind == 'statement' and protocol == 'free' and metric == 'success'")
    table = rates(
        statements.merge(facts.rename(columns={"id": "fact_id"})[["fact_id", "subject"]], on="fact_id"),
        ["method"],
        cluster="subject",
    ).set_index("method")
    for label, method in ROWS.items():
        row = table.loc[method]
        cell = f"{row['value']:.0%} [{row['low']:.0%}, {row['high']:.0%}]"
        assert re.search(rf"^\| {label} \| {re.escape(cell)} \|", PAGE, re.MULTILINE), (label, cell)
