import json
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml
from fabricated_sequences import BENCHMARKS, SAFETY, Sequences, fabricate_sequences
from pydantic import ValidationError

from edit_robustness.datasets import ReportTable
from edit_robustness.datasets.failures import failed_table
from edit_robustness.pipelines.analyze_sequences import create_pipeline
from edit_robustness.pipelines.analyze_sequences.nodes import SequenceAnalysisParameters
from edit_robustness.report.sequences import FIGURES

TABLES = (
    "documents",
    "benchmarks",
    "sequence_answers",
    "sequence_scores",
    "sequence_facts",
    "drift",
    "sequence_run",
    "sequence_failed_items",
)
NONE_FAILED = failed_table("", [])
CATALOG = Path(__file__).parents[2] / "conf/base/catalog_analyze_sequences.yml"
REPORTED = [
    name for name, entry in yaml.safe_load(CATALOG.read_text()).items() if entry["type"].endswith("ReportTable")
]
"""Tables that people look at."""


def analyse(runs: dict[str, Sequences], **settings) -> dict:
    """Everything the pipeline leaves, by name."""
    inputs = {
        f"{model}_{name}": getattr(tables, name, NONE_FAILED) for model, tables in runs.items() for name in TABLES
    }
    data = inputs | {"params:analyze_sequences": SequenceAnalysisParameters(**{"bootstrap": 200, **settings})}
    for node in create_pipeline(list(runs)).nodes:
        data |= node.run({name: data[name] for name in node.inputs})
    return data


@pytest.fixture(scope="module")
def results():
    benchmarks = BENCHMARKS | SAFETY
    return analyse(
        {
            "smollm2": fabricate_sequences(
                "smollm2",
                ("none", "rome", "memit", "grace"),
                (1, 20),
                orders=2,
                nan_method="memit",
                benchmarks=benchmarks,
            ),
            "smollm2_base": fabricate_sequences(
                "smollm2_base", methods=("none", "rome"), benchmarks=benchmarks, seed=1
            ),
        },
        base={"smollm2": "smollm2_base"},
        sizes={"smollm2": 0.135, "smollm2_base": 0.36},
    )


def test_free_inputs_are_those_of_the_models():
    assert create_pipeline(["a"]).inputs() == {f"a_{name}" for name in TABLES} | {"params:analyze_sequences"}


def test_every_output_has_its_place_in_the_catalog():
    entries = set(yaml.safe_load(CATALOG.read_text()))
    assert create_pipeline(["a"]).all_outputs() == entries


def test_tables_hold_all_models_and_survive_parquet_and_csv(results, tmp_path):
    assert len(REPORTED) == 20
    for name in REPORTED:
        table = results[name]
        assert set(table["model"]) == (set() if name == "sequence_failed_items" else {"smollm2", "smollm2_base"}), name
        dataset = ReportTable(filepath=str(tmp_path / "table.parquet"))
        dataset.save(table)
        assert len(dataset.load()) == len(pd.read_csv(tmp_path / "table.csv")) == len(table)


def test_figures_are_drawn_and_stand_in_the_page(results):
    for name in FIGURES:
        assert isinstance(results[f"{name}_figure"], go.Figure)
        assert len(results[f"{name}_figure"].data) > 0, name
        assert f'data-figure="{name}"' in results["sequences"]
        json.loads(results[f"{name}_figure"].to_json())


def test_a_broken_model_is_flagged_and_never_a_success(results):
    abilities = results["abilities"].query("method == 'memit' and edits > 1")
    finite = abilities[abilities["benchmark"] != "reading"]
    assert set(finite["flag"]) == {"not finite"}
    assert (finite["value"].fillna(0) == 0).all()
    assert set(abilities.loc[abilities["benchmark"] == "reading", "flag"]) == {"constant answers"}
    assert "Log-probabilities are not finite after edits by MEMIT" in results["sequences"]
    lives = results["lifetimes"].query("method == 'memit'")
    assert set(lives["reason"]) == {"not finite"}
    assert set(lives["survived"]) == {1}


def test_the_page_answers_all_findings_with_figures(results):
    page = results["sequences"]
    assert "Not run here" not in page
    assert "ROME, 20 edits: smollm2 keeps" in page
    assert "documents of 3 benchmarks, 2 orders of edits" in page


def broken_from_the_start(tables: Sequences) -> Sequences:
    nan = tables.documents["benchmark"] != "reading"
    tables.documents.loc[nan, "logprobs"] = "[NaN, NaN, NaN, NaN]"
    tables.documents.loc[nan, "flags"] = '["not_finite"]'
    tables.documents["score"] = tables.documents["score"].where(~nan, 1.0)
    tables.sequence_scores["value"] = float("nan")
    return tables


@pytest.fixture(scope="module")
def odd():
    rome = ("none", "rome")
    return analyse(
        {
            "alone": fabricate_sequences("alone", ("none",), (1,), n=8),
            "texts": fabricate_sequences("texts", rome, (1,), n=8, benchmarks={"prose": BENCHMARKS["prose"]}),
            "one": fabricate_sequences("one", rome, (2,), nan_method="rome", n=3),
            "nan": broken_from_the_start(fabricate_sequences("nan", rome, (1, 5), n=8)),
        }
    )


def test_little_to_analyse_is_no_error(odd):
    assert odd["sequences"].count("Not run here") >= 2
    assert "No editing method was measured on a benchmark on which alone is above chance." in odd["sequences"]
    assert set(odd["abilities"]["model"]) == {"alone", "texts", "one", "nan"}
    assert set(odd["lifetimes"]["model"]) == {"one", "nan"}
    for name in ("ability_paths", "edit_retention", "edit_retention_paths"):
        assert set(odd[name]["model"]) == {"alone", "texts", "one", "nan"}


def test_a_model_that_was_broken_from_the_start(odd):
    rows = odd["abilities"].query("model == 'nan' and benchmark == 'arithmetic'")
    assert set(rows["flag"]) == {"not finite"}
    assert (rows["value"] == 0).all()
    knowledge_retention = odd["edit_retention"].query("model == 'nan'")
    assert (knowledge_retention["value"] == 0).all()
    assert knowledge_retention["n_missing"].sum() == knowledge_retention["n_probes"].sum()
    assert "The unedited nan itself has scores that are not finite" in odd["sequences"]


def test_empty_tables_are_no_error():
    tables = fabricate_sequences("tiny", ("none", "rome"), (1,), n=2)
    for name in ("documents", "drift", "sequence_scores"):
        setattr(tables, name, getattr(tables, name).head(0))
    data = analyse({"tiny": tables})
    assert data["abilities"].empty
    assert data["edit_retention"].empty


@pytest.mark.parametrize("settings", [{"confidenc": 0.9}, {"loss": 2}, {"sizes": {"a": -1}}, {"bootstrap": 0}])
def test_a_wrong_setting_is_refused(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        SequenceAnalysisParameters(**settings)
