import math

import pandas as pd
import pytest

from edit_robustness.features.remote import feature_table
from edit_robustness.features.table import features_table, wide
from edit_robustness.metrics.recall import RECALL_COLUMNS, recall_table
from edit_robustness.records import Answer, Fact, Probe
from edit_robustness.tables import answers_to_table, facts_to_table

FACTS = [
    Fact("fr", "France", "P36", "{} is", "Paris", "Lyon", ("Paname",), ("A", "B"), 100, subject_aliases=("Gaul",)),
    Fact("es", "Spain", "P36", "{} is", "Madrid", "Oslo"),
]
FAMILIAR = pd.DataFrame({"fact_id": ["es", "fr"], "rank_true": [7, 1]}).astype({"rank_true": "Int64"})
LOOKED_UP = pd.DataFrame(
    {
        "fact_id": ["fr", "fr"],
        "feature": ["wikipedia_views", "one_hop_true"],
        "value": pd.array([12.0, None], dtype="Float64"),
        "missing_because": ["", "timed out"],
        "ambiguity": pd.array([2, None], dtype="Int64"),
    }
)


def make_recall(facts, logprob_true=-1.0):
    probes = [
        Probe(f"{f.id}/statement/0", f.id, "statement", "edit", f.subject, f.statement, f.target_new, f.target_true)
        for f in facts
    ]
    answers = [
        Answer(probe, f" {probe.target_true}.", True, 2, -6.0, logprob_true, 3, 2, False, True) for probe in probes
    ]
    return recall_table(answers_to_table(answers, model="tiny", method="none"), facts_to_table(FACTS))


def test_one_row_a_fact_with_all_that_is_known():
    table = features_table(make_recall(FACTS), FAMILIAR, make_recall(FACTS[:1], -0.5), facts_to_table(FACTS), LOOKED_UP)
    assert table.columns[: len(RECALL_COLUMNS)].tolist() == RECALL_COLUMNS
    france, spain = table.to_dict(orient="records")
    assert (france["fact_id"], spain["fact_id"]) == ("fr", "es")
    assert france["log_perplexity_gap"] == pytest.approx(
        math.log(france["perplexity_new"]) - math.log(france["perplexity_true"])
    )
    assert (france["rank_true"], spain["rank_true"]) == (1, 7)
    assert [france[f"n_{name}_aliases"] for name in ("subject", "target_true", "target_new")] == [1, 1, 2]
    assert france["recalled_in_context"] is True
    assert france["logprob_true_in_context"] == -0.5
    assert pd.isna(spain["recalled_in_context"])
    assert (france["wikipedia_views"], france["wikipedia_views_ambiguity"]) == (12.0, 2)
    assert pd.isna(france["one_hop_true"])
    assert france["one_hop_true_missing_because"] == "timed out"
    assert pd.isna(spain["wikipedia_views"])


def test_with_nothing_asked_again_or_looked_up_the_rest_is_there(tmp_path):
    table = features_table(make_recall(FACTS), FAMILIAR, make_recall([]), facts_to_table(FACTS), feature_table([]))
    assert len(table) == 2
    assert table["recalled_in_context"].isna().all()
    assert not [name for name in table.columns if "missing_because" in name]
    table.to_parquet(tmp_path / "features.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "features.parquet"), table)


def test_a_fact_that_was_measured_twice_is_an_error():
    twice = pd.concat([FAMILIAR, FAMILIAR])
    with pytest.raises(pd.errors.MergeError):
        features_table(make_recall(FACTS), twice, make_recall([]), facts_to_table(FACTS), feature_table([]))


def test_wide_has_the_features_in_their_order():
    assert wide(LOOKED_UP).columns.tolist() == [
        "fact_id",
        *("wikipedia_views", "wikipedia_views_missing_because", "wikipedia_views_ambiguity"),
        *("one_hop_true", "one_hop_true_missing_because", "one_hop_true_ambiguity"),
    ]
