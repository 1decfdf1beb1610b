import numpy as np
import pandas as pd
import pytest
from fabricated_sequences import BENCHMARKS, fabricate_sequences
from scipy import stats

from edit_robustness.records import Document
from edit_robustness.statistics.documents import measure_documents
from edit_robustness.statistics.paired import COMPARISON_COLUMNS, compare, mcnemar_p, paired_t_p
from edit_robustness.tables import documents_to_table


def test_mcnemar_is_the_exact_binomial_of_changed_documents():
    before = np.array([1] * 8 + [0] * 1 + [1] * 20 + [0] * 5)
    after = np.array([0] * 8 + [1] * 1 + [1] * 20 + [0] * 5)
    # 1 or fewer in 9 at one half, twice: 2 (1 + 9) / 2^9
    assert mcnemar_p(before, after) == pytest.approx(20 / 512)
    assert mcnemar_p(before, before) == 1


def test_the_paired_t_is_scipys():
    rng = np.random.default_rng(0)
    before, after = rng.normal(0, 1, 30), rng.normal(0.3, 1, 30)
    assert paired_t_p(after - before) == pytest.approx(stats.ttest_rel(after, before).pvalue)
    assert paired_t_p(np.zeros(5)) == 1
    assert paired_t_p(np.ones(5)) == 0
    assert np.isnan(paired_t_p(np.ones(1)))


@pytest.fixture(scope="module")
def results():
    tables = fabricate_sequences("m", ("none", "rome", "grace", "memit"), nan_method="memit", benchmarks=BENCHMARKS)
    return measure_documents(tables.documents), compare(measure_documents(tables.documents), bootstrap=500)


def test_differences_are_of_the_same_documents(results):
    rows, table = results
    assert list(table.columns) == COMPARISON_COLUMNS
    row = table.query("method == 'rome' and edits == 20 and benchmark == 'arithmetic' and quantity == 'score'").iloc[0]
    wide = rows.query("benchmark == 'arithmetic' and (method == 'none' or (method == 'rome' and edits == 20))").pivot(
        index="doc_hash", columns="method", values="score"
    )
    assert row["difference"] == pytest.approx((wide["rome"] - wide["none"]).mean())
    assert row["lost"] == int(((wide["none"] == 1) & (wide["rome"] == 0)).sum())
    assert row["gained"] == int(((wide["none"] == 0) & (wide["rome"] == 1)).sum())
    assert row["p"] == pytest.approx(stats.binomtest(int(row["gained"]), int(row["gained"] + row["lost"])).pvalue)
    assert row["low"] < row["difference"] < row["high"] < 0


def test_the_bootstraps_interval_is_close_to_the_normal(results):
    _, table = results
    row = table.query("method == 'rome' and edits == 20 and benchmark == 'arithmetic' and quantity == 'score'").iloc[0]
    changed_share = (row["gained"] + row["lost"]) / row["n"]
    half = 1.96 * np.sqrt((changed_share - row["difference"] ** 2) / row["n"])
    assert row["high"] - row["low"] == pytest.approx(2 * half, rel=0.15)


def test_holm_corrects_over_all_tests_of_a_measure(results):
    _, table = results
    for _, family in table.dropna(subset=["p"]).groupby("quantity"):
        sorted_rows = family.sort_values("p")
        naive = np.minimum(np.maximum.accumulate(sorted_rows["p"] * np.arange(len(sorted_rows), 0, -1)), 1)
        np.testing.assert_allclose(sorted_rows["p_holm"], naive)


def test_what_did_not_change_has_an_interval_all_the_same(results):
    _, table = results
    row = table.query("method == 'grace' and edits == 1 and benchmark == 'reading'").iloc[0]
    high = stats.binomtest(0, 50).proportion_ci(method="wilson").high
    assert (row["difference"], row["p"]) == (0, 1)
    assert (row["low"], row["high"]) == pytest.approx((-high, high))


def test_what_was_gained_and_lost_by_hand():
    before = [document(i, score, (-1.0, -2.0)) for i, score in enumerate((1, 1, 1, 0, 0))]
    after = [document(i, score, (-1.0 - i, -2.0)) for i, score in enumerate((0, 0, 1, 1, 0))]
    rows = pd.concat(
        documents_to_table(side, model="m", method=method, order=0, edits=edits)
        for side, method, edits in ((before, "none", 0), (after, "rome", 5))
    )
    score, gold, margin = compare(measure_documents(rows), bootstrap=200).to_dict("records")
    assert [row["quantity"] for row in (score, gold, margin)] == ["score", "gold_logprob", "margin"]
    assert (score["gained"], score["lost"], score["n"], score["n_missing"]) == (1, 2, 5, 0)
    assert (score["before"], score["after"], score["difference"]) == pytest.approx((0.6, 0.4, -0.2))
    assert (score["test"], score["p"], score["note"]) == ("mcnemar", 1, "")
    assert -1 <= score["low"] < -0.2 < score["high"] <= 1
    for row in (gold, margin):
        assert (row["difference"], row["test"]) == (-2, "paired t")
        assert row["p"] == pytest.approx(stats.ttest_1samp([0, -1, -2, -3, -4], 0).pvalue)
        assert -4 <= row["low"] < -2 < row["high"] <= 0
    assert (gold["before"], gold["after"]) == (-1, -3)
    assert (margin["before"], margin["after"]) == (1, -1)


def document(number, score, logprobs):
    return Document(
        benchmark="b", task="b", filter="none", metric="acc", number=number, doc_hash=f"h{number}", prompt_hash="p",
        shots=0, score=score, metrics={}, gold=0, logprobs=logprobs, text="",
    )  # fmt: skip


def test_what_is_not_finite_is_counted_and_compared_with_nothing(results):
    _, table = results
    broken_rows = table.query("method == 'memit' and edits == 5 and benchmark == 'arithmetic'").set_index("quantity")
    assert broken_rows.loc["gold_logprob", "n"] == 0
    assert broken_rows.loc["gold_logprob", "n_missing"] == 50
    assert broken_rows.loc["gold_logprob", "note"]
    assert np.isnan(broken_rows.loc["gold_logprob", "p_holm"])
    assert broken_rows.loc["score", "after"] == 0
    assert pd.isna(table.query("quantity == 'gold_logprob'")["gained"]).all()


def test_perplexity_is_compared_by_its_log_probabilities(results):
    _, table = results
    assert set(table.query("benchmark == 'prose'")["quantity"]) == {"gold_logprob"}


def test_the_unedited_model_alone_has_nothing_to_compare():
    tables = fabricate_sequences("m", ("none",), n=4)
    assert compare(measure_documents(tables.documents), bootstrap=100).empty


def test_a_document_that_the_unedited_model_answers_twice_is_refused():
    rows = measure_documents(fabricate_sequences("m", ("none", "rome"), n=4).documents)
    with pytest.raises(pd.errors.MergeError, match="many-to-one"):
        compare(pd.concat([rows, rows[rows["method"] == "none"].head(1)]), bootstrap=10)
