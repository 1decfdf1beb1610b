import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from edit_robustness.statistics.gaps import ALL_KINDS, COLUMNS, protocol_gaps
from edit_robustness.statistics.intervals import mean, paired_difference, rates, refuse_mixed, wilson


def outcomes(seed=0, n=60):
    rng = np.random.default_rng(seed)
    rows = [
        {"model": "m", "method": "rome", "decoding": "greedy", "kind": ("a", "b")[i % 2], "fact_id": f"f{i // 3}",
         "subject": f"s{i // 4}", "probe_id": f"p{i}", "metric": "success", "protocol": protocol,
         "value": float(rng.random() < chance)}
        for i in range(n)
        for protocol, chance in (("free", 0.4), ("teacher_forced", 0.8))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_mean_of_clusters_is_that_of_ordinary_least_squares():
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(17), np.arange(17) % 4 + 1)
    values = rng.gamma(2.0, size=len(clusters)) + rng.normal(size=17)[clusters]
    fit = sm.OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    result = mean(values, clusters)
    assert result.value == pytest.approx(fit.params[0])
    assert (result.low, result.high) == pytest.approx(tuple(fit.conf_int()[0]))
    assert (result.n, result.n_clusters) == (len(values), 17)


def test_independent_numbers_have_the_interval_of_student():
    result = mean([1.0, 2.0, 4.0, 8.0], list("abcd"))
    low, high = sm.stats.DescrStatsW([1.0, 2.0, 4.0, 8.0]).tconfint_mean()
    assert (result.low, result.high) == pytest.approx((low, high))


def test_too_little_has_no_interval():
    alone = mean([1.0, 2.0], ["a", "a"])
    assert alone.value == 1.5
    assert np.isnan([alone.low, alone.high]).all()
    assert np.isnan(mean([], []).value)


def test_answers_that_were_cut_are_counted_among_those_that_fail():
    scores = outcomes()
    free = scores[(scores["protocol"] == "free") & (scores["value"] == 0)].head(4)
    gaps = protocol_gaps(pd.concat([scores, free.assign(metric="cut", value=1.0)], ignore_index=True))
    assert gaps.set_index("kind").loc[ALL_KINDS, "cut"] == 4
    columns = [name for name in COLUMNS if name != "cut"]
    assert gaps[columns].equals(protocol_gaps(scores)[columns])


def test_real_numbers_are_averaged_and_shares_stay_shares():
    scores = pd.DataFrame(
        {
            "metric": ["kl"] * 3 + ["success"] * 2,
            "unit": ["nats"] * 3 + ["share"] * 2,
            "value": [0.5, 2.5, np.nan, 1.0, 1.0],
            "subject": ["a", "b", "c", "a", "b"],
            "fact_id": ["a", "b", "c", "a", "b"],
        }
    )
    table = rates(scores, ["metric", "unit"]).set_index("metric")
    assert table.loc["kl", ["value", "n_probes", "n_missing"]].tolist() == [1.5, 2, 1]
    assert table.loc["kl", "high"] > 2.5
    assert table.loc["success", "high"] == 1.0
    assert table.loc["success", "low"] > 0.2


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("protocol", ["free", "teacher_forced"]),
        ("metric", ["success", "kl"]),
        ("decoding", ["greedy, 16 new tokens, float32", "greedy, 30 new tokens, float32"]),
        ("unit", ["share", "nats"]),
    ],
)
def test_an_average_over_different_things_is_refused(column, values):
    scores = pd.DataFrame(
        {"method": "rome", "kind": "cloze", "value": 1.0, "fact_id": "f", "subject": "s", column: values}
    )
    with pytest.raises(ValueError, match=rf"method rome, kind cloze: an average over several values of `{column}`"):
        rates(scores, ["method", "kind"])
    with pytest.raises(ValueError, match="all scores: an average"):
        refuse_mixed(scores, [])
    assert len(rates(scores, ["method", column])) == 2
    assert len(rates(scores.assign(kind=["cloze", "statement"]), ["kind"])) == 2, "no group has two of them"


def test_counts_are_mcnemars():
    table = outcomes()
    row = protocol_gaps(table).query("kind == @ALL_KINDS").iloc[0]
    wide = table.pivot(index="probe_id", columns="protocol", values="value")
    counts = pd.crosstab(wide["teacher_forced"], wide["free"])
    reference = [counts.loc[1, 1], counts.loc[1, 0], counts.loc[0, 1], counts.loc[0, 0]]
    assert row[["both", "forced_only", "free_only", "neither"]].tolist() == reference
    assert row["gap"] == pytest.approx(wide["teacher_forced"].mean() - wide["free"].mean())


def test_the_interval_is_of_paired_differences():
    table = outcomes()
    gaps = protocol_gaps(table)
    assert list(gaps.columns) == COLUMNS
    assert gaps["kind"].tolist() == ["a", "b", ALL_KINDS]
    assert (gaps[["model", "method", "decoding"]] == ["m", "rome", "greedy"]).all(axis=None)
    for row in gaps.to_dict("records"):
        rows = table if row["kind"] == ALL_KINDS else table[table["kind"] == row["kind"]]
        wide = rows.pivot(index=["probe_id", "subject"], columns="protocol", values="value").reset_index()
        difference = paired_difference(wide["teacher_forced"], wide["free"], wide["subject"])
        assert (row["gap"], row["low"], row["high"]) == pytest.approx(
            (difference.value, difference.low, difference.high)
        )


@pytest.mark.parametrize("gap", [-1, 0, 1])
def test_gaps_that_are_all_alike_still_have_a_width(gap):
    table = outcomes(n=80).query("kind == 'a'")
    side = {1: "teacher_forced", 0: "neither", -1: "free"}[gap]
    table = table.assign(value=(table["protocol"] == side).astype(float), subject=table["probe_id"])
    row = protocol_gaps(table).iloc[0]
    assert row["gap"] == gap
    # Wilson's interval of 0 or 40 in 40
    margin = wilson(0, 40)[1]
    # both shares are uncertain, so Newcombe adds their distances in squares
    bound_of_two = 1 - np.sqrt(2) * margin
    assert (row["low"], row["high"]) == pytest.approx(
        {1: (bound_of_two, 1), 0: (-margin, margin), -1: (-1, -bound_of_two)}[gap]
    )
    assert (row["forced"], row["free"]) == (gap == 1, gap == -1)
    assert (row["n_probes"], row["n_facts"]) == (40, table["fact_id"].nunique())


def test_no_interval_leaves_the_range_of_a_difference_of_shares():
    table = outcomes(n=10).query("kind == 'a'").assign(value=lambda rows: (rows["protocol"] == "free").astype(float))
    first = table["probe_id"] == table["probe_id"].iloc[0]
    mixture = table.assign(value=table["value"].mask(first, 0.0), subject=table["probe_id"])
    row = protocol_gaps(mixture).iloc[0]
    assert row["gap"] == -0.8
    assert -1.0 <= row["low"] < -0.9


def test_probes_that_lack_a_protocol_are_left_out():
    table = outcomes(n=10)
    table.loc[table.index[0], "value"] = np.nan
    assert protocol_gaps(table.iloc[:-1]).query("kind == 'all'")["n_probes"].tolist() == [8]
    assert protocol_gaps(table.head(0)).empty
