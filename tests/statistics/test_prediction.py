import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from edit_robustness.statistics.prediction import predict


def make(n=150, signal=1.5, seed=0):
    rng = np.random.default_rng(seed)
    facts = pd.DataFrame({"fact_id": [f"f{i}" for i in range(n)], "log_views": rng.uniform(2, 7, n)})
    facts = facts.assign(
        subject=facts["fact_id"], relation=[f"P{i % 10}" for i in range(n)], recalled=0.0, log_perplexity_true=np.nan,
        log_perplexity_new=rng.normal(size=n), luck=rng.normal(0, 1.0, n),
    )  # fmt: skip
    cells = pd.DataFrame(
        [(m, k) for m in ("none", "rome", "ft") for k in ("statement", "cloze")], columns=["method", "kind"]
    )
    rows = facts.merge(cells, how="cross")
    eta = signal * (rows["log_views"] - 4.5) + rows["luck"]
    return rows.assign(value=(rng.random(len(rows)) < 1 / (1 + np.exp(-eta))).astype(float))


def measure_documents(table, metric):
    return table[table["metric"] == metric].set_index("predictor")["value"]


def test_a_feature_that_matters_beats_the_baselines():
    table = predict(make())
    auc, brier = measure_documents(table, "auc"), measure_documents(table, "brier")
    assert auc["constant"] == 0.5
    assert auc["method_kind_fact"] > 0.75 > auc["method_kind"]
    assert brier["method_kind_fact"] < brier["constant"] - 0.03
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    assert (table["n_facts"] == 150).all()
    assert (table["n_probes"] == 150 * 2 * 2).all()
    assert (table["folds"] == 5 * 4).all()
    assert (table["note"] == "").all()


@pytest.mark.parametrize("groups", ["subject", "relation"])
def test_the_folds_are_those_of_the_seed(groups):
    outcomes = make(60)
    rows = outcomes[outcomes["method"] != "none"].reset_index(drop=True)
    errors = []
    for seed in (7, 8):
        folds = StratifiedGroupKFold(3, shuffle=True, random_state=seed).split(rows, rows["value"], rows[groups])
        for train, test in folds:
            errors.append(((rows["value"][test] - rows["value"][train].mean()) ** 2).mean())
    table = predict(outcomes, groups, folds=3, repeats=2, seed=7).set_index(["predictor", "metric"])
    row = table.loc["constant", "brier"]
    assert row[["value", "low", "high"]].tolist() == pytest.approx([np.mean(errors), min(errors), max(errors)])
    assert row["folds"] == 6


def test_a_subjects_luck_does_not_leak():
    """Nothing but each subject's own luck decides: a split that let subjects leak would score above chance."""
    rows = make(n=200, signal=0)
    rows["log_views"] = rows["luck"].rank() % 7
    assert measure_documents(predict(rows), "auc")["method_kind_fact"] < 0.6


def test_page_views_that_are_missing_are_imputed():
    rows = make()
    rows.loc[rows["subject"].isin(["f1", "f2", "f3"]), "log_views"] = np.nan
    rows.loc[rows["subject"] == "f4", "log_perplexity_new"] = np.inf
    table = predict(rows, groups="relation")
    assert table["n_facts"].iloc[0] == 150
    assert np.isfinite(table["value"]).all()


def test_few_facts_cannot_tell():
    table = predict(make(n=24))
    assert (table["note"] == "24 facts: cannot tell").all()


def test_what_cannot_be_predicted_says_why():
    assert "nothing to predict" in predict(make().assign(value=1.0)).loc[0, "note"]
    assert "no probes" in predict(make().query("method == 'none'")).loc[0, "note"]
    rare = make(n=60).assign(value=0.0)
    rare.loc[rare["subject"] == "f1", "value"] = 1.0
    assert "60 facts: cannot tell" in predict(rare).loc[0, "note"]


def test_the_seed_decides():
    assert predict(make(60), seed=3).equals(predict(make(60), seed=3))
