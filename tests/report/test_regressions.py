from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from regression_data import simulate

from edit_robustness.labels import term_label
from edit_robustness.report.page import environment
from edit_robustness.report.regressions import list_regressions
from edit_robustness.statistics.regression import RegressionModel, regress


@pytest.fixture(scope="module")
def regressions():
    outcomes = simulate(60, 4, slopes=-0.5, cloze=-0.7, seed=1)
    outcomes.loc[(outcomes["kind"] == "statement") & (outcomes["metric"] == "success"), "value"] = 1.0
    models = {
        "mine": RegressionModel(formula="success ~ kind*method + log_views*method + C(relation)"),
        "too_large": RegressionModel(formula="success ~ kind + C(subject)"),
    }
    return list(list_regressions(*regress(outcomes, models)))


def render(regression) -> str:
    template = environment().from_string('{% from "_tables.html.j2" import regression %}{{ regression(model) }}')
    return template.render(model=regression)


def test_terms_effects_within_levels_and_checks_are_apart(regressions):
    mine = regressions[0]
    assert "log_views|method=rome" in [row["term"] for row in mine.within]
    assert all("|" not in row["term"] for row in mine.terms)
    assert mine.n_without > 0
    assert "C(relation)" in [row["term"] for row in mine.terms]
    page = render(mine)
    assert f"{mine.n_without} interactions have no estimate" in page
    assert "Page views of the subject, × 10 (Method: ROME)" in page
    assert "4 levels, absorbed" in page
    assert "Firth" in page
    assert "separation" in page


def test_a_caution_about_calibration_stands_above_the_terms(regressions):
    check = {"check": "calibration", "value": 13.6, "flag": "caution", "action": "", "name": "mine"}
    checks = [row for row in regressions[0].checks if row["check"] != "calibration"]
    sentence = "Calibration: observed and predicted rates differ by up to 14 points"
    page = render(replace(regressions[0], checks=[*checks, check]))
    assert page.index(sentence) < page.index("<table") < page.index("<details>")
    assert sentence not in render(replace(regressions[0], checks=[*checks, {**check, "flag": "fine"}]))


def test_a_regression_that_was_not_fitted_says_why(regressions):
    regression = regressions[1]
    assert "60 subjects are too few for 60 terms" in regression.refusal
    assert "Not fitted: 60 subjects are too few" in render(regression)
    assert regression.within == []


def test_very_large_odds_ratios_are_not_told_apart():
    odds = environment().filters["odds"]
    assert [odds(ratio) for ratio in (np.nan, np.inf, 0.0, 5e24, 1e-9, 0.0513, 1.234)] == [
        "–", "∞", "0", "> 1,000", "< 0.001", "0.0513", "1.23",
    ]  # fmt: skip


def test_a_term_that_is_a_feature_has_its_label():
    rows = pd.DataFrame(
        [{"model": "m", "name": "mine", "term": term, "note": ""} for term in ("tokens_new", "log_views")]
    )
    rows = rows.assign(odds_ratio=1.0, estimate=0.0, effect=3.25, effect_low=np.nan, effect_high=np.nan, reference="")
    rows = rows.assign(
        formula="", estimator="glm_cluster", groups="subject", n_probes=12000, n_facts=500, family="binomial"
    )
    rows = rows.assign(low=1.0, high=1.0, p=0.0251, n_missing=0)
    checks = pd.DataFrame(
        [{"model": "m", "name": "mine", "check": "clusters", "value": 6000.0, "flag": "fine", "action": ""}]
    )
    (regression,) = list_regressions(
        rows, checks, {"tokens_new": "Length of the new object", "log_views": "Page views"}
    )
    page = render(regression)
    assert '<td class="keep">Length of the new object</td>' in page
    assert '<td class="keep">Page views of the subject, × 10</td>' in page
    assert "cluster-robust GLM, clustered by subject; 12,000 rows of 500 facts" in page
    assert "3.2 (no interval)" in page
    assert '<td class="n">0.025</td>' in page
    assert '<td class="n">6,000</td>' in page


def test_terms_have_labels():
    assert term_label("kind=cloze:method=rome") == "Kind: Cloze × Method: ROME"
    assert term_label("log_views|method=rome") == "Page views of the subject, × 10 (Method: ROME)"
    assert term_label("bs(margin, 3)") == "bs(margin, 3)"
