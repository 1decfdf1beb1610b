"""Tables of page views and perplexities: columns that are found, relations that are restored, errors."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError

from edit_robustness.datasets import PerplexityDataset
from edit_robustness.statistics.memory import popularity_correlations

DATA = Path(__file__).parents[3] / "shared" / "data"

RECORD = {
    "prompt": "The forge of Sting lies in", "subject": "Sting", "ground_truth": "Gondolin", "Page_Views": "1200",
    "some_model_ppl_true": 2.5, "some_model_wholesent_ppl_true": 80.0, "some_model_ppl_new": 70.0,
}  # fmt: skip
COUNTERFACT = [
    {"requested_rewrite": {"prompt": prompt, "relation_id": relation, "subject": subject,
                           "target_true": {"str": true}, "target_new": {"str": "Moria"}}}
    for prompt, relation, subject, true in [
        ("The forge of {} lies in", "P276", "Orcrist", "Nargothrond"),
        ("{} was made in", "P495", "Sting", "Gondolin"),
        ("{} was made in", "P495", "Glamdring", "Gondolin"),
        ("{} was made in", "P740", "Narsil", "Nogrod"),
    ]
]  # fmt: skip


def write(folder, records, name="facts.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def test_columns_are_found_by_their_usual_names(tmp_path):
    table = PerplexityDataset(write(tmp_path, [RECORD, {**RECORD, "Page_Views": 1}])).load()
    assert table.loc[0].to_dict() == {
        "model": "some_model", "fact_id": "1", "subject": "Sting", "relation": "The forge of {} lies in",
        "page_views": 1200.0, "perplexity_true": 2.5, "perplexity_new": 70.0,
    }  # fmt: skip
    assert np.isnan(table.loc[1, "page_views"])


def test_columns_can_be_named(tmp_path):
    records = [{"who": "Sting", "hits": 7, "ppl": 3, "relation": "P276"}]
    columns = {"subject": "who", "page_views": "Hits", "perplexity_true": "ppl"}
    row = PerplexityDataset(write(tmp_path, records), columns=columns).load().loc[0]
    assert (row["subject"], row["page_views"], row["perplexity_true"], row["relation"]) == ("Sting", 7, 3, "P276")
    assert np.isnan(row["perplexity_new"])


def test_a_recall_table_of_a_run_is_read(tmp_path):
    path = tmp_path / "recall.parquet"
    table = pd.DataFrame({"subject": ["a", "b"], "relation": "P36", "page_views": pd.array([10, None], dtype="Int64"),
                          "perplexity_true": [1.5, np.inf], "perplexity_new": [3.0, 4.0]})  # fmt: skip
    table.to_parquet(path)
    rows = PerplexityDataset(str(path)).load()
    assert rows["perplexity_true"].tolist() == [1.5, np.inf]
    assert rows["page_views"].tolist() == pytest.approx([10, np.nan], nan_ok=True)


def test_relations_are_restored_from_another_data_set(tmp_path):
    """By the template, if it has one relation; else by subject and object; else by the template's commonest."""
    relations = write(tmp_path, COUNTERFACT, "counterfact.jsonl")
    records = [
        {**RECORD, "prompt": prompt, "subject": subject, "ground_truth": true}
        for prompt, subject, true in [
            ("The forge of Bilbo lies in", "Bilbo", "Bree"),
            ("Narsil was made in", "Narsil", "Nogrod"),
            ("Sting was made in", "Sting", "Gondolin"),
            ("Ringil was made in", "Ringil", "Hithlum"),
            ("Nobody knows Ringil of", "Ringil", "Hithlum"),
        ]
    ]
    table = PerplexityDataset(write(tmp_path, records), relations=relations).load()
    assert table["relation"].tolist() == ["P276", "P740", "P495", "P495", ""]


@pytest.mark.parametrize(
    ("records", "options", "message"),
    [
        ([{"subject": "a", "page_views": 3}], {}, "no column for perplexity_true .* the file has subject, page_views"),
        ([{"subject": "a", "ppl_true": 3}], {}, "no column for page_views"),
        ([{**RECORD, "Page_Views": 1}], {}, "no record has a number"),
        ([RECORD], {"columns": {"page_views": "hits"}}, "no column for page_views"),
        ([RECORD], {"relations": "nowhere.json"}, "relations: there is no nowhere.json"),
    ],
)
def test_a_table_without_the_columns_is_refused(tmp_path, records, options, message):
    with pytest.raises(DatasetError, match=message):
        PerplexityDataset(write(tmp_path, records), **options).load()


def test_missing_files_and_wrong_settings_are_named(tmp_path):
    with pytest.raises(DatasetError, match="no such file; give one with --params=facts_path"):
        PerplexityDataset(str(tmp_path / "no.jsonl")).load()
    with pytest.raises(DatasetError, match="no column `page_view`; did you mean `page_views`"):
        PerplexityDataset("facts.jsonl", columns={"page_view": "a"})
    with pytest.raises(DatasetError, match="has no relations"):
        PerplexityDataset(write(tmp_path, [RECORD]), relations=write(tmp_path, [RECORD], "plain.jsonl")).load()


@pytest.mark.skipif(not DATA.exists(), reason="real data is not here")
def test_the_papers_figures_are_those_of_the_trial():
    """Llama-2-7B-chat on CounterFact: .113 over all facts, 27 of 34 relations positive, median .11."""
    relations = [str(DATA / "counterfact/full_records_500.json"), str(DATA / "pararel")]
    table = PerplexityDataset(str(DATA / "counterfact/flat_edit_10000.jsonl"), relations=relations).load()
    facts = table.assign(log_views=np.log10(table["page_views"]))
    correlations, within, summary = popularity_correlations(facts)
    row = correlations.set_index("outcome").loc["log_probability_true"]
    assert row[["rho", "low", "high"]].tolist() == pytest.approx([0.1125, 0.092, 0.133], abs=0.0006)
    assert (row["n_facts"], row["n_missing"]) == (9876, 124)
    counts = summary.set_index("outcome").loc["log_probability_true"]
    assert counts[["n_relations", "n_positive"]].tolist() == [34, 27]
    assert counts["median"] == pytest.approx(0.11, abs=0.01)
    # what the paper does not say: relations differ by more than chance, and few of them survive the correction
    assert row["i2"] > 0.8
    assert row["prediction_low"] < 0
    assert counts["n_above"] + counts["n_below"] < 20
    assert set(within["outcome"]) == {"log_probability_true", "log_probability_new", "preference_true"}
