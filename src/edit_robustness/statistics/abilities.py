"""What a model can still do at each checkpoint: one row for each benchmark, with what its figures are worth.

Shares have Wilson's interval (statistics.intervals; a document drawn twice is one cluster), other scores the mean's.
Balanced accuracy is the mean of the recalls of the right options' classes, with an interval from theirs by the method
of Zou and Donner (2008), "Construction of confidence limits about effect measures". Perplexity is of tokens: exp of
the mean negative log-probability over all tokens, with an interval that resamples documents.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from edit_robustness.statistics.documents import CHECKPOINT, UNIT, lower_is_better
from edit_robustness.statistics.intervals import mean, proportion
from edit_robustness.statistics.orders import over_orders
from edit_robustness.statistics.resampling import mean_interval, percentiles, resampled_means

FINE, AT_CHANCE, CONSTANT, TIES, NOT_FINITE = "fine", "at chance", "constant answers", "ties", "not finite"
VERDICTS = (FINE, AT_CHANCE, CONSTANT, TIES, NOT_FINITE)
"""What a row's figures are worth, from good to worst."""

MOSTLY_THE_SAME = 0.9
"""From this share of one and the same answer on, answers count as constant."""

MANY_TIES = 0.1
"""From this share of exact ties on, they are the verdict; short options tie now and then in any model."""

SHAPE = ["n", "chance", "constant_answer", "not_finite", "tied", "constant", "length", "capped"]
ABILITY_COLUMNS = [
    *(*CHECKPOINT, *UNIT, "value", "low", "high", "balanced", "balanced_low", "balanced_high", "gold_logprob"),
    *("gold_low", "gold_high", "margin", "margin_low", "margin_high", *SHAPE, "verdict"),
]


def baselines(benchmarks: pd.DataFrame) -> pd.DataFrame:
    """Chance and the best constant answer of each benchmark: the mean over its tasks, weighed by documents.

    Args:
        benchmarks: model, benchmark, task, metric, filter, n_documents, chance, constant_answer.

    Returns:
        model and `UNIT`, chance, constant_answer; NaN where there is none.
    """
    keys = ["model", *UNIT]
    named = ["chance", "constant_answer"]
    if benchmarks.empty:
        return pd.DataFrame(columns=[*keys, *named])
    weights = benchmarks["n_documents"].astype(float)
    weighed = benchmarks[named].astype(float).mul(weights, axis=0)
    totals = weighed.assign(n=weights, **{key: benchmarks[key] for key in keys})
    sums = totals.groupby(keys, sort=False)[[*named, "n"]].sum(min_count=1)
    return sums[named].div(sums["n"], axis=0).reset_index()


def abilities(
    rows: pd.DataFrame, benchmarks: pd.DataFrame, confidence: float = 0.95, bootstrap: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Every benchmark at every checkpoint.

    Args:
        rows: What `documents.measured` gives.
        benchmarks: See `baselines`.
        confidence: Level of all intervals.
        bootstrap: Resamples of documents, where an interval needs them.
        seed: Of the resampling.

    Returns:
        `ABILITY_COLUMNS`. `value` is the score's mean, or the perplexity; `not_finite`, `tied` and `capped` are shares
        of documents, `constant` is the share of the most frequent answer, `length` the mean number of generated
        tokens. `verdict` is one of `VERDICTS`: a single document that is not finite is enough for that word.
    """
    keys = ["model", *UNIT]
    known = {tuple(row[name] for name in keys): row for row in baselines(benchmarks).to_dict("records")}
    shares = rows.groupby(["model", *UNIT], sort=False)["score"].transform(lambda score: score.isin([0, 1]).all())
    cells = []
    for key, own in rows.assign(is_share=shares).groupby([*CHECKPOINT, *UNIT], sort=False):
        about: dict[Any, Any] = dict(zip([*CHECKPOINT, *UNIT], key, strict=True))
        found = known.get(tuple(about[name] for name in keys), {"chance": np.nan, "constant_answer": np.nan})
        row = {**found, **about, **_score(own, confidence, bootstrap, seed), **_shape(own)}
        row |= _balanced(own, confidence) | _gold(own, confidence, bootstrap, seed)
        cells.append({**row, "verdict": _verdict(row)})
    return pd.DataFrame(cells, columns=ABILITY_COLUMNS)


def _score(own: pd.DataFrame, confidence: float, bootstrap: int, seed: int) -> dict[str, float]:
    if lower_is_better(own["metric"].iloc[0]):
        return _perplexity(own, confidence, bootstrap, seed)
    estimate = proportion if own["is_share"].iloc[0] else mean
    found = estimate(own["score"], own["task"] + own["doc_hash"], confidence)
    return {"value": found.value, "low": found.low, "high": found.high}


def _perplexity(own: pd.DataFrame, confidence: float, bootstrap: int, seed: int) -> dict[str, float]:
    nan = float("nan")
    if own["not_finite"].any() or own["gold_logprob"].isna().any():
        return {"value": nan, "low": nan, "high": nan}
    tokens = own["tokens"].to_numpy(dtype=float)
    totals = np.column_stack([own["gold_logprob"].to_numpy(dtype=float) * tokens, tokens])
    drawn = resampled_means(totals, bootstrap, seed)
    with np.errstate(over="ignore"):
        low, high = percentiles(np.exp(-drawn[:, 0] / drawn[:, 1]), confidence)
        return {"value": float(np.exp(-totals[:, 0].sum() / totals[:, 1].sum())), "low": low, "high": high}


def _balanced(own: pd.DataFrame, confidence: float) -> dict[str, float]:
    """Of questions with two options: the mean of both classes' recalls; NaN where a class has no document."""
    nan = float("nan")
    classes = [group for gold, group in own.groupby("gold") if gold in (0, 1)]
    if len(classes) < 2 or not (own["options"] == 2).all():
        return {"balanced": nan, "balanced_low": nan, "balanced_high": nan}
    recalls = [proportion(group["score"], group["task"] + group["doc_hash"], confidence) for group in classes]
    centre = float(np.mean([recall.value for recall in recalls]))
    below = float(np.sqrt(sum((recall.value - recall.low) ** 2 for recall in recalls)) / len(recalls))
    above = float(np.sqrt(sum((recall.high - recall.value) ** 2 for recall in recalls)) / len(recalls))
    return {"balanced": centre, "balanced_low": centre - below, "balanced_high": centre + above}


def _gold(own: pd.DataFrame, confidence: float, bootstrap: int, seed: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for column, prefix in (("gold_logprob", "gold"), ("margin", "margin")):
        value, low, high = mean_interval(own[column].dropna().to_numpy(), confidence, bootstrap, seed)
        found |= {column: value, f"{prefix}_low": low, f"{prefix}_high": high}
    return found


def _shape(own: pd.DataFrame) -> dict[str, float | int]:
    answers = own["answer"].dropna()
    generated = own.loc[own["options"] == 0, ["tokens", "capped"]].astype(float)
    return {
        "n": len(own),
        "not_finite": float(own["not_finite"].mean()),
        "tied": float(own["tied"].mean()),
        "constant": float(answers.value_counts(normalize=True).iloc[0]) if len(answers) > 1 else float("nan"),
        "length": float(generated["tokens"].mean()),
        "capped": float(generated["capped"].mean()),
    }


def _verdict(row: dict) -> str:
    if row["not_finite"] > 0:
        return NOT_FINITE
    if row["tied"] >= MANY_TIES:
        return TIES
    if row["constant"] >= MOSTLY_THE_SAME:
        return CONSTANT
    if lower_is_better(row["metric"]):
        return AT_CHANCE if row["value"] >= row["chance"] else FINE
    balanced = not np.isnan(row["balanced"])
    low, chance = (row["balanced_low"], 0.5) if balanced else (row["low"], row["chance"])
    return AT_CHANCE if low <= chance or row["value"] == 0 else FINE


def ability_paths(table: pd.DataFrame, changes: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Every benchmark against the number of edits, over orders.

    Args:
        table: What `abilities` gives.
        changes: What `paired.compare` gives, for the change of the right answer's log-probability.
        confidence: Level of the intervals.

    Returns:
        model, method, edits, `UNIT`, quantity, `orders.PATH_COLUMNS`, n, chance, constant_answer, capped (the share of
        generations that the limit of tokens cut), verdict (the worst of the orders). `quantity` is ``score``,
        ``balanced`` (accuracy), ``gold_change`` or ``margin_change``.
    """
    by = ["model", "method", "edits", *UNIT]
    score = table.assign(quantity="score")
    balanced = table.dropna(subset=["balanced"]).drop(columns=["value", "low", "high"])
    renamed = {"balanced": "value", "balanced_low": "low", "balanced_high": "high"}
    balanced = balanced.rename(columns=renamed).assign(quantity="balanced")
    moved = changes[changes["measure"].isin(["gold_logprob", "margin"])]
    moved = moved.assign(
        quantity=moved["measure"].map({"gold_logprob": "gold_change", "margin": "margin_change"}),
        value=moved["difference"],
    )
    shares = ~score["metric"].map(lower_is_better).astype(bool)
    paths = pd.concat(
        [
            over_orders(part, [*by, "quantity"], confidence, shares=inside)
            for part, inside in ((score[shares], True), (score[~shares], False), (balanced, True), (moved, False))
            if len(part)
        ]
        or [over_orders(score, [*by, "quantity"], confidence)],
        ignore_index=True,
    )
    rank = table.assign(rank=table["verdict"].map(VERDICTS.index))
    about = rank.groupby(by, sort=False).agg(
        n=("n", "first"), chance=("chance", "first"), constant_answer=("constant_answer", "first"),
        capped=("capped", "mean"), rank=("rank", "max"),
    )  # fmt: skip
    about = about.assign(verdict=[VERDICTS[number] for number in about["rank"]]).drop(columns="rank")
    paths = paths.merge(about.reset_index(), on=by, how="left")
    is_balanced = paths["quantity"] == "balanced"
    return paths.assign(**{name: paths[name].mask(is_balanced, 0.5) for name in ("chance", "constant_answer")})
