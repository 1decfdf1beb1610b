"""Prediction across data sets and models: trained on all others, tested on each."""

from fabricated_outcomes import FEATURES, fabricate_outcomes

from edit_robustness.statistics.transfer import transfer, transfer_between_models
from edit_robustness.statistics.validation import Validation

QUICK = Validation(bootstrap=300)


def find(table, predictor, metric):
    return table.query("predictor == @predictor and metric == @metric").iloc[0]


def test_across_data_sets():
    outcomes = fabricate_outcomes(300, datasets=("counterfact", "popqa"))
    only = {"counterfact": "cloze"}
    outcomes = outcomes[~((outcomes["dataset"] == "popqa") & (outcomes["kind"] == only["counterfact"]))]
    table = transfer(outcomes, FEATURES, QUICK).prediction
    pairs = set(zip(table["trained_on"], table["tested_on"], strict=True))
    assert pairs == {("counterfact", "popqa"), ("popqa", "counterfact")}
    assert set(table["groups"]) == {"dataset"}
    to_counterfact = table[table["tested_on"] == "counterfact"]
    assert set(to_counterfact["note"]) == {"kinds without training are left out: cloze"}
    for _, rows in table.groupby("tested_on"):
        assert find(rows, "full", "auc_within")["low"] > 0.6
    assert transfer(fabricate_outcomes(150), FEATURES, QUICK).prediction.empty


def test_across_data_sets_few_facts_cannot_tell():
    table = transfer(fabricate_outcomes(60, datasets=("a", "b")), FEATURES, QUICK).prediction
    assert table["note"].str.contains("cannot tell").all()


def test_across_models():
    first, second = (fabricate_outcomes(150, model=name, seed=seed) for name, seed in (("a", 0), ("b", 0)))
    outcomes = first.merge(second, how="outer")
    tables = transfer_between_models(outcomes, FEATURES, QUICK)
    assert set(tables) == {"a", "b"}
    row = find(tables["a"].prediction, "full", "auc_within")
    assert (row["trained_on"], row["tested_on"], row["n_facts"]) == ("b", "a", 150)
    assert row["low"] > 0.6
    assert transfer_between_models(first, FEATURES, QUICK) == {}
