import numpy as np
import pandas as pd
import pytest
from fabricated_sequences import BENCHMARKS, SAFETY, fabricate_sequences
from scipy import stats

from edit_robustness.records import Document
from edit_robustness.statistics.abilities import ABILITY_COLUMNS, abilities, ability_paths, trivial_scores
from edit_robustness.statistics.ability_retention import ability_retention, ability_retention_paths
from edit_robustness.statistics.documents import join_unedited, measure_documents
from edit_robustness.statistics.intervals import proportion
from edit_robustness.statistics.orders import over_orders
from edit_robustness.statistics.paired import compare
from edit_robustness.statistics.resampling import resampled_means
from edit_robustness.tables import documents_to_table

NAN = float("nan")


def document(number=0, score=1.0, gold=0, logprobs=(-1.0, -2.0), text="", **options):
    about = {"benchmark": "b", "task": "b", "filter": "none", "metric": "acc"} | {
        name: options.pop(name) for name in ("benchmark", "task", "filter", "metric") if name in options
    }
    return Document(
        **about, number=number, doc_hash=f"h{number}", prompt_hash=f"p{number}", shots=0, score=score, metrics={},
        gold=gold, logprobs=tuple(logprobs), text=text, **options,
    )  # fmt: skip


def table(*documents, method="none", order=0, edits=0, model="m"):
    return documents_to_table(documents, model=model, method=method, order=order, edits=edits)


def facts(chance=0.5, constant=0.6, benchmark="b", metric="acc", n=10):
    return pd.DataFrame(
        [("m", benchmark, benchmark, benchmark, metric, "none", n, chance, constant)],
        columns=[
            "model",
            "benchmark",
            "task",
            "ability",
            "metric",
            "filter",
            "n_documents",
            "chance",
            "constant_answer",
        ],
    )


def one(*documents, **about):
    return abilities(measure_documents(table(*documents)), facts(**about), bootstrap=100).iloc[0]


def test_what_is_read_off_an_answer():
    rows = measure_documents(
        table(
            document(0, logprobs=(-1.0, -2.5, -1.5), gold=0),
            document(1, 0.0, logprobs=(-3.0, -2.0), gold=0),
            document(2, gold=-1, logprobs=(), text=" Paris "),
            document(3, gold=-1, logprobs=(-12.0,), metric="word_perplexity", tokens=4),
            document(4, 1.0, logprobs=(NAN, NAN), flags=("not_finite",)),
            document(5, 1.0, logprobs=(-1.0, -1.0), flags=("tied",)),
        )
    )
    np.testing.assert_allclose(rows["gold_logprob"], [-1.0, -3.0, NAN, -3.0, NAN, -1.0])
    np.testing.assert_allclose(rows["margin"], [0.5, -1.0, NAN, NAN, NAN, 0.0])
    assert rows["answer"].where(rows["answer"].notna(), "").tolist() == [
        *("option 0", "option 1", "Paris", "", "", "option 0"),
    ]
    assert rows["score"].tolist() == [1, 0, 1, 1, 0, 0]
    assert rows["not_finite"].tolist() == [False, False, False, False, True, False]


def test_only_the_log_probability_of_a_text_is_per_token():
    text = {"metric": "word_perplexity", "gold": -1, "logprobs": (-12.0,)}
    rows = measure_documents(
        table(document(0, **text, tokens=4), document(1, **text, tokens=0), document(2, logprobs=(-12.0,), tokens=4))
    )
    assert rows["gold_logprob"].tolist() == [-3, -12, -12]


@pytest.mark.parametrize("gold", [-1, 2])
def test_a_right_option_that_is_not_among_the_options_has_no_log_probability(gold):
    row = measure_documents(table(document(gold=gold, logprobs=(-2.0, -1.0)))).iloc[0]
    assert np.isnan([row["gold_logprob"], row["margin"]]).all()
    assert row["answer"] == "option 1"


def test_a_score_that_is_no_number_is_flagged_even_without_a_flag():
    row = measure_documents(table(document(score=NAN))).iloc[0]
    assert row["not_finite"]
    assert row["score"] == 0


def test_the_value_has_wilsons_interval():
    row = one(*(document(i, float(i < 7), gold=i % 3, logprobs=(-1.0, -2.0, -3.0)) for i in range(10)), chance=1 / 3)
    interval = stats.binomtest(7, 10).proportion_ci(method="wilson")
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0.7, interval.low, interval.high))
    assert np.isnan(row["balanced"])
    assert row["chance"] == pytest.approx(1 / 3)


def test_balanced_accuracy_is_the_mean_recall():
    # always option 0: right on the 8 documents of one class and wrong on the 2 of the other
    row = one(*(document(i, float(i < 8), gold=int(i >= 8)) for i in range(10)))
    assert row["value"] == 0.8
    assert row["balanced"] == 0.5
    recalls = [stats.binomtest(k, n).proportion_ci(method="wilson") for k, n in ((8, 8), (0, 2))]
    assert row["balanced_low"] == pytest.approx(0.5 - np.hypot(1 - recalls[0].low, 0) / 2)
    assert row["balanced_high"] == pytest.approx(0.5 + np.hypot(0, recalls[1].high) / 2)
    assert row["constant"] == 1
    assert row["flag"] == "constant answers"


def test_perplexity_is_of_tokens():
    texts = [(-30.0, 10), (-10.0, 5), (-44.0, 11)]
    about = {"gold": -1, "metric": "word_perplexity"}
    row = one(*(document(i, 9.0, logprobs=(total,), tokens=n, **about) for i, (total, n) in enumerate(texts)),
              chance=NAN, metric="word_perplexity")  # fmt: skip
    assert row["value"] == pytest.approx(np.exp(84 / 26))
    assert row["low"] < row["value"] < row["high"]
    assert row["gold_logprob"] == pytest.approx(-3.0)
    assert row["flag"] == "fine"
    # the same text in every document leaves nothing to resample
    result = one(*(document(i, 9.0, logprobs=(-20.0,), tokens=10, **about) for i in range(3)), metric="word_perplexity")
    assert tuple(result[["value", "low", "high"]]) == pytest.approx((np.exp(2),) * 3)


def test_one_text_that_is_not_finite_leaves_no_perplexity():
    about = {"gold": -1, "metric": "word_perplexity"}
    good = document(0, 9.0, logprobs=(-20.0,), tokens=10, **about)
    for bad_document in (
        document(1, 9.0, logprobs=(-20.0,), tokens=10, flags=("not_finite",), **about),
        document(1, 9.0, logprobs=(NAN,), tokens=10, **about),
    ):
        assert one(good, bad_document, metric="word_perplexity")[["value", "low", "high"]].isna().all()


def test_a_document_that_was_drawn_twice_is_one_cluster_in_its_task():
    documents = [document(i % 10, float(i % 10 < 7), gold=i % 2) for i in range(20)]
    row = one(*documents)
    reference = proportion([float(i < 7) for i in range(10) for _ in range(2)], np.repeat(np.arange(10), 2))
    assert (row["value"], row["low"], row["high"]) == pytest.approx(reference[:3])
    recalls = [proportion(np.repeat([1.0] * k + [0.0] * (5 - k), 2), np.repeat(np.arange(5), 2)) for k in (4, 3)]
    assert row["balanced_low"] == pytest.approx(0.7 - np.hypot(*(r.value - r.low for r in recalls)) / 2)
    assert row["balanced_high"] == pytest.approx(0.7 + np.hypot(*(r.high - r.value for r in recalls)) / 2)
    two_tasks = [*documents[:10], *(document(i, float(i < 7), gold=i % 2, task="other") for i in range(10))]
    interval = stats.binomtest(14, 20).proportion_ci(method="wilson")
    assert tuple(one(*two_tasks)[["low", "high"]]) == pytest.approx((interval.low, interval.high))


def test_scores_between_0_and_1_have_the_interval_of_a_mean_at_every_checkpoint():
    about = {"metric": "f1", "logprobs": (), "gold": -1}
    before = table(*(document(i, score, text=str(i), **about) for i, score in enumerate((0.2, 0.5, 0.9))))
    after = table(
        *(document(i, score, text=str(i), **about) for i, score in enumerate((0, 1, 1))), method="ft", edits=1
    )
    rows = abilities(measure_documents(pd.concat([before, after])), facts(metric="f1"), bootstrap=10)
    for row, scores in zip(rows.to_dict("records"), ([0.2, 0.5, 0.9], [0, 1, 1]), strict=True):
        low, high = stats.t.interval(0.95, 2, np.mean(scores), stats.sem(scores))
        assert (row["value"], row["low"], row["high"]) == pytest.approx((np.mean(scores), low, high))


def test_what_describes_the_answers():
    texts = [("a", 4, False), ("a", 6, True), ("b", 16, True), ("c", 2, False)]
    row = one(
        *(
            document(
                i, logprobs=(), gold=-1, text=text, tokens=tokens, capped=is_capped, flags=("tied",) * (text == "c")
            )
            for i, (text, tokens, is_capped) in enumerate(texts)
        )
    )
    assert row[["n", "constant", "length", "capped", "tied", "not_finite"]].tolist() == [4, 0.5, 7, 0.5, 0.25, 0]
    options = one(*(document(i, tokens=3, logprobs=(-1.0 - i, -2.0), capped=True) for i in range(3)))
    assert options["constant"] == pytest.approx(2 / 3)
    assert np.isnan([options["length"], options["capped"]]).all(), "options are not generated"
    assert options["gold_logprob"] == -2
    assert options["margin"] == 0
    assert (options["gold_low"], options["gold_high"]) == (-3, -1)
    assert (options["margin_low"], options["margin_high"]) == (-1, 1)


def test_a_benchmark_without_trivial_scores_is_an_ability_of_its_own_without_chance():
    row = one(*(document(i) for i in range(3)), benchmark="other")
    assert (row["benchmark"], row["ability"], row["value"]) == ("b", "b", 1)
    assert row[["chance", "constant_answer"]].isna().all()


@pytest.mark.parametrize(
    ("documents", "flag"),
    [
        ([document(i, 1.0, gold=i % 2, logprobs=(-1 - i % 2, -2 + i % 2)) for i in range(10)], "fine"),
        (
            [document(i, float(i % 4 < 2), gold=i % 2, logprobs=(-1 - i % 2, -2 + i % 2)) for i in range(40)],
            "at chance",
        ),
        ([document(i, 0.0, gold=-1, logprobs=(), text="the the") for i in range(10)], "constant answers"),
        ([document(i, 0.0, gold=-1, logprobs=(), text=str(i)) for i in range(10)], "at chance"),
        ([document(i, 0.0, flags=("tied",), gold=i % 2) for i in range(10)], "ties"),
        # one tie in ten and nine equal answers in ten are enough
        (
            [
                document(i, 1.0, flags=("tied",) * (i == 0), gold=i % 2, logprobs=(-1 - i % 2, -2 + i % 2))
                for i in range(10)
            ],
            "ties",
        ),
        ([document(i, 1.0, gold=-1, logprobs=(), text="the" if i else "a") for i in range(10)], "constant answers"),
        ([document(i, 1.0, gold=-1, logprobs=(), text="the" if i > 1 else str(i)) for i in range(10)], "fine"),
        ([document(0, 0.0, logprobs=(NAN, -1), flags=("not_finite",)), *map(document, range(1, 10))], "not finite"),
    ],
)
def test_flags(documents, flag):
    assert one(*documents)["flag"] == flag


def test_a_model_of_nan_is_never_right():
    """All log-probabilities NaN: the first option is chosen, and the first is right in all of truthfulqa_mc1."""
    row = one(*(document(i, 1.0, gold=0, logprobs=(NAN, NAN), flags=("not_finite",)) for i in range(10)))
    assert (row["value"], row["not_finite"], row["flag"]) == (0, 1, "not finite")
    assert np.isnan(row["gold_logprob"])


def test_baselines_weigh_tasks_by_their_documents():
    two = pd.concat([facts(0.25, 0.4, n=30), facts(0.5, NAN, n=10).assign(task="other")])
    row = trivial_scores(two).iloc[0]
    assert row["chance"] == pytest.approx((30 * 0.25 + 10 * 0.5) / 40)


def test_documents_asked_in_other_words_are_refused():
    edited_rows = table(document(), method="rome", edits=5).assign(prompt_hash="other")
    with pytest.raises(ValueError, match=r"b number 0 by m with rome after 5 edits.*delete"):
        join_unedited(measure_documents(pd.concat([table(document()), edited_rows])))


def test_orders_are_replicates():
    values = [0.5, 0.7, 0.9]
    rows = pd.DataFrame({"method": "rome", "order": range(3), "value": values, "low": 0.4, "high": 0.95})
    row = over_orders(rows, ["method"]).iloc[0]
    reference = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (row["orders_low"], row["orders_high"]) == pytest.approx((reference[0], min(reference[1], 1)))
    assert (row["lowest"], row["highest"]) == (0.5, 0.9)
    spread = 0.7 - reference[0]
    assert row["low"] == pytest.approx(0.7 - np.hypot(0.7 - 0.4, spread))
    assert row["high"] == 1
    assert row["interval"] == "orders and sample"


def test_only_shares_are_cut_at_0_and_1():
    rows = pd.DataFrame(
        {"method": "rome", "order": [0, 1], "value": [-1.0, 3.0], "low": [-2.0, 2.0], "high": [0.0, 4.0]}
    )
    row = over_orders(rows, ["method"], shares=False).iloc[0]
    half = stats.t.ppf(0.975, 1) * 2
    assert (row["orders_low"], row["orders_high"]) == pytest.approx((1 - half, 1 + half))
    assert (row["low"], row["high"]) == pytest.approx((1 - np.hypot(1, half), 1 + np.hypot(1, half)))
    assert (row["value"], row["sample_low"], row["sample_high"], row["n_orders"]) == (1, 0, 2, 2)
    shares = over_orders(rows, ["method"]).iloc[0]
    assert shares[["low", "high", "orders_low", "orders_high"]].tolist() == [0, 1, 0, 1]


def test_one_order_has_its_own_interval_and_none_is_no_error():
    rows = pd.DataFrame({"method": ["a", "b"], "order": 0, "value": [0.5, NAN], "low": 0.4, "high": 0.6})
    first, second = (row for _, row in over_orders(rows, ["method"]).iterrows())
    assert (first["low"], first["high"], first["n_orders"], first["interval"]) == (0.4, 0.6, 1, "sample")
    assert np.isnan(first["orders_low"])
    assert second["n_orders"] == 0
    assert np.isnan(second["value"])


@pytest.fixture(scope="module")
def ability_tables():
    tables = fabricate_sequences(
        "m", ("none", "rome", "memit"), orders=2, nan_method="memit", benchmarks=BENCHMARKS | SAFETY
    )
    rows = measure_documents(tables.documents)
    return rows, abilities(rows, tables.benchmarks.assign(model="m"), bootstrap=200)


def test_every_cell_has_a_row(ability_tables):
    _, ability_rows = ability_tables
    assert list(ability_rows.columns) == ABILITY_COLUMNS
    assert len(ability_rows) == 6 * (1 + 2 * 3 * 2)
    assert (ability_rows["n"] == 50).all()


def test_what_is_left_is_the_sum_above_chance(ability_tables):
    rows, ability_rows = ability_tables
    knowledge_retention = ability_retention(rows, ability_rows, bootstrap=200)
    row = knowledge_retention.query("method == 'rome' and order == 1 and edits == 20 and ability == 'all'").iloc[0]
    mean = rows.groupby(["method", "order", "edits", "benchmark"])["score"].mean()
    chances = {"common_knowledge": 0.25, "arithmetic": 0.25, "reading": 0.0}
    after, before = (
        sum(mean[*key, name] - c for name, c in chances.items()) for key in (("rome", 1, 20), ("none", 0, 0))
    )
    assert row["value"] == pytest.approx(after / before)
    assert row["low"] < row["value"] < row["high"]
    assert (row["n"], row["n_benchmarks"]) == (150, 3)
    assert set(knowledge_retention["ability"]) == {"all", "knowledge", "arithmetic", "reading", "safety"}


def test_a_benchmark_at_chance_does_not_count(ability_tables):
    rows, ability_rows = ability_tables
    at_chance = ability_rows.assign(
        flag=ability_rows["flag"]
        .where(ability_rows["benchmark"] != "arithmetic", "at chance")
        .where(ability_rows["method"] == "none", "fine")
    )
    assert "arithmetic" not in set(ability_retention(rows, at_chance, bootstrap=100)["ability"])
    assert ability_retention(rows, ability_rows.assign(flag="at chance"), bootstrap=100).empty


def scored(scores, method, **about):
    return [document(i, score, text=str(i), logprobs=(), gold=-1, **about) for i, score in enumerate(scores)]


def test_every_metric_of_a_benchmark_weighs_its_share():
    # arithmetic: two metrics, above chance 4/8 -> 2/8 and 8/8 -> 8/8; reading: one, 6/8 -> 6/8; chance is 0 in all
    scores = {
        ("arithmetic", "acc"): ([1] * 4 + [0] * 4, [1] * 2 + [0] * 6),
        ("arithmetic", "f1"): ([1] * 8, [1] * 8),
        ("reading", "acc"): ([1] * 6 + [0] * 2, [1] * 6 + [0] * 2),
    }
    sides = [
        table(*(row for (benchmark, metric), pair in scores.items()
                for row in scored(pair[side], method, benchmark=benchmark, task=benchmark, metric=metric)),
              method=method, edits=side)
        for side, method in enumerate(("none", "rome"))
    ]  # fmt: skip
    rows = measure_documents(pd.concat(sides))
    benchmarks = pd.concat([facts(NAN, NAN, benchmark, metric) for benchmark, metric in scores])
    flags = abilities(rows, benchmarks, bootstrap=10).assign(flag="fine")
    table_rows = ability_retention(rows, flags, bootstrap=2000).set_index("ability")
    assert table_rows.loc["arithmetic", "value"] == pytest.approx((2 / 8 + 1) / (4 / 8 + 1))
    assert table_rows.loc["reading", ["value", "n", "n_benchmarks"]].tolist() == [1, 8, 1]
    row = table_rows.loc["all"]
    assert row["value"] == pytest.approx(((2 / 8 + 1) / 2 + 6 / 8) / ((4 / 8 + 1) / 2 + 6 / 8))
    assert (row["n"], row["n_benchmarks"]) == (24, 2)
    after, before = (
        sum(weight * resampled_means(np.array(scores[key][side], float), 2000, seed)
            for seed, (key, weight) in enumerate(zip(scores, (0.5, 0.5, 1), strict=True)))
        for side in (1, 0)
    )  # fmt: skip
    assert (row["low"], row["high"]) == pytest.approx(np.quantile(after / before, [0.025, 0.975]))
    paths = ability_retention_paths(table_rows.reset_index()).set_index("ability")
    assert paths.loc["all", ["value", "low", "high", "n", "n_benchmarks"]].tolist() == pytest.approx(
        row[["value", "low", "high", "n", "n_benchmarks"]].tolist()
    )


def test_where_no_document_changed_the_interval_is_not_empty():
    rows = measure_documents(
        pd.concat([table(*map(document, range(30)), method=m, edits=e) for m, e in (("none", 0), ("grace", 5))])
    )
    ability_rows = abilities(rows, facts(chance=0.5), bootstrap=100).assign(flag="fine")
    row = ability_retention(rows, ability_rows, bootstrap=100).query("ability == 'all'").iloc[0]
    assert row["value"] == 1
    margin = stats.binomtest(0, 30).proportion_ci(method="wilson").high / 0.5
    assert (row["low"], row["high"]) == pytest.approx((1 - margin, 1 + margin))


def test_paths_hold_all_quantities_and_the_worst_flag(ability_tables):
    rows, ability_rows = ability_tables
    paths = ability_paths(ability_rows, compare(rows, bootstrap=100))
    assert set(paths["quantity"]) == {"score", "balanced", "gold_change", "margin_change"}
    changes = compare(rows, bootstrap=100).query("method == 'rome' and edits == 20 and benchmark == 'arithmetic'")
    rome = paths.query("method == 'rome' and edits == 20 and benchmark == 'arithmetic'").set_index("quantity")
    for quantity, name in {"gold_change": "gold_logprob", "margin_change": "margin"}.items():
        differences = changes.loc[changes["quantity"] == name, "difference"]
        assert rome.loc[quantity, "value"] == pytest.approx(differences.mean())
        assert rome.loc[quantity, "lowest"] == pytest.approx(differences.min())
        assert rome.loc[quantity, "low"] < 0
    (path,) = paths.query(
        "method == 'memit' and edits == 20 and benchmark == 'reading' and quantity == 'score'"
    ).to_dict("records")
    assert (path["n"], path["chance"], path["capped"], path["n_orders"]) == (50, 0, 1, 2)
    broken_rows = paths.query("method == 'memit' and edits == 5 and benchmark == 'arithmetic' and quantity == 'score'")
    assert broken_rows["flag"].tolist() == ["not finite"]
    assert broken_rows["value"].tolist() == [0]
    balanced_rows = paths[paths["quantity"] == "balanced"]
    assert set(balanced_rows["benchmark"]) == {"toxigen"}
    assert (balanced_rows["chance"] == 0.5).all()
    assert ability_retention_paths(ability_retention(rows, ability_rows, bootstrap=100))["n"].notna().all()
