import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from edit_robustness.statistics.agreement import AGREEMENT_COLUMNS, agreement


def table(first, second, subjects=None, label="holds"):
    n = len(first)
    return pd.DataFrame(
        {"label": label, "subject": subjects or [f"s{i}" for i in range(n)], "rules": first, "judged": second},
        dtype=object,
    ).astype({"rules": float, "judged": float})


def one(rows, **options):
    (row,) = agreement(rows, ["label"], first="rules", second="judged", **options).to_dict("records")
    return row


def test_kappa_by_hand():
    # 20 both yes, 15 both no, 5 and 10 apart: agreement 35/50, chance (25 x 30 + 25 x 20) / 2500
    a = [1] * 20 + [1] * 5 + [0] * 10 + [0] * 15
    b = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    row = one(table(a, b))
    assert row["kappa"] == pytest.approx((0.7 - 0.5) / 0.5)
    assert (row["agreement"], row["share_first"], row["share_second"]) == (0.7, 0.5, 0.6)
    assert (row["n"], row["n_subjects"], row["n_missing"], row["note"]) == (50, 50, 0, "")


def test_the_interval_is_that_of_resampled_subjects():
    rng = np.random.default_rng(4)
    subjects = [f"s{i // 3}" for i in range(60)]
    a = rng.integers(0, 2, 60)
    b = np.where(rng.random(60) < 0.75, a, 1 - a)
    row = one(table(a, b, subjects), bootstrap=2000, seed=1)
    naive = []
    for _ in range(600):
        draws = np.concatenate([np.arange(3) + 3 * s for s in rng.integers(0, 20, 20)])
        naive.append(cohen_kappa_score(a[draws], b[draws]))
    low, high = np.quantile(naive, [0.025, 0.975])
    assert row["low"] == pytest.approx(low, abs=0.05)
    assert row["high"] == pytest.approx(high, abs=0.05)
    assert row["low"] < row["kappa"] < row["high"]
    assert one(table(a, b, subjects), bootstrap=2000, seed=1) == row


def test_subjects_that_repeat_themselves_widen_the_interval():
    a, b = [1, 1, 0, 0, 1, 0] * 4, [1, 0, 0, 1, 1, 0] * 4
    apart = one(table(a, b))
    together = one(table(a, b, [f"s{i % 6}" for i in range(24)]))
    assert together["high"] - together["low"] > 1.5 * (apart["high"] - apart["low"])


def test_where_nothing_varies_there_is_no_kappa():
    row = one(table([1, 1, 1], [1, 0, 1]))
    assert np.isnan(row["kappa"])
    assert np.isnan(row["low"])
    assert row["agreement"] == pytest.approx(2 / 3)
    assert row["note"] == "one of the two gives every case the same label"


def test_missing_opinions_are_counted_and_left_out():
    row = one(table([1, 0, 1, 0], [1, 0, np.nan, np.nan]))
    assert (row["n"], row["n_missing"], row["kappa"]) == (2, 2, 1.0)
    row = one(table([1, 0], [np.nan, np.nan]))
    assert (row["n"], row["note"]) == (0, "nothing to compare")


def test_each_label_by_itself_and_none_at_all():
    table_pair = pd.concat([table([1, 0], [1, 0]), table([1, 0], [0, 1], label="reverts")])
    results = agreement(table_pair, ["label"], first="rules", second="judged", bootstrap=10)
    assert results["label"].tolist() == ["holds", "reverts"]
    assert results["kappa"].tolist() == [1.0, -1.0]
    assert list(agreement(table_pair.head(0), ["label"], first="rules", second="judged").columns) == [
        "label",
        *AGREEMENT_COLUMNS,
    ]
