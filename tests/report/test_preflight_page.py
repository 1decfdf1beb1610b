"""The page of preflight from the predictor of a made-up study."""

import re
from dataclasses import replace

import pandas as pd
import pytest
from fabricated_outcomes import fabricate_outcomes, record_run, summarise

from edit_robustness.report.preflight import render_preflight
from edit_robustness.statistics.predictor import read_predictor
from edit_robustness.statistics.predictor_training import validate_and_train
from edit_robustness.statistics.preflight import ADVICE_COLUMNS, advise, list_unmeasured
from edit_robustness.statistics.validation import Validation

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def predictor():
    outcomes = fabricate_outcomes(150, signal=2.0)
    validation = Validation(bootstrap=100, permutations=0, predictors=("full",))
    return read_predictor(validate_and_train(outcomes, summarise(), [record_run()], validation)[-1], "tiny")


@pytest.fixture(scope="module")
def facts():
    table = fabricate_outcomes(12, seed=5).drop_duplicates("fact_id").reset_index(drop=True)
    table.loc[0, ["subject", "log_perplexity_new"]] = [HOSTILE, 50.0]
    return table.assign(target_true="Paris", target_new="Rome", id=table["fact_id"])


@pytest.fixture(scope="module")
def predictions(predictor, facts):
    table = predictor.predict(facts.head(11), ["ft", "rome"], ["statement", "cloze", "neighbourhood"])
    about = facts[["fact_id", "subject", "relation", "target_true", "target_new"]]
    return about.merge(table, on="fact_id").assign(model="tiny")


def test_advice_takes_the_best_method_that_reaches_the_threshold_in_every_family():
    rows = pd.DataFrame(
        [
            # rome is best on average, but not enough on specificity
            ("a", "rome", "statement", "edit", 0.99), ("a", "rome", "neighbourhood", "specificity", 0.45),
            ("a", "ft", "statement", "edit", 0.6), ("a", "ft", "neighbourhood", "specificity", 0.7),
            # no method is enough
            ("b", "rome", "statement", "edit", 0.4), ("b", "rome", "neighbourhood", "specificity", 0.9),
            ("b", "ft", "statement", "edit", 0.2), ("b", "ft", "neighbourhood", "specificity", 0.3),
        ],
        columns=["fact_id", "method", "kind", "family", "probability"],
    )  # fmt: skip
    about = dict.fromkeys(["model", "subject", "relation", "target_true", "target_new", "drivers"], "x")
    table = advise(rows.assign(**about, outside="", missing=""), 0.5).set_index("fact_id")
    assert table["advice"].to_dict() == {"a": "edit", "b": "leave alone"}
    assert table["method"].to_dict() == {"a": "ft", "b": "rome"}
    assert table.loc["a", "probability"] == pytest.approx(0.65)
    assert table.loc["b", "weakest_kind"] == "statement"
    assert table.loc["a", "probability_rome"] == pytest.approx(0.72)


def test_kinds_of_a_family_weigh_the_same_whatever_their_number(predictions):
    table = advise(predictions, 0.5).set_index("fact_id")
    rows = predictions[(predictions["fact_id"] == "f3") & (predictions["method"] == "ft")]
    of_kind = rows.set_index("kind")["probability"]
    mean_of_families = ((of_kind["statement"] + of_kind["cloze"]) / 2 + of_kind["neighbourhood"]) / 2
    assert table.loc["f3", "probability_ft"] == pytest.approx(mean_of_families)


def test_a_fact_that_was_not_measured_is_listed(predictions, facts):
    table = list_unmeasured(facts.drop(columns="fact_id"), predictions, "tiny")
    assert table["fact_id"].tolist() == ["f11"]
    assert table["advice"].tolist() == ["not measured"]
    assert table.columns.tolist() == ADVICE_COLUMNS


def render(predictor, predictions, facts, **changes):
    advice = pd.concat(
        [advise(predictions, 0.5), list_unmeasured(facts.drop(columns="fact_id"), predictions, "tiny")],
        ignore_index=True,
    )
    rejects = pd.DataFrame([{"row": 3, "id": "x", "subject": HOSTILE, "relation": "", "reason": HOSTILE}])
    settings = {"threshold": 0.5, "rows_shown": 100, **changes}
    return render_preflight({"tiny": predictor.plain()}, predictions, advice, rejects, **settings)


def test_the_page_says_what_to_do_and_how_sure_it_is(predictor, predictions, facts):
    page = render(predictor, predictions, facts)
    counts = advise(predictions, 0.5)["advice"].value_counts()
    assert f"tiny: {counts['edit']} of 12 facts are predicted to be worth editing" in page
    assert "1 could not be measured" in page
    auc = predictor.held_out["auc_within"]
    assert f'{auc["value"]:.0%} <span class="interval">[{auc["low"]:.0%}, {auc["high"]:.0%}]</span>' in page
    assert "150 facts in 20 relations (counterfact)" in page
    assert "1 fact is outside the range" in page
    assert "outside the range: Label of log_perplexity_new" in page


@pytest.mark.parametrize(
    ("low", "high", "is_shown", "phrase"),
    [
        (0.55, 0.8, True, "of the pairs: better than chance"),
        (0.45, 0.8, False, "of the pairs: not significantly different from chance"),
        (0.2, 0.45, False, "of the pairs: worse than chance"),
        (None, None, False, "(no interval)"),
    ],
)
def test_drivers_are_named_only_by_a_predictor_that_is_better_than_chance(
    predictor, predictions, facts, low, high, is_shown, phrase
):
    auc = {"auc_within": {"value": 0.6, "low": low, "high": high}}
    page = render(replace(predictor, held_out={**predictor.held_out, **auc}), predictions, facts)
    drivers = [text for text in predictions["drivers"] if text]
    assert any(text in page for text in drivers) == is_shown
    assert ("none can be told" in page) == (not is_shown)
    assert ("this page names no drivers" in page) == (not is_shown)
    assert phrase in page.replace('<span class="interval">', "").replace("</span>", "")


def test_without_figures_of_held_out_facts_no_driver_is_named(predictor, predictions, facts):
    page = render(replace(predictor, held_out={}), predictions, facts)
    assert "this page names no drivers" in page


def test_texts_are_escaped_and_nothing_is_loaded(predictor, predictions, facts):
    page = render(predictor, predictions, facts)
    assert HOSTILE not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") == 3
    # the library in the script names its address in a comment
    outside_scripts = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert "https://" not in outside_scripts
    assert "http://" not in outside_scripts


def test_long_tables_are_cut_and_say_so(predictor, predictions, facts):
    page = render(predictor, predictions, facts, rows_shown=4)
    assert "4 of 12 facts are shown" in page
