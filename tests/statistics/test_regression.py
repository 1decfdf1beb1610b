import numpy as np
import pandas as pd
import pytest
from naive_gee import naive_gee
from scipy import stats

from edit_robustness.statistics.regression import COLUMNS, regress


def make(n_subjects=150, seed=0, **effects):
    """Probes of two kinds and two methods, a subject's own luck, and the effects asked for."""
    rng = np.random.default_rng(seed)
    facts = pd.DataFrame(
        {
            "subject": [f"s{i}" for i in range(n_subjects)],
            "log_views": rng.uniform(2, 7, n_subjects),
            "recalled": rng.integers(0, 2, n_subjects).astype(float),
            "log_perplexity_new": rng.normal(2, 1, n_subjects),
            "luck": rng.normal(0, 1, n_subjects),
        }
    )
    cells = [
        (kind, method) for kind in ("statement", "cloze") for method in ("none", "context", "rome") for _ in range(2)
    ]
    rows = facts.merge(pd.DataFrame(cells, columns=["kind", "method"]), how="cross")
    eta = 0.3 + rows["luck"] + effects.get("views", 0) * (rows["log_views"] - 4.5)
    eta += effects.get("cloze", 0) * (rows["kind"] == "cloze") + effects.get("rome", 0) * (rows["method"] == "rome")
    rows["value"] = (rng.random(len(rows)) < 1 / (1 + np.exp(-eta))).astype(float)
    return rows.assign(fact_id=rows["subject"])


def by_term(table):
    assert list(table.columns) == COLUMNS
    return table.set_index("term")


def test_coefficients_are_those_of_the_naive_transcription():
    rows = make(60, views=-0.3, cloze=-1.0, rome=0.8)
    edit_rows = rows[rows["method"] != "none"]
    covariates = {name: edit_rows[name] - edit_rows[name].mean() for name in ("log_views", "log_perplexity_new")}
    x = np.column_stack(
        [np.ones(len(edit_rows)), edit_rows["kind"] == "cloze", edit_rows["method"] == "rome",
         covariates["log_views"], edit_rows["recalled"], covariates["log_perplexity_new"]]
    ).astype(float)  # fmt: skip
    beta, covariance = naive_gee(edit_rows["value"].to_numpy(), x, pd.factorize(edit_rows["subject"])[0])
    table = by_term(regress(rows))
    assert np.log(table["odds_ratio"]).to_numpy() == pytest.approx(beta, abs=2e-3)
    widths = np.log(table["high"] / table["low"]).to_numpy() / 2
    plain = 1.96 * np.sqrt(np.diag(covariance))
    assert (widths > plain).all()
    assert (widths < 1.35 * plain).all()
    # Student's t with 60 subjects less the intercept and three covariates, which do not vary within a subject
    t = stats.t(60 - 4)
    errors = widths / t.ppf(0.975)
    assert table["p"].to_numpy() == pytest.approx(2 * t.sf(np.abs(np.log(table["odds_ratio"])) / errors))
    narrow = by_term(regress(rows, 0.8))
    assert np.log(narrow["high"] / narrow["low"]).to_numpy() / 2 == pytest.approx(errors * t.ppf(0.9))
    assert (table["n_probes"] == len(edit_rows)).all()


def test_effects_are_found_with_their_sign_and_reference():
    table = by_term(regress(make(400, views=-0.5, cloze=-1.0)))
    assert table.loc["log_views", "high"] < 1
    assert table.loc["kind=cloze", "high"] < 1
    assert table.loc["kind=cloze", "reference"] == "statement"
    assert table.loc["method=rome", "reference"] == "context"
    assert table.loc["method=rome", "low"] < 1 < table.loc["method=rome", "high"]
    assert "method=none" not in table.index


def test_a_fact_level_effect_is_not_overstated():
    """No effect of page views at all, luck shared inside a subject: about one p in twenty is below .05."""
    p = [by_term(regress(make(24, seed=seed))).loc["log_views", "p"] for seed in range(120)]
    assert np.mean(np.array(p) < 0.05) < 0.1


def test_missing_page_views_are_dropped_and_named():
    rows = make(60)
    rows.loc[rows["subject"].isin(["s0", "s1"]), "log_views"] = np.nan
    table = by_term(regress(rows))
    assert table.loc["log_views", "n_facts"] == 58
    assert table.loc["log_views", "note"] == "2 facts without it left out"


def test_page_views_that_nobody_knows_leave_the_rest():
    table = by_term(regress(make(60).assign(log_views=np.nan)))
    assert table.loc["log_views", "note"] == "left out: unknown for every fact"
    assert np.isfinite(table.loc["kind=cloze", "odds_ratio"])


def test_a_kind_that_always_succeeds_is_left_out_with_its_reason():
    rows = make(60)
    rows.loc[rows["kind"] == "statement", "value"] = 1.0
    table = by_term(regress(rows))
    assert table.loc["kind=statement", "note"] == "left out: every probe succeeded"
    assert np.isnan(table.loc["kind=statement", "odds_ratio"])
    assert np.isfinite(table.loc["method=rome", "odds_ratio"])


def test_recall_that_separates_is_left_out():
    rows = make(60)
    rows = rows[(rows["recalled"] == 0) | (rows["value"] == 1)]
    assert "separates" in by_term(regress(rows)).loc["recalled", "note"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows.assign(value=0.0), "every probe failed"),
        (lambda rows: rows.assign(value=1.0), "every probe succeeded"),
        (lambda rows: rows[rows["method"] == "none"], "no probes"),
        (lambda rows: rows[rows["subject"].isin(["s1", "s2", "s3"])], "too few"),
        (lambda rows: rows.assign(value=(rows["log_views"] > 4.5).astype(float)), "separate"),
    ],
)
def test_data_that_carry_no_model_say_so(change, reason):
    table = regress(change(make(60)))
    assert reason in table.loc[0, "note"]
    assert table["odds_ratio"].isna().all()


@pytest.mark.parametrize(("n_subjects", "is_refused"), [(9, True), (10, False)])
def test_ten_subjects_are_enough(n_subjects, is_refused):
    note = regress(make(n_subjects)).loc[0, "note"]
    assert (note == "not fitted: 9 subjects are too few (at least 10)") == is_refused


def test_one_method_and_one_kind_have_no_terms():
    rows = make(60)
    table = by_term(regress(rows[(rows["method"] == "rome") & (rows["kind"] == "cloze")]))
    assert list(table.index) == ["intercept", "log_views", "recalled", "log_perplexity_new"]
    assert table["odds_ratio"].between(1e-3, 1e3).all()
