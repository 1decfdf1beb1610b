import ast
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from naive_gee import naive_gee
from pydantic import ValidationError
from record_regressions import grade, make_data, separate
from regression_coverage import cover
from regression_data import PROMPTS, SLOPES, choose_edits, simulate
from statsmodels.stats.proportion import proportion_confint

from edit_robustness.features.declared import declared_names
from edit_robustness.statistics import regression as regression_package
from edit_robustness.statistics.regression import CHECK_COLUMNS, COLUMNS, RegressionModel, regress
from edit_robustness.statistics.regression.conditional import bound_conditional, fit_conditional
from edit_robustness.statistics.regression.design import Design
from edit_robustness.statistics.regression.equations import Clusters, cluster_influences, covariance, solve
from edit_robustness.statistics.regression.estimators import ESTIMATORS, names_for
from edit_robustness.statistics.regression.fits import Regression, fit_model
from edit_robustness.statistics.regression.rows import select_rows
from edit_robustness.statistics.regression.separation import bound, estimate_firth, find_separation

R = json.loads((Path(__file__).parents[1] / "reference" / "regressions.json").read_text())
CONF = Path(__file__).parents[2] / "conf" / "base" / "parameters.yml"
DEFAULTS = yaml.safe_load(CONF.read_text())["analyze"]["models"]
MODEL = "success ~ kind + method*log_views"
COVERAGE = [(24, 0.5, 0.93), (100, 0.5, 0.94), (400, 0.5, 0.94)]
PARTS = {"kind": "kind=", "method": "method="}


def term_of(name: str) -> str:
    """R's name of a coefficient, as the table has it."""
    parts = []
    for part in name.replace("(Intercept)", "intercept").split(":"):
        factor = next((factor for factor in PARTS if part.startswith(factor)), "")
        parts.append(PARTS[factor] + part.removeprefix(factor) if factor else part)
    return ":".join(sorted(parts))


def by_term(table: pd.DataFrame) -> pd.DataFrame:
    assert list(table.columns) == COLUMNS
    return table.assign(term=[":".join(sorted(term.split(":"))) for term in table["term"]]).set_index("term")


def run(outcomes, formula, **settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    model = RegressionModel(formula=formula, **settings)
    table, checks = regress(outcomes, {"mine": model}, features=declared_names())
    assert list(checks.columns) == CHECK_COLUMNS
    return by_term(table), checks.set_index("check")


def fit(outcomes, formula, **settings):
    model = RegressionModel(formula=formula, **settings)
    rows = select_rows(outcomes, model).table
    regression = Regression(rows, Design(model.parsed, rows), model.family, model.groups)
    return fit_model(regression, ESTIMATORS[model.method].equations, 0.95)


def errors_of(regression) -> dict[str, float]:
    errors = np.sqrt(np.diag(regression.covariance))
    return {":".join(sorted(c.name.split(":"))): e for c, e in zip(regression.columns, errors, strict=True)}


@pytest.fixture(scope="module")
def outcomes():
    return make_data()


# --- each estimator against R -----------------------------------------------------------------------------------


def test_gee_is_geepacks(outcomes):
    """Geepack estimates the correlation by equations of its own, so coefficients agree to a fiftieth of an error."""
    table, _ = run(outcomes, MODEL)
    for name, beta in R["gee"]["beta"].items():
        assert table.loc[term_of(name), "estimate"] == pytest.approx(beta, abs=0.02 * R["gee"]["se"][name])
    regression = fit(outcomes, MODEL)
    plain = cluster_influences(regression.x, regression.solution, regression.clusters, "binomial", is_adjusted=False)
    errors = np.sqrt(np.diag(plain.T @ plain))
    for column, error in zip(regression.columns, errors, strict=True):
        name = next(name for name in R["gee"]["se"] if term_of(name) == ":".join(sorted(column.name.split(":"))))
        assert error == pytest.approx(R["gee"]["se"][name], rel=0.01)


def test_gee_and_mancl_derouen_are_statsmodels_and_a_naive_transcription(outcomes):
    import statsmodels.api as sm

    regression = fit(outcomes, MODEL)
    labels = regression.rows["subject"].astype(str).to_numpy()
    library = sm.GEE(
        regression.y,
        regression.x,
        groups=labels,
        family=sm.families.Binomial(),
        cov_struct=sm.cov_struct.Exchangeable(),
    ).fit(maxiter=300, ctol=1e-10, cov_type="bias_reduced")
    assert regression.beta == pytest.approx(library.params, abs=1e-6)
    assert np.sqrt(np.diag(regression.covariance)) == pytest.approx(library.bse, rel=1e-6)
    beta, spread = naive_gee(regression.y, regression.x, pd.factorize(labels)[0])
    assert regression.beta == pytest.approx(beta, abs=1e-6)
    plain = cluster_influences(regression.x, regression.solution, regression.clusters, "binomial", is_adjusted=False)
    assert plain.T @ plain == pytest.approx(spread, rel=1e-6)


@pytest.mark.parametrize(("family", "key"), [("binomial", "glm"), ("gaussian", "gaussian")])
def test_glm_with_cluster_robust_errors_is_sandwichs(outcomes, family, key):
    table, _ = run(outcomes, MODEL, family=family, estimator="glm_cluster")
    regression = fit(outcomes, MODEL, family=family, estimator="glm_cluster")
    for name, beta in R[key]["beta"].items():
        assert table.loc[term_of(name), "estimate"] == pytest.approx(beta, abs=1e-6)
        assert errors_of(regression)[term_of(name)] == pytest.approx(R[key]["se"][name], rel=1e-5)


def test_average_marginal_effects_are_those_of_finite_differences(outcomes):
    table, _ = run(outcomes, MODEL, estimator="glm_cluster")
    terms = {"cloze": "kind=cloze", "rome": "method=rome", "log_views": "log_views"}
    terms["log_views_rome"] = "log_views|method=rome"
    from scipy import stats

    for key, term in terms.items():
        effect, error = R["effects"][key]
        row = table.loc[term]
        assert row["effect"] == pytest.approx(effect, abs=1e-3)
        n_between = 2  # the intercept and page views
        quantile = stats.t.ppf(0.975, 80 - n_between)
        assert (row["effect_high"] - row["effect_low"]) / 2 / quantile == pytest.approx(error, rel=1e-3)


def test_the_ordinal_regression_is_pooled_cumulative_logits_and_near_maximum_likelihood(outcomes):
    table, _ = run(outcomes, "answer ~ kind + method + log_views", family="ordinal")
    regression = fit(outcomes, "answer ~ kind + method + log_views", family="ordinal")
    plain = cluster_influences(regression.x, regression.solution, regression.clusters, "binomial", is_adjusted=False)
    errors = dict(zip([c.name for c in regression.columns], np.sqrt(np.diag(plain.T @ plain)), strict=True))
    for name, beta in R["ordinal"]["beta"].items():
        if name != "step":
            assert table.loc[term_of(name), "estimate"] == pytest.approx(beta, abs=1e-6)
            assert errors[term_of(name)] == pytest.approx(R["ordinal"]["se"][name], rel=1e-5)
    for name, beta in R["clm"]["beta"].items():
        assert table.loc[term_of(name), "estimate"] == pytest.approx(beta, abs=0.25 * R["clm"]["se"][name])


def test_the_outcome_answer_is_new_neither_and_old(outcomes):
    model = RegressionModel(formula="answer ~ kind", family="ordinal")
    rows = select_rows(outcomes, model)
    assert rows.table["value"].tolist() == grade(outcomes)["value"].tolist()
    assert rows.non_edits == {"context": 480}


def test_conditional_logit_is_survivals(outcomes):
    table, _ = run(outcomes, "success ~ kind + method", family="conditional", groups="fact_id")
    rows = choose_edits(outcomes)
    x = pd.get_dummies(rows[["kind", "method"]], dtype=float)
    names = [name.replace("_", "") for name in x.columns]
    fitted_columns = [name in R["conditional"]["beta"] for name in names]
    regression = fit_conditional(rows["value"].to_numpy(), x.to_numpy()[:, fitted_columns], rows["fact_id"].to_numpy())
    errors = np.sqrt(np.diag(regression.covariance))
    for name, beta, error in zip(np.array(names)[fitted_columns], regression.beta, errors, strict=True):
        assert beta == pytest.approx(R["conditional"]["beta"][name], abs=1e-5)
        assert error == pytest.approx(R["conditional"]["se"][name], rel=1e-4)
        assert table.loc[term_of(name), "estimate"] == pytest.approx(beta, abs=1e-6)


@pytest.mark.parametrize(
    ("formula", "settings"),
    [
        (MODEL, {}),
        ("answer ~ kind + method", {"family": "ordinal"}),
        ("success ~ kind + method", {"family": "conditional", "groups": "fact_id"}),
    ],
)
def test_intervals_of_odds_ratios_have_equal_halves_in_log_odds(outcomes, formula, settings):
    table, _ = run(outcomes, formula, **settings)
    rows = table.dropna(subset=["estimate", "low", "high"])
    assert len(rows) > 4
    np.testing.assert_allclose(rows["odds_ratio"], np.exp(rows["estimate"]), rtol=1e-12)
    halves = np.log(rows["high"]) - rows["estimate"]
    assert (halves > 0).all()
    np.testing.assert_allclose(rows["estimate"] - np.log(rows["low"]), halves, rtol=1e-9)


def test_firths_estimates_and_bound_are_brglm2s_and_of_a_profile_by_optim(outcomes):
    rows = separate(outcomes)
    model = RegressionModel(formula="success ~ kind + method")
    table = rows.assign(kind=pd.Categorical(rows["kind"], ["paraphrase", "cloze", "doubt", "question", "statement"]))
    table = table.assign(method=pd.Categorical(rows["method"], ["ft", "memit", "rome"]))
    design = Design(model.parsed, table)
    y, x = rows["value"].to_numpy(), design.full.matrix
    beta = estimate_firth(y, x)
    for column, value in zip(design.columns, beta, strict=True):
        name = column.name.replace("=", "").replace("intercept", "(Intercept)")
        assert value == pytest.approx(R["firth"]["beta"][name], abs=1e-4)
    place = [column.name for column in design.columns].index("kind=statement")
    separation = find_separation(y, x)
    assert separation.sign(np.eye(x.shape[1])[place]) == 1
    assert [separation.is_finite(unit) for unit in np.eye(x.shape[1])].count(False) == 1
    limit, p = bound(y, x, np.zeros(len(y)), rows["weight"].to_numpy(), {place: 1}, 0.95)[place]
    assert limit == pytest.approx(R["firth"]["bound"], abs=1e-3)
    assert p == pytest.approx(R["firth"]["p"], rel=0.02)


# --- what the regression left wrong before ----------------------------------------------------------------------


def test_a_confounded_slope_is_recovered_within_relations():
    """1,000 facts of 34 relations, odds ratio .71 a decade within a relation; popular relations are easier."""
    outcomes = simulate(1000, 34, slopes=np.log(0.71), between=0.6, methods=("ft", "rome"), luck=0.3, seed=1)
    table, _ = run(outcomes, DEFAULTS["popularity"]["formula"])
    for method in ("ft", "rome"):
        row = table.loc[f"log_views|method={method}"]
        assert row["low"] < 0.71 < row["high"]
        assert row["odds_ratio"] == pytest.approx(0.71, abs=0.07)
    without, _ = run(outcomes, "success ~ kind + log_views")
    assert without.loc["log_views", "low"] > 0.8
    assert table.loc["C(relation)", "note"] == "34 levels, absorbed"
    assert table.loc["C(relation)", "p"] < 1e-6


def test_opposite_slopes_of_two_methods_are_recovered():
    outcomes = simulate(600, 20, slopes=SLOPES, methods=("ft", "rome"), luck=0.3, seed=2)
    table, _ = run(outcomes, DEFAULTS["popularity"]["formula"])
    for method, slope in SLOPES.items():
        row = table.loc[f"log_views|method={method}"]
        assert row["low"] < np.exp(slope) < row["high"]
        assert np.log(row["odds_ratio"]) == pytest.approx(slope, abs=0.12)
    together, _ = run(outcomes, "success ~ kind + method + log_views + C(relation)")
    assert together.loc["log_views", "low"] < 1 < together.loc["log_views", "high"]


def test_missing_views_cost_only_their_own_term():
    outcomes = simulate(300, 10, slopes=-0.5, cloze=-0.7, seed=4)
    has_views = outcomes["fact_id"].isin([f"f{i}" for i in range(60)])
    outcomes = outcomes.assign(log_views=outcomes["log_views"].where(has_views))
    table, checks = run(outcomes, "success ~ kind + method + log_views")
    complete, _ = run(outcomes, "success ~ kind + method + log_views", missing="drop")
    assert (table["n_facts"] == 300).all()
    assert (complete["n_facts"] == 60).all()
    assert table.loc["log_views", "n_missing"] == 240
    assert table.loc["kind=cloze", "n_missing"] == 0
    width = np.log(table["high"] / table["low"])
    wide = np.log(complete["high"] / complete["low"])
    assert width["kind=cloze"] < 0.6 * wide["kind=cloze"]
    assert width["log_views"] == pytest.approx(wide["log_views"], rel=0.15)
    assert checks.loc["missing values", "action"].startswith("standard errors by which fitting only the 60 facts")
    assert not table.index.str.contains("missing").any()


def test_a_level_is_not_called_certain_because_one_fact_has_no_views():
    outcomes = simulate(100, 10, cloze=-0.7, seed=5)
    # of the one fact without views one method succeeds and the other fails, which separates its indicator
    is_one = outcomes["fact_id"] == "f3"
    outcomes["log_views"] = outcomes["log_views"].mask(is_one)
    is_success = outcomes["metric"] == "success"
    outcomes.loc[is_one & is_success, "value"] = (outcomes["method"] == "rome").astype(float)
    formula = "success ~ kind*method + log_views*method"
    table, checks = run(outcomes, formula)
    assert "missing_log_views" in checks.loc["separation", "action"]
    row = table.loc["kind=cloze|method=rome"]
    assert not table["note"].str.contains("a level always succeeds").any()
    notes = table.loc[table["odds_ratio"].isna() & table["reference"].ne(""), "note"]
    assert notes.str.contains("another term, of few facts, separates success from failure").any()
    assert row["effect_low"] < row["effect_high"]


def test_a_level_that_always_succeeds_keeps_its_rows_and_a_bound():
    outcomes = simulate(100, 10, cloze=-0.7, seed=5)
    outcomes.loc[(outcomes["method"] == "rome") & (outcomes["metric"] == "success"), "value"] = 1.0
    table, checks = run(outcomes, "success ~ kind + method")
    row = table.loc["method=rome"]
    assert row["reference"] == "ft"
    assert row["low"] > 1
    assert np.isinf(row["high"])
    assert row["note"] == "always succeeds: one-sided 95% bound, Firth's penalised likelihood"
    assert row["effect_low"] < row["effect"] < row["effect_high"]
    assert table.loc["kind=cloze", "high"] < 1
    assert (table["n_probes"] == 1800).all()
    assert checks.loc["separation", "flag"] == "caution"


def test_a_conditional_regression_bounds_what_is_infinite():
    """Two prompts of each of 30 facts, the second always the better one: the likelihood is that of 30 choices."""
    y = column = np.tile([0.0, 1.0], 30)
    groups = np.repeat(np.arange(30), 2)
    regression = fit_conditional(y, column[:, None], groups)
    assert regression.separation.sign(np.ones(1)) == 1
    limit = bound_conditional(y, column, np.zeros(60), groups, 1, 0.95)
    # 30 log(1 + exp(-b)) = 1.3528, half the chi-squared of one side at 95%
    assert limit == pytest.approx(-np.log(np.exp(1.3528 / 30) - 1), abs=1e-3)
    outcomes = simulate(60, 6, cloze=-0.7, rome=0.5, methods=("ft", "rome"), seed=19)
    other_kinds, _ = run(outcomes[outcomes["kind"] != "statement"], "success ~ kind + method", family="conditional",
                    groups="fact_id")  # fmt: skip
    outcomes.loc[(outcomes["kind"] == "statement") & (outcomes["metric"] == "success"), "value"] = 1.0
    table, _ = run(outcomes, "success ~ kind + method", family="conditional", groups="fact_id")
    assert table.loc["kind=cloze", "odds_ratio"] == 0
    assert 0 < table.loc["kind=cloze", "high"] < 0.5
    # a kind that always succeeds says nothing of the methods
    assert table.loc["method=rome", "estimate"] == pytest.approx(other_kinds.loc["method=rome", "estimate"], abs=1e-3)


# 400 groups are more than are evaluated at once
@pytest.mark.parametrize("n_groups", [40, 400])
def test_pairs_have_the_odds_ratio_and_the_error_of_mcnemar(n_groups):
    """The second prompt of three pairs in four is the better one: odds of 3, and 1/n + 1/m is the variance."""
    better = np.arange(n_groups) % 4 > 0
    y = np.column_stack([~better, better]).ravel().astype(float)
    regression = fit_conditional(y, np.tile([0.0, 1.0], n_groups)[:, None], np.repeat(np.arange(n_groups), 2))
    assert regression.beta == pytest.approx([np.log(3)])
    assert regression.covariance == pytest.approx(np.array([[4 / n_groups + 4 / (3 * n_groups)]]))


def test_too_few_groups_that_differ_are_counted_among_all():
    outcomes = simulate(60, 6, seed=11)
    is_success = outcomes["subject"].isin([f"s{number}" for number in range(7)]) & (outcomes["kind"] == "question")
    model = RegressionModel(formula="success ~ kind + method", family="conditional", groups="fact_id")
    table, _ = regress(outcomes.assign(value=is_success.astype(float)), {"mine": model})
    assert "differs within 7 of 60 groups (fact_id), at least 10 are needed" in table.loc[0, "note"]


def test_a_method_that_always_answers_new_is_compared_by_shares_of_new_answers():
    outcomes = simulate(60, 6, seed=12)
    rome = outcomes["method"] == "rome"
    outcomes.loc[rome, "value"] = (outcomes["metric"] == "success").astype(float)
    table, _ = run(outcomes, "answer ~ kind + method", family="ordinal")
    row = table.loc["method=rome"]
    share = choose_edits(outcomes).query("method == 'ft'")["value"].mean()
    (low_1, _), (low_0, high_0) = (proportion_confint(p * 60, 60, method="wilson") for p in (1.0, share))
    assert row["reference"] == "ft"
    assert row["effect_high"] - row["effect"] == pytest.approx(100 * (share - low_0))
    assert row["effect"] - row["effect_low"] == pytest.approx(100 * np.hypot(1 - low_1, high_0 - share))


def test_a_reference_that_always_succeeds_stays_the_reference():
    outcomes = simulate(100, 10, cloze=-0.7, rome=0.5, seed=6)
    outcomes.loc[(outcomes["kind"] == "statement") & (outcomes["metric"] == "success"), "value"] = 1.0
    table, _ = run(outcomes, "success ~ kind*method")
    assert table.loc["kind=cloze", "reference"] == "statement"
    assert table.loc["kind=cloze", "low"] == 0
    assert table.loc["kind=cloze", "high"] < 1
    # at statements, all methods always succeed; elsewhere they can be compared
    assert np.isnan(table.loc["method=rome", "odds_ratio"])
    assert table.loc["method=rome", "note"] == (
        "prompts compared here always succeed or always fail: no estimate; effects within levels are below"
    )
    assert table.loc["method=rome|kind=cloze", "low"] < np.exp(0.5) < table.loc["method=rome|kind=cloze", "high"]
    share = choose_edits(outcomes).query("kind == 'cloze'")["value"].mean()
    assert table.loc["kind=cloze", "effect"] == pytest.approx(100 * (share - 1), abs=1.5)
    assert table.loc["kind=cloze", "effect_low"] < 100 * (share - 1) < table.loc["kind=cloze", "effect_high"]


def test_a_fact_level_effect_is_not_overstated():
    """No effect of page views at all, luck shared inside a subject: about one p in twenty is below .05."""
    p = [
        run(simulate(24, 2, methods=("ft", "rome"), luck=1.0, seed=seed), "success ~ kind + method + log_views")[0].loc[
            "log_views", "p"
        ]
        for seed in range(120)
    ]
    assert np.mean(np.array(p) < 0.05) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("n_facts", "share", "lowest"), COVERAGE)
def test_intervals_keep_their_coverage(n_facts, share, lowest):
    """What each kind of interval reached in docs/explanation/statistics.md, less the error of 300 runs."""
    for interval, (coverage, count) in cover(n_facts, share, 300).items():
        assert count > 290, interval
        assert coverage >= lowest - 3 * np.sqrt(lowest * (1 - lowest) / count), interval


@pytest.mark.slow
def test_the_default_models_are_fast():
    """38,400 prompts of 800 facts and 34 relations, with and without a kind that always succeeds."""
    for always in (False, True):
        outcomes = simulate(800, 34, (*PROMPTS, *PROMPTS), ("ft", "rome", "memit", "grace"), cloze=-0.7, seed=1)
        is_statement = (outcomes["kind"] == "statement") & (outcomes["metric"] == "success")
        outcomes.loc[is_statement & always, "value"] = 1.0
        start = time.process_time()
        table, _ = regress(
            outcomes, {name: RegressionModel(**model) for name, model in DEFAULTS.items()}, features=declared_names()
        )
        assert time.process_time() - start < 120
        assert (table["n_probes"].max(), table["n_clusters"].max()) == (38400, 800)


# --- tables -----------------------------------------------------------------------------------------------------


def test_effects_are_found_with_their_sign_and_reference():
    table, checks = run(simulate(300, 10, slopes=-0.5, cloze=-1.0, seed=7), "success ~ kind + method + log_views")
    assert table.loc["log_views", "effect_high"] < 0
    assert table.loc["kind=cloze", "effect_high"] < 0
    assert table.loc["kind=cloze", "reference"] == "statement"
    assert table.loc["method=rome", "reference"] == "ft"
    assert "method=context" not in table.index
    assert checks.loc["non-edits", "value"] == 1800
    assert checks.loc["clusters", "flag"] == "fine"


def test_a_curve_and_a_data_set_are_one_line_each():
    outcomes = simulate(300, 10, margin=-0.3, seed=8).assign(dataset=lambda rows: rows["relation"].isin(["P30", "P31"]))
    outcomes["dataset"] = np.where(outcomes["dataset"], "zsre", "counterfact")
    table, _ = run(outcomes, "success ~ kind + bs(margin, 3) + C(relation) + C(dataset)")
    assert table.loc["bs(margin, 3)", "note"] == "curve of 3 terms; effect: mean slope"
    assert table.loc["bs(margin, 3)", "effect_high"] < 0
    assert table.loc["bs(margin, 3)", "p"] < 0.001
    assert "collinear" in table.loc["C(dataset)", "note"]


def test_effects_of_a_slope_and_of_a_curve_agree():
    outcomes = simulate(300, 10, margin=-0.3, seed=8)
    slope, _ = run(outcomes, "success ~ kind + margin")
    curve, _ = run(outcomes, "success ~ kind + bs(margin, 4)")
    assert slope.loc["margin", "effect"] == pytest.approx(curve.loc["bs(margin, 4)", "effect"], abs=1.0)


def test_a_feature_that_nobody_knows_and_one_value_are_left_out():
    table, _ = run(simulate(60, 6, seed=9).assign(recalled=1.0), "success ~ kind + connection + recalled")
    assert table.loc["connection", "note"] == "left out: unknown for every fact"
    assert table.loc["recalled", "note"] == "left out: one value for every fact"
    assert np.isfinite(table.loc["kind=cloze", "odds_ratio"])


def test_outcomes_of_facts():
    outcomes = simulate(200, 10, slopes=-0.5, seed=10)
    facts = choose_edits(outcomes).groupby(["model", "method", "fact_id", "subject", "relation"], as_index=False)
    fact_outcomes = facts["value"].mean().assign(outcome="generalization", protocol="free")
    model = RegressionModel(formula="generalization ~ method + log_views + C(relation)")
    table, _ = regress(outcomes, {"mine": model}, fact_outcomes)
    table = by_term(table)
    assert (table["n_probes"] == 600).all()
    assert table.loc["log_views", "low"] < np.exp(-0.5) * 1.1
    assert table.loc["log_views", "high"] < 1
    with pytest.raises(ValueError, match=r"analyze\.models\.mine: `generalization` is an outcome of facts"):
        regress(outcomes, {"mine": model})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows.assign(value=0.0), "every probe failed"),
        (lambda rows: rows.assign(value=1.0), "every probe succeeded"),
        (lambda rows: rows[rows["method"] == "context"], "no probes"),
        (
            lambda rows: rows.assign(value=rows["subject"].isin(["s1", "s2", "s3"]).astype(float)),
            "the rarer outcome occurs in 3 of 60 subjects (at least 5)",
        ),
        (lambda rows: rows[rows["subject"].isin(["s1", "s2", "s3"])], "3 subjects are too few"),
        (lambda rows: rows[rows["subject"].isin([f"s{i}" for i in range(24)])], "too few for"),
    ],
)
def test_data_that_carry_no_model_say_so(change, reason):
    table, checks = regress(
        change(simulate(60, 20, seed=11)), {"mine": RegressionModel(formula="success ~ kind + log_views + C(relation)")}
    )
    assert table.loc[0, "term"] == "(model)"
    assert reason in table.loc[0, "note"]
    assert table["odds_ratio"].isna().all()
    assert checks.iloc[-1]["flag"] == "not fitted"


def test_complete_separation_by_a_feature_has_a_bound():
    outcomes = simulate(60, 6, seed=12)
    outcomes["value"] = (outcomes["log_views"] > 4).astype(float)
    table, _ = run(outcomes, "success ~ log_views")
    assert np.isinf(table.loc["log_views", "high"])
    assert table.loc["log_views", "low"] > 1


def test_a_feature_in_large_units_is_estimated_and_separates_as_in_small_ones():
    outcomes = simulate(100, 10, slopes=-0.5, cloze=-0.7, seed=18)
    outcomes.loc[(outcomes["method"] == "rome") & (outcomes["metric"] == "success"), "value"] = 1.0
    small, _ = run(outcomes, "success ~ kind + method + log_views")
    large, _ = run(outcomes.assign(log_views=1e6 * outcomes["log_views"]), "success ~ kind + method + log_views")
    assert large["note"].tolist() == small["note"].tolist()
    assert large.loc["log_views", "estimate"] * 1e6 == pytest.approx(small.loc["log_views", "estimate"], rel=1e-3)
    assert large.loc["method=rome", "low"] == pytest.approx(small.loc["method=rome", "low"], rel=1e-2)


def test_one_method_and_one_kind_have_no_terms():
    rows = simulate(60, 6, seed=13)
    table, _ = run(rows[(rows["method"] == "rome") & (rows["kind"] == "cloze")], "success ~ kind + method + log_views")
    assert list(table.index) == ["intercept", "log_views", "kind", "method"]
    assert table.loc["kind", "note"] == "left out: one level, cloze"


def test_a_cluster_that_alone_determines_a_term_does_no_harm():
    """A relation with one subject: the subject's leverage is 1, and Mancl and DeRouen's inverse is singular."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(30), 4)
    x = np.column_stack([np.ones(120), rng.normal(size=120), labels == 0]).astype(float)
    y = rng.integers(0, 2, 120).astype(float)
    y[:4] = [0, 1, 0, 1]
    clusters = Clusters.of(labels)
    solution = solve(y, x, clusters, "binomial", exchangeable=False)
    spread = covariance(cluster_influences(x, solution, clusters, "binomial", is_adjusted=True), 120, is_adjusted=True)
    assert np.isfinite(spread).all()
    other_solution = solve(y[4:], x[4:, :2], Clusters.of(labels[4:]), "binomial", exchangeable=False)
    influences = cluster_influences(x[4:, :2], other_solution, Clusters.of(labels[4:]), "binomial", is_adjusted=True)
    assert spread[0, 0] == pytest.approx((influences.T @ influences)[0, 0], rel=0.1)


def test_miscalibration_and_influence_are_noticed():
    outcomes = simulate(400, 10, seed=14)
    bent_values = (np.abs(outcomes["margin"]) < 1.3).astype(float)
    _, checks = run(outcomes.assign(value=np.where(outcomes["kind"] == "cloze", outcomes["value"], bent_values)),
                        "success ~ margin")  # fmt: skip
    assert checks.loc["calibration", "flag"] == "caution"
    assert "bs" in checks.loc["calibration", "action"]
    fine = run(simulate(400, 10, margin=-0.3, seed=15), "success ~ kind + margin")[1]
    assert fine.loc["calibration", "flag"] == "fine"
    assert fine.loc["influence", "flag"] == "fine"
    outlier = simulate(40, 4, seed=16)
    outlier["margin"] = np.where(outlier["subject"] == "s0", 100.0, outlier["margin"])
    assert "`s0`" in run(outlier, "success ~ margin")[1].loc["influence", "action"]


def test_collinear_features_are_noticed():
    outcomes = simulate(100, 10, seed=17)
    outcomes["log_rank_true"] = outcomes["margin"] + 0.01 * outcomes["log_views"]
    checks = run(outcomes, "success ~ margin + log_rank_true + recalled")[1]
    assert checks.loc["collinearity", "flag"] == "caution"


def test_estimators_of_a_family_are_those_that_say_so():
    assert names_for("binomial") == names_for("gaussian") == ["gee", "glm_cluster"]
    assert [names_for(family) for family in ("ordinal", "conditional")] == [["ordinal"], ["conditional_logit"]]


def test_no_code_outside_an_estimator_asks_for_its_name():
    folder = Path(regression_package.__file__).parent
    trees = {path.name: ast.walk(ast.parse(path.read_text())) for path in folder.glob("*.py")}
    comparisons = [
        (name, ast.unparse(node)) for name, nodes in trees.items() for node in nodes if isinstance(node, ast.Compare)
    ]
    assert [text for text in comparisons if any(f"'{name}'" in text[1] for name in ESTIMATORS)] == []


# --- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"formula": "success ~ kind +"}, "is not a formula"),
        ({"formula": "success ~ bs(margin, 3"}, "unclosed bracket"),
        ({"formula": "~ kind"}, "needs one outcome"),
        ({"formula": "success ~ kind - 1"}, "has no intercept"),
        ({"formula": "success ~ bz(margin, 3)"}, "no function `bz`"),
        ({"formula": "success ~ __import__('os').system('x')"}, "formula"),
        ({"formula": "success ~ kind", "estimator": "ordinal"}, "has the estimators gee, glm_cluster"),
        ({"formula": "success ~ kind", "estimator": "lasso"}, "glm_cluster"),
        ({"formula": "success ~ kind", "family": "ordinal"}, "belong together"),
        ({"formula": "answer ~ kind"}, "belong together"),
        ({"formula": "y ~ kind", "outcome": "specificity:neighbourhood"}, "one value per fact"),
        ({"formula": "success ~ kind", "groups": "method"}, "fact_id"),
    ],
)
def test_a_wrong_model_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message.replace("(", r"\(")):
        RegressionModel(**settings)


def test_a_column_that_does_not_exist_is_refused_before_any_fit():
    models = {"fine": RegressionModel(formula="success ~ kind"), "mine": RegressionModel(formula="success ~ my_column")}
    with pytest.raises(ValueError, match=r"analyze\.models\.mine: `success ~ my_column`: no column `my_column`"):
        regress(simulate(20, 2), models)


def test_the_example_of_the_documents_is_read_per_prompt():
    model = RegressionModel(
        formula="efficacy ~ kind*method + log_views*method + bs(margin, 3) + C(relation) + C(dataset)"
    )
    assert (model.metric, model.protocol, model.is_of_facts) == ("success", "free", False)
    assert RegressionModel(formula="efficacy ~ method").is_of_facts
    assert RegressionModel(formula="reversion ~ method").is_of_facts
    assert not RegressionModel(formula="reversion ~ kind").is_of_facts
    assert not RegressionModel(formula="y ~ kind", outcome="success/teacher_forced").is_of_facts


def test_a_model_that_is_null_is_left_out():
    table, checks = regress(simulate(20, 2), {"mine": None})
    assert list(table.columns) == COLUMNS
    assert table.empty
    assert checks.empty
