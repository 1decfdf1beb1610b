import numpy as np
import pandas as pd
import pytest

from edit_robustness.statistics.survival import lifetimes, survival

# Freireich et al. (1963), weeks of remission under 6-mercaptopurine; censored ones with False
WEEKS = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
LOST = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
PUBLISHED = {
    6: (0.8571, 0.6197, 0.9516), 7: (0.8067, 0.5631, 0.9228), 10: (0.7529, 0.5032, 0.8894),
    13: (0.6902, 0.4316, 0.8491), 16: (0.6275, 0.3675, 0.8049), 22: (0.5378, 0.2678, 0.7468),
    23: (0.4482, 0.1881, 0.6801),
}  # fmt: skip
"""Share, lower and upper bound (log-log), as statistics packages print them for these data."""


def lives(edits, losses, method="rome"):
    return pd.DataFrame(
        {"model": "m", "method": method, "order": range(len(edits)), "edits": edits, "lost": np.array(losses, bool)}
    )


def naive(times, losses):
    """Kaplan and Meier's product, as they write it."""
    share, curve = 1.0, {}
    for time in sorted(set(times)):
        at_risk = sum(t >= time for t in times)
        n_events = sum(t == time and d for t, d in zip(times, losses, strict=True))
        share *= 1 - n_events / at_risk
        curve[time] = share
    return curve


def test_the_curve_is_the_published_one():
    curve = survival(lives(WEEKS, LOST)).set_index("edits")
    for week, share in PUBLISHED.items():
        assert tuple(curve.loc[week, ["surviving", "low", "high"]]) == pytest.approx(share, abs=6e-5)
    at_risk = {0: (21, 0), 6: (21, 3), 7: (17, 1), 10: (15, 1), 13: (12, 1), 16: (11, 1), 22: (7, 1), 23: (6, 1)}
    for week, counts in at_risk.items():
        assert tuple(curve.loc[week, ["at_risk", "events"]]) == counts
    assert tuple(curve.loc[35, ["at_risk", "events"]]) == (1, 0)
    assert (curve["n_orders"] == 21).all()
    assert curve.loc[0, "surviving"] == 1
    assert curve.index[-1] == 35
    assert curve.loc[35, "surviving"] == curve.loc[23, "surviving"]


def test_the_curve_is_the_naive_product():
    rng = np.random.default_rng(1)
    times, losses = rng.choice([1, 5, 20, 50], 12), rng.random(12) < 0.6
    curve = survival(lives(times, losses)).set_index("edits")["surviving"]
    for time, share in naive(times, losses).items():
        assert curve[curve.index <= time].iloc[-1] == pytest.approx(share)


def test_nothing_lost_is_a_level_line():
    curve = survival(lives([20, 20, 50], [0, 0, 0]))
    assert curve["edits"].tolist() == [0, 50]
    assert curve["surviving"].tolist() == [1, 1]
    assert curve["at_risk"].tolist() == [3, 1]


def test_all_lost_at_once():
    curve = survival(lives([5], [1]))
    assert curve[["edits", "surviving"]].to_numpy().tolist() == [[0, 1], [5, 0]]
    assert survival(lives([], [])).empty


def cell(order, edits, value, flag="fine"):
    return {"model": "m", "method": "rome", "order": order, "edits": edits, "value": value, "flag": flag}


def find_lifetimes(*cells, loss=0.1):
    table = pd.DataFrame(cells)
    return lifetimes(table.assign(ability="all"), table, loss)


def test_a_life_ends_at_the_first_checkpoint_with_the_loss():
    table = find_lifetimes(
        cell(0, 1, 0.99), cell(0, 5, 0.89), cell(0, 20, 0.95), cell(1, 1, 1.0), cell(1, 5, 0.95)
    ).to_dict("records")
    assert [(row["survived"], row["edits"], row["lost"], row["reason"]) for row in table] == [
        (1, 5, True, "loss"),
        (5, 5, False, ""),
    ]


@pytest.mark.parametrize(("value", "is_lost"), [(0.75, True), (np.nextafter(0.75, 1), False)])
def test_a_loss_of_exactly_the_limit_ends_a_life(value, is_lost):
    (row,) = find_lifetimes(cell(0, 1, 1.0), cell(0, 5, 1.0), cell(0, 20, value), loss=0.25).to_dict("records")
    assert (row["lost"], row["edits"], row["survived"]) == (is_lost, 20, 5 if is_lost else 20)
    assert row["ability_retention"] == value


def test_the_model_before_the_first_edit_has_no_life():
    table = find_lifetimes({**cell(0, 0, 0.5), "method": "none"}, cell(0, 0, 0.5), cell(0, 1, 0.5))
    assert table[["method", "survived", "edits"]].to_numpy().tolist() == [["rome", 0, 1]]


def test_figures_that_are_not_finite_end_it_whatever_the_score():
    row = find_lifetimes(cell(0, 1, 1.0, "not finite"), cell(0, 5, 1.0)).iloc[0]
    assert (row["survived"], row["edits"], row["reason"]) == (0, 1, "not finite")


def test_a_model_at_chance_can_show_no_loss():
    assert find_lifetimes(cell(0, 1, np.nan), cell(0, 5, np.nan)).empty
    assert find_lifetimes(cell(0, 1, np.nan, "not finite"))["lost"].tolist() == [True]
