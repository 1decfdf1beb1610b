"""General abilities of a model at each checkpoint: one row per benchmark, with a flag on its figures.

Shares have Wilson's interval (`statistics.intervals`; a document that is sampled twice is one cluster), other scores
have the mean's. Balanced accuracy is the mean of the recalls of the right options' classes. Its interval combines
theirs by the method of Zou and Donner (2008), "Construction of confidence limits about effect measures". Perplexity is
per token: exp of the mean negative log-probability over all tokens, with an interval that resamples documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from edit_robustness.statistics.documents import CHECKPOINT, UNIT, lower_is_better
from edit_robustness.statistics.intervals import mean, proportion
from edit_robustness.statistics.orders import over_orders
from edit_robustness.statistics.resampling import mean_interval, percentiles, resampled_means

FINE, AT_CHANCE, CONSTANT, TIES, NOT_FINITE = "fine", "at chance", "constant answers", "ties", "not finite"
FLAGS = (FINE, AT_CHANCE, CONSTANT, TIES, NOT_FINITE)
"""Verdicts on the figures of a row, from best to worst."""

MOSTLY_THE_SAME = 0.9
"""Share of the most frequent answer from which answers count as constant."""

MANY_TIES = 0.1
"""Share of exact ties from which they are the flag. Short options tie occasionally in any model."""

SHAPE = ["n", "chance", "constant_answer", "not_finite", "tied", "constant", "length", "capped"]
ABILITY_COLUMNS = [
    *(
        *CHECKPOINT,
        *UNIT,
        "ability",
        "value",
        "low",
        "high",
        "balanced",
        "balanced_low",
        "balanced_high",
        "gold_logprob",
    ),
    *("gold_low", "gold_high", "margin", "margin_low", "margin_high", *SHAPE, "flag"),
]


def trivial_scores(benchmarks: pd.DataFrame) -> pd.DataFrame:
    """Compute chance and the best constant answer of each benchmark: the mean over its tasks, weighted by documents.

    Args:
        benchmarks: model, benchmark, task, metric, filter, n_documents, chance, constant_answer.

    Returns:
        model and `UNIT`, chance, constant_answer; NaN if there is none.
    """
    keys = ["model", *UNIT]
    columns = ["chance", "constant_answer"]
    if benchmarks.empty:
        return pd.DataFrame(columns=[*keys, *columns])
    weights = benchmarks["n_documents"].astype(float)
    products = benchmarks[columns].astype(float).mul(weights, axis=0)
    totals = products.assign(n=weights, **{key: benchmarks[key] for key in keys})
    sums = totals.groupby(keys, sort=False)[[*columns, "n"]].sum(min_count=1)
    return sums[columns].div(sums["n"], axis=0).reset_index()


def abilities(
    rows: pd.DataFrame, benchmarks: pd.DataFrame, confidence: float = 0.95, bootstrap: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Estimate every benchmark at every checkpoint.

    Args:
        rows: Output of `documents.measure_documents`.
        benchmarks: Input of `trivial_scores`, with the kind of `ability` of each benchmark.
        confidence: Level of all intervals.
        bootstrap: Number of resamples of documents, for intervals that need them.
        seed: Seed of the resampling.

    Returns:
        `ABILITY_COLUMNS`. `value` is the score's mean, or the perplexity; `not_finite`, `tied` and `capped` are shares
        of documents, `constant` is the share of the most frequent answer, `length` is the mean number of generated
        tokens. `flag` is one of `FLAGS`; one document that is not finite is enough for ``not finite``.
    """
    keys = ["model", *UNIT]
    trivial_rows = {tuple(row[name] for name in keys): row for row in trivial_scores(benchmarks).to_dict("records")}
    ability_by_benchmark = dict(zip(benchmarks["benchmark"], benchmarks["ability"], strict=True))
    shares = rows.groupby(["model", *UNIT], sort=False)["score"].transform(lambda score: score.isin([0, 1]).all())
    cells = []
    for key, documents in rows.assign(is_share=shares).groupby([*CHECKPOINT, *UNIT], sort=False):
        about: dict[Any, Any] = dict(zip([*CHECKPOINT, *UNIT], key, strict=True))
        trivial = trivial_rows.get(tuple(about[name] for name in keys), {"chance": np.nan, "constant_answer": np.nan})
        row = {
            **trivial,
            **about,
            "ability": ability_by_benchmark.get(about["benchmark"], about["benchmark"]),
            **_estimate_score(documents, confidence, bootstrap, seed),
            **_describe_answers(documents),
        }
        row |= _estimate_balanced(documents, confidence) | _estimate_gold(documents, confidence, bootstrap, seed)
        cells.append({**row, "flag": _judge_row(row)})
    return pd.DataFrame(cells, columns=ABILITY_COLUMNS)


def _estimate_score(documents: pd.DataFrame, confidence: float, bootstrap: int, seed: int) -> dict[str, float]:
    if lower_is_better(documents["metric"].iloc[0]):
        return _estimate_perplexity(documents, confidence, bootstrap, seed)
    estimate = proportion if documents["is_share"].iloc[0] else mean
    rate = estimate(documents["score"], documents["task"] + documents["doc_hash"], confidence)
    return {"value": rate.value, "low": rate.low, "high": rate.high}


def _estimate_perplexity(documents: pd.DataFrame, confidence: float, bootstrap: int, seed: int) -> dict[str, float]:
    nan = float("nan")
    if documents["not_finite"].any() or documents["gold_logprob"].isna().any():
        return {"value": nan, "low": nan, "high": nan}
    tokens = documents["tokens"].to_numpy(dtype=float)
    totals = np.column_stack([documents["gold_logprob"].to_numpy(dtype=float) * tokens, tokens])
    means = resampled_means(totals, bootstrap, seed)
    with np.errstate(over="ignore"):
        low, high = percentiles(np.exp(-means[:, 0] / means[:, 1]), confidence)
        return {"value": float(np.exp(-totals[:, 0].sum() / totals[:, 1].sum())), "low": low, "high": high}


def _estimate_balanced(documents: pd.DataFrame, confidence: float) -> dict[str, float]:
    """Estimate balanced accuracy of questions with two options; NaN if a class has no document."""
    nan = float("nan")
    classes = [group for gold, group in documents.groupby("gold") if gold in (0, 1)]
    if len(classes) < 2 or not (documents["options"] == 2).all():
        return {"balanced": nan, "balanced_low": nan, "balanced_high": nan}
    recalls = [proportion(group["score"], group["task"] + group["doc_hash"], confidence) for group in classes]
    centre = float(np.mean([recall.value for recall in recalls]))
    below = float(np.sqrt(sum((recall.value - recall.low) ** 2 for recall in recalls)) / len(recalls))
    above = float(np.sqrt(sum((recall.high - recall.value) ** 2 for recall in recalls)) / len(recalls))
    return {"balanced": centre, "balanced_low": centre - below, "balanced_high": centre + above}


def _estimate_gold(documents: pd.DataFrame, confidence: float, bootstrap: int, seed: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    for column, prefix in (("gold_logprob", "gold"), ("margin", "margin")):
        value, low, high = mean_interval(documents[column].dropna().to_numpy(), confidence, bootstrap, seed)
        figures |= {column: value, f"{prefix}_low": low, f"{prefix}_high": high}
    return figures


def _describe_answers(documents: pd.DataFrame) -> dict[str, float | int]:
    answers = documents["answer"].dropna()
    generations = documents.loc[documents["options"] == 0, ["tokens", "capped"]].astype(float)
    return {
        "n": len(documents),
        "not_finite": float(documents["not_finite"].mean()),
        "tied": float(documents["tied"].mean()),
        "constant": float(answers.value_counts(normalize=True).iloc[0]) if len(answers) > 1 else float("nan"),
        "length": float(generations["tokens"].mean()),
        "capped": float(generations["capped"].mean()),
    }


def _judge_row(row: Mapping[str, Any]) -> str:
    if row["not_finite"] > 0:
        return NOT_FINITE
    if row["tied"] >= MANY_TIES:
        return TIES
    if row["constant"] >= MOSTLY_THE_SAME:
        return CONSTANT
    if lower_is_better(row["metric"]):
        return AT_CHANCE if row["value"] >= row["chance"] else FINE
    has_balanced = not np.isnan(row["balanced"])
    low, chance = (row["balanced_low"], 0.5) if has_balanced else (row["low"], row["chance"])
    return AT_CHANCE if low <= chance or row["value"] == 0 else FINE


def ability_paths(table: pd.DataFrame, changes: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Average every benchmark over orders at each number of edits.

    Args:
        table: Output of `abilities`.
        changes: Output of `paired.compare`, for the change of the right answer's log-probability.
        confidence: Level of the intervals.

    Returns:
        model, method, edits, `UNIT`, quantity, `orders.PATH_COLUMNS`, ability, n, chance, constant_answer, capped (the
        share of generations that the token limit cut), flag (the worst of the orders). `quantity` is ``score``,
        ``balanced`` (accuracy), ``gold_change`` or ``margin_change``.
    """
    by = ["model", "method", "edits", *UNIT]
    score = table.assign(quantity="score")
    balanced_rows = table.dropna(subset=["balanced"]).drop(columns=["value", "low", "high"])
    column_names = {"balanced": "value", "balanced_low": "low", "balanced_high": "high"}
    balanced_rows = balanced_rows.rename(columns=column_names).assign(quantity="balanced")
    shifts = changes[changes["quantity"].isin(["gold_logprob", "margin"])]
    shifts = shifts.assign(
        quantity=shifts["quantity"].map({"gold_logprob": "gold_change", "margin": "margin_change"}),
        value=shifts["difference"],
    )
    shares = ~score["metric"].map(lower_is_better).astype(bool)
    paths = pd.concat(
        [
            over_orders(part, [*by, "quantity"], confidence, shares=inside)
            for part, inside in ((score[shares], True), (score[~shares], False), (balanced_rows, True), (shifts, False))
            if len(part)
        ]
        or [over_orders(score, [*by, "quantity"], confidence)],
        ignore_index=True,
    )
    rank = table.assign(rank=table["flag"].map(FLAGS.index))
    about = rank.groupby(by, sort=False).agg(
        ability=("ability", "first"), n=("n", "first"), chance=("chance", "first"),
        constant_answer=("constant_answer", "first"),
        capped=("capped", "mean"), rank=("rank", "max"),
    )  # fmt: skip
    about = about.assign(flag=[FLAGS[number] for number in about["rank"]]).drop(columns="rank")
    paths = paths.merge(about.reset_index(), on=by, how="left")
    is_balanced = paths["quantity"] == "balanced"
    return paths.assign(**{name: paths[name].mask(is_balanced, 0.5) for name in ("chance", "constant_answer")})
