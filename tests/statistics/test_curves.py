import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit
from statsmodels.nonparametric.smoothers_lowess import lowess

from edit_robustness.statistics.curves import CLASS_COLUMNS, popularity_classes, popularity_curves, smooth
from edit_robustness.statistics.intervals import proportion, wilson


def facts(n=300, seed=0, repeats=1):
    rng = np.random.default_rng(seed)
    views = np.repeat(rng.uniform(2, 7, n // repeats), repeats)
    subject = np.repeat(np.arange(n // repeats), repeats)
    value = (rng.random(len(views)) < expit(2 - 0.8 * (views - 4))).astype(float)
    return pd.DataFrame(
        {"model": "m", "method": "rome", "protocol": "free", "outcome": "efficacy", "subject": subject,
         "log_views": views, "value": value, "connection": rng.uniform(0, 30, len(views))}
    )  # fmt: skip


def test_the_curve_is_lowess_without_robust_iterations():
    table = facts()
    points = np.linspace(2.5, 6.5, 9)
    x, y = table["log_views"].to_numpy(), table["value"].to_numpy()
    curve = smooth(x, y, np.arange(len(x)), points)
    reference = lowess(y, x, frac=2 / 3, it=0, xvals=points)
    assert curve["value"].to_numpy() == pytest.approx(np.clip(reference, 0, 1), abs=0.002)


def test_the_band_contains_the_curve_and_stays_in_0_and_1():
    curve = popularity_curves(facts(), ["log_views"])
    assert len(curve) == 40
    assert (curve["low"] >= 0).all()
    assert (curve["high"] <= 1).all()
    assert ((curve["low"] <= curve["value"]) & (curve["value"] <= curve["high"])).all()
    assert curve["value"].iloc[0] > curve["value"].iloc[-1] + 0.3


def test_a_band_where_all_edits_succeed_has_a_width():
    curve = popularity_curves(facts().assign(value=1.0), ["log_views"])
    assert (curve["value"] == 1).all()
    assert curve["low"].between(0.9, 0.99).all()


def test_repeated_facts_of_a_subject_do_not_narrow_the_band():
    single, repeated_facts = facts(100), facts(100).loc[lambda rows: rows.index.repeat(8)]
    bands = [popularity_curves(table, ["log_views"]) for table in (single, repeated_facts)]
    widths = [(band["high"] - band["low"]).mean() for band in bands]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


@pytest.mark.parametrize(
    ("values", "subjects", "size"),
    [
        # residuals of subjects 1/2, 1/2 and -1: var = 3/2 * 1.5 / 36 = 1/16, and 1/4 over 1/16 is 4
        ([1, 1, 0, 1, 0, 0], "aaabcc", 4),
        # all facts of a subject agree: no less than Kish's 36 / (9 + 1 + 4)
        ([1, 1, 1, 1, 0, 0], "aaabcc", 36 / 14),
        # every subject has the same share, so that var is 0: no more than the facts
        ([1, 0, 1, 0, 1, 1, 0, 0], "aabbcccc", 8),
        ([1, 1, 1, 1, 1, 1], "aaabcc", 36 / 14),
    ],
)
def test_the_band_of_facts_at_one_point_by_hand(values, subjects, size):
    codes = pd.factorize(np.array(list(subjects)))[0]
    one_per_subject = len(values) ** 2 / (np.bincount(codes) ** 2).sum()
    size *= (stats.norm.ppf(0.9) / stats.t.ppf(0.9, one_per_subject - 1)) ** 2
    ((_, value, low, high),) = smooth(np.full(len(values), 3.0), np.array(values, float), codes, [3.0], 0.8).to_numpy()
    assert value == pytest.approx(np.mean(values))
    assert (low, high) == pytest.approx(wilson(np.mean(values) * size, size, 0.8))


def test_few_facts_have_no_curve():
    assert popularity_curves(facts(9), ["log_views"]).empty
    assert len(popularity_curves(facts(10), ["log_views"])) == 40
    assert popularity_curves(facts().assign(log_views=3.0), ["log_views"]).empty
    assert popularity_curves(facts().assign(log_views=np.nan), ["log_views"]).empty


@pytest.mark.parametrize("repeats", [1, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("n", [pytest.param(100, marks=pytest.mark.slow), 400])
def test_coverage_of_the_band(n, repeats):
    """At five points; the curve is nearly straight in between, so smoothing adds little bias."""
    points = np.linspace(3, 6, 5)
    truth = 0.9 - 0.12 * (points - 2)
    hits = []
    for seed in range(120 if repeats == 1 else 300):
        rng = np.random.default_rng(seed)
        x = np.repeat(rng.uniform(2, 7, n // repeats), repeats)
        codes = np.repeat(np.arange(n // repeats), repeats)
        subject_draws = rng.random(n // repeats)[codes]
        draw = np.where(rng.random(len(x)) < 0.5, subject_draws, rng.random(len(x)))
        y = (draw < 0.9 - 0.12 * (x - 2)).astype(float)
        curve = smooth(x, y, codes, points)
        hits.append((curve["low"] <= truth) & (truth <= curve["high"]))
    print(f"\n{n} facts, {repeats} per subject: {np.mean(hits, axis=0)}")  # noqa: T201
    assert np.mean(hits) > 0.92
    assert np.mean(hits, axis=0).min() > 0.88


def test_classes_are_decades_of_a_logarithm_and_fifths_of_others():
    table = facts()
    classes = popularity_classes(table, {"log_views": "log10", "connection": "linear"})
    assert list(classes.columns) == CLASS_COLUMNS
    decades = classes[classes["feature"] == "log_views"]
    assert decades["from"].tolist() == [2, 3, 4, 5, 6]
    assert decades["n_facts"].sum() == 300
    fifths = classes[classes["feature"] == "connection"]
    assert fifths["n_facts"].tolist() == [60] * 5
    first = table[table["log_views"].between(2, 3, inclusive="left")]
    share = proportion(first["value"], first["subject"])
    assert decades.iloc[0][["value", "low", "high"]].tolist() == pytest.approx([share.value, share.low, share.high])


def test_a_power_of_ten_opens_its_decade():
    table = facts(4).assign(log_views=[2.0, 3.0, 3.0, 3.5])
    classes = popularity_classes(table, {"log_views": "log10"})
    assert classes[["from", "to", "n_facts"]].to_numpy().tolist() == [[2, 3, 1], [3, 4, 3]]


def test_outcomes_stay_in_the_order_of_the_cells():
    table = facts(20)
    cells = pd.concat([table.assign(method="rome"), table.assign(method="ft")])
    assert popularity_classes(cells, {"log_views": "log10"})["method"].unique().tolist() == ["rome", "ft"]
    assert popularity_curves(cells, ["log_views"])["method"].unique().tolist() == ["rome", "ft"]


def test_points_are_lost_against_the_mean_over_all_facts():
    table = facts()
    classes = popularity_classes(table, {"log_views": "log10"})
    mean = table["value"].mean()
    assert classes["points"].to_numpy() == pytest.approx(100 * (classes["value"] - mean))
    assert (classes["points_low"] < classes["points"]).all()
    assert (classes["points_high"] > classes["points"]).all()
    assert classes["points"].iloc[-1] < -10
    assert np.average(classes["points"], weights=classes["n_facts"]) == pytest.approx(0, abs=1e-9)


def test_the_interval_of_lost_points_is_newcombes():
    """His example of 56 in 70 against 48 in 80 by method 10 (1998, Statistics in Medicine 17, 873): .0524 to .3339."""
    table = pd.DataFrame(
        {
            **{"model": "m", "method": "rome", "protocol": "free", "outcome": "efficacy"},
            "subject": range(150),
            "log_views": [2.5] * 70 + [3.5] * 80,
            "value": [1.0] * 56 + [0.0] * 14 + [1.0] * 48 + [0.0] * 32,
        }
    )
    small_class, large_class = popularity_classes(table, {"log_views": "log10"}).to_dict("records")
    bounds = ["points", "points_low", "points_high"]
    assert [small_class[name] for name in bounds] == pytest.approx(
        np.array([0.2, 0.0524, 0.3339]) * 8000 / 150, abs=0.003
    )
    assert [large_class[name] for name in bounds] == pytest.approx(
        np.array([-0.2, -0.3339, -0.0524]) * 7000 / 150, abs=0.003
    )
    assert (small_class["centre"], large_class["centre"]) == (2.5, 3.5)


def test_an_empty_class_has_no_row():
    table = facts()
    gap = table[~table["log_views"].between(4, 5)]
    assert popularity_classes(gap, {"log_views": "log10"})["from"].tolist() == [2, 3, 5, 6]
    single_class = popularity_classes(table.assign(log_views=2.5), {"log_views": "log10"})
    assert single_class[["points", "n_facts"]].iloc[0].tolist() == [0, 300]
    assert np.isnan(single_class["points_low"].iloc[0])
