import numpy as np
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


def test_terms_have_labels():
    assert term_label("kind=cloze:method=rome") == "Kind: Cloze × Method: ROME"
    assert term_label("log_views|method=rome") == "Page views of the subject, × 10 (Method: ROME)"
    assert term_label("bs(margin, 3)") == "bs(margin, 3)"
