import time
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml
from fabricated_tables import Tables, fabricate, make_features
from pydantic import ValidationError

from edit_robustness.datasets import ReportTable
from edit_robustness.datasets.failures import failed_table
from edit_robustness.pipelines.analyze import create_pipeline, nodes
from edit_robustness.pipelines.analyze.nodes import AnalysisParameters

TABLES = ("scores", "answers", "recall", "features", "feature_summary", "facts", "run", "failed_items")
NONE_FAILED = failed_table("", [])
CATALOG = Path(__file__).parents[2] / "conf/base/catalog_report.yml"
REPORTED = [
    *(name for name, entry in yaml.safe_load(CATALOG.read_text()).items() if entry["type"].endswith("ReportTable")),
    *("features", "feature_summary"),
]
"""Tables that people look at."""
FIGURES = ("popularity", "success", "robustness", "protocol", "correlation")
QUICK = {"bootstrap": 100, "folds": 2}


def analyse(runs: dict[str, Tables], **settings) -> dict:
    """Everything the pipeline leaves, by name."""
    inputs = {
        f"{model}_{name}": getattr(tables, name, NONE_FAILED) for model, tables in runs.items() for name in TABLES
    }
    models = yaml.safe_load((CATALOG.parent / "parameters.yml").read_text())["analyze"]["models"]
    parameters = AnalysisParameters(**({"models": models} | settings))
    data = inputs | {"params:analyze": parameters, "rejects": next(iter(runs.values())).rejects}
    for node in create_pipeline(list(runs)).nodes:
        data |= node.run({name: data[name] for name in node.inputs})
    return data


@pytest.fixture(scope="module")
def results():
    start = time.process_time()
    data = analyse({"smollm2": fabricate("smollm2"), "gpt2": fabricate("gpt2", seed=1)}, **QUICK)
    assert time.process_time() - start < 120
    return data


@pytest.fixture(scope="module")
def few_results():
    """The analysis of few facts and one method, with settings that are not the defaults."""
    tables = fabricate("tiny", n_facts=12, n_known=60, methods=("none", "ft"))
    primary = {"features": "log_views", "outcomes": ["efficacy", "generalization"]}
    return analyse({"tiny": tables}, **QUICK, classes=True, primary=primary)


def test_free_inputs_are_those_of_the_models():
    names = {f"a_{name}" for name in TABLES} | {"rejects", "params:analyze"}
    assert create_pipeline(["a"]).inputs() == names


def test_tables_hold_all_models(results):
    for name in (*REPORTED, "power"):
        if name in ("paper_1", "orderings", "failed_items", "popularity_classes"):
            continue
        assert set(results[name]["model"]) == {"smollm2", "gpt2"}, name
        assert results[name].columns[0] == "model"


def test_tables_survive_parquet_and_csv(results, tmp_path):
    for name in REPORTED:
        dataset = ReportTable(filepath=str(tmp_path / "table.parquet"))
        dataset.save(results[name])
        pd.testing.assert_frame_equal(dataset.load(), results[name], check_dtype=False)
        assert len(pd.read_csv(tmp_path / "table.csv")) == len(results[name])


def test_outcomes_have_every_feature_and_every_edited_fact(results):
    summary, outcomes, facts = (results[name] for name in ("feature_summary", "outcomes", "fact_outcomes"))
    assert set(summary["feature"]) <= set(outcomes.columns)
    assert len(outcomes) == len(results["scores"])
    counts = facts.groupby(["model", "method", "protocol", "outcome"])["fact_id"].agg(["nunique", "size"])
    assert (counts == 24).all(axis=None)
    rome = facts.query("model == 'gpt2' and method == 'rome' and protocol == 'free'")
    statements = results["scores"].query(
        "model == 'gpt2' and method == 'rome' and protocol == 'free' and metric == 'success' and kind == 'statement'"
    )
    assert rome.query("outcome == 'efficacy'")["value"].mean() == pytest.approx(statements["value"].mean())
    assert not (rome["value"].isna() & (rome["reason"] == "")).any()


def test_figures_are_drawn(results):
    for name in FIGURES:
        assert isinstance(results[f"{name}_figure"], go.Figure)
        assert len(results[f"{name}_figure"].data) > 0
        assert f'data-figure="{name}"' in results["report"]


@pytest.mark.parametrize("in_table", [True, False])
def test_there_is_one_popularity_of_a_fact(in_table):
    """Page views count the same whether the table of facts has them or they were looked up, as features alone."""
    tables, settings = fabricate("tiny", n_known=60, methods=("none", "rome")), AnalysisParameters()
    facts, recall, features = tables.facts.assign(model="tiny"), tables.recall, tables.features
    log_views = np.log10(recall["page_views"].astype("Float64").astype(float))
    if not in_table:
        facts, recall, features = (table.assign(page_views=pd.NA) for table in (facts, recall, features))
    _, values = nodes.join_outcomes(tables.scores, facts, recall, features, tables.feature_summary)
    arguments = [values, features, tables.feature_summary, recall]
    _, _, power = nodes.correlate(*arguments, facts, settings)
    assert power["n_facts"].tolist() == [log_views[recall["fact_id"].isin(facts["id"])].notna().sum()]
    curves, classes = nodes.smooth_popularity(*arguments, settings)
    figure, _ = nodes.draw_popularity(features, curves, classes)
    points = next(trace for trace in figure.data if trace.name == "Old object")
    assert sorted(points.x) == pytest.approx(sorted(log_views.dropna()))


def test_methods_are_compared_on_facts_with_the_baseline_beside_them(results):
    comparisons, rankings, kinds = (
        results[name] for name in ("method_comparisons", "method_rankings", "weakest_kinds")
    )
    outcomes = {"efficacy", "generalization", "robustness", "reversion", "specificity:neighbourhood"}
    assert outcomes <= set(comparisons["outcome"])
    assert not comparisons["outcome"].str.startswith("generalization:").any()
    free = results["fact_outcomes"].query("model == 'gpt2' and protocol == 'free' and outcome == 'generalization'")
    values = free.pivot(index="fact_id", columns="method", values="value")
    of_run = comparisons.query("model == 'gpt2' and protocol == 'free' and outcome == 'generalization'")
    row = of_run.query("method == 'context' and other == 'rome'").iloc[0]
    assert row["difference"] == pytest.approx((values["context"] - values["rome"]).mean())
    assert row["n_facts"] == 24
    ranks = rankings.query("model == 'gpt2' and protocol == 'free' and outcome == 'generalization'").set_index("method")
    assert list(ranks.index) == [*values[["ike", "rome", "ft"]].mean().sort_values(ascending=False).index, "context"]
    assert ranks["rank"].isna().tolist() == [False, False, False, True]
    lowest = kinds.query("model == 'gpt2' and protocol == 'free' and method == 'rome' and lowest")["kind"].tolist()
    assert lowest == ["doubt_old_object"]


def test_classes_of_popularity_are_given_if_the_settings_ask(results, few_results):
    assert results["popularity_classes"].empty
    assert set(results["popularity_curves"]["outcome"]) >= {"recalled", "efficacy", "generalization"}
    classes = few_results["popularity_classes"]
    assert set(classes["outcome"]) >= {"recalled", "efficacy", "generalization"}
    assert (classes["n_facts"] > 0).all()


def test_primary_tests_are_read_from_the_settings(few_results):
    edits = few_results["correlations"].query("family == 'edit' and primary")
    assert set(edits["feature"]) == {"log_views"}
    assert set(edits["outcome"]) == {"efficacy", "generalization"}


def test_every_average_is_of_one_measure(results):
    for name, by in (("headline", ["kind"]), ("overview", ["family", "kind"])):
        assert not results[name].duplicated(["model", "method", *by, "protocol", "metric"]).any()
    local = results["overview"].query("family == 'specificity'")
    assert set(local["kind"]) == {"neighbourhood", "relation_specificity", "unrelated"}
    entropy = results["overview"].query("metric == 'entropy' and method == 'rome' and model == 'gpt2'").iloc[0]
    scores = results["scores"].query("metric == 'entropy' and method == 'rome' and model == 'gpt2'")
    assert entropy["value"] == pytest.approx(scores["value"].mean())
    assert entropy["high"] > 1


def test_the_first_papers_table_stands_beside_ours(results):
    table = results["paper_1"].query("model == 'gpt2' and method == 'rome' and row == 'doubts' and metric == 'success'")
    doubts = results["scores"].query(
        "model == 'gpt2' and method == 'rome' and kind in ('doubt', 'doubt_old_object') and metric == 'success' "
        "and protocol == 'free'"
    )
    assert table["value"].tolist() == pytest.approx([doubts["value"].mean()])
    assert table["paper"].tolist() == pytest.approx([0.169])
    assert set(results["paper_1"]["method"]) == {"rome", "ike"}
    assert len(results["orderings"])
    assert "The models differ" in results["report"]


def test_the_gap_is_of_the_same_probes(results):
    row = results["gaps"].query("model == 'gpt2' and method == 'rome' and kind == 'all'").iloc[0]
    assert row["gap"] == pytest.approx((row["forced_only"] - row["free_only"]) / row["n_probes"])
    assert row["low"] < row["gap"] < row["high"]


def test_without_a_method_of_the_first_paper_it_is_not_shown(few_results):
    assert few_results["paper_1"].empty
    assert few_results["orderings"].empty
    assert "The models differ" not in few_results["report"]


def test_the_report_names_both_models(results):
    assert results["report"].count("Efficacy, the share of statements answered with the new object") == 2
    assert results["report"].count("edits by") >= 2
    assert len(results["report"].encode()) < 6e6


def test_a_run_in_which_nothing_works():
    """Five facts, no page views, a model that knows nothing and an edit that never holds: the tiny configuration."""
    tables = fabricate("tiny", n_facts=5, n_known=5, methods=("none", "rome"))
    tables.facts = tables.facts.assign(page_views=pd.array([pd.NA] * 5, dtype="Int64"))
    tables.recall = tables.recall.assign(
        page_views=pd.array([pd.NA] * 5, dtype="Int64"), recalled=False, recalled_teacher_forced=False
    )
    tables.features = make_features(tables.recall)
    wins = tables.scores["metric"].isin(["success", "preference"])
    tables.scores = tables.scores.assign(value=tables.scores["value"].where(~wins, 0.0))
    data = analyse({"tiny": tables}, bootstrap=100)
    assert data["correlations"]["rho"].isna().all()
    assert "every probe failed" in data["regression"].loc[0, "note"]
    # answers about other facts vary still, but five facts are too few
    assert "5 facts: cannot tell" in data["prediction"].loc[0, "note"]
    assert "No edit succeeds on the statement, so none can fail only elsewhere." in data["report"]


def test_the_unedited_model_alone():
    data = analyse({"tiny": fabricate("tiny", n_facts=8, n_known=40, methods=("none",))}, bootstrap=100)
    assert set(data["correlations"]["family"]) == {"recall"}
    assert "No editing method has a figure for prompts other than the statement" in data["report"]


def test_scores_that_are_not_numbers_are_counted():
    tables = fabricate("tiny", n_facts=12, n_known=60, methods=("none", "ft"))
    tables.scores.loc[tables.scores.index[:7], "value"] = float("nan")
    data = analyse({"tiny": tables}, **QUICK)
    assert data["headline"]["n_missing"].sum() == 7
    assert "7 scores were left out because the value was not finite (free generation)" in data["report"]


@pytest.mark.parametrize("settings", [{"confidenc": 0.9}, {"confidence": 95}, {"cv_groups": "fact"}, {"bootstrap": 0}])
def test_a_wrong_setting_is_refused(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        AnalysisParameters(**settings)
