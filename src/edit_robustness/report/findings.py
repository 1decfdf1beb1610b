"""The second paper's findings, each with the result of this run, computed from the tables, or "not run here".

The interval of a difference of two estimates is that of Zou and Donner (2008): their distances to their own bounds are
added in squares. A difference is reported if its interval excludes 0. Otherwise the two are not significantly
different.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import hypot, isnan
from typing import Any

import pandas as pd

from edit_robustness.labels import ABILITIES, BENCHMARKS, METHODS, in_order, label_of
from edit_robustness.notation import write_p
from edit_robustness.records import UNEDITED
from edit_robustness.report.paper2 import FINDINGS
from edit_robustness.report.rows import records

ALL, SAFETY = "all", "safety"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One finding: the paper's section, question, result and caveat, and the result of this run.

    `sentences` contain the result of this run, and are empty if it was not run. `missing` is what a run needs for a
    result.
    """

    section: str
    question: str
    paper_result: str
    caveat: str
    sentences: tuple[str, ...]
    missing: str


def findings(
    ability_retention: pd.DataFrame,
    abilities: pd.DataFrame,
    comparisons: pd.DataFrame,
    *,
    loss: float,
    base: Mapping[str, str],
    sizes: Mapping[str, float],
) -> list[Finding]:
    """Return all findings, ordered by the paper's sections.

    Args:
        ability_retention: Output of `statistics.ability_retention.ability_retention_paths`.
        abilities: Output of `statistics.abilities.ability_paths`.
        comparisons: Output of `statistics.paired.compare`.
        loss: The share of the general abilities whose loss counts as damage.
        base: Instruction-tuned models and the base model of each.
        sizes: Models and their billions of parameters.
    """
    shares = ability_retention.dropna(subset=["value"])
    # a score below chance counts as 0, because a model cannot lose more than it had
    shares = shares.assign(**shares[["value", "low", "high"]].clip(lower=0))
    general_shares = shares[shares["ability"] == ALL]
    answers = {
        "4.1": (
            _answer_few_edits(general_shares, loss),
            "an editing method, and a benchmark on which the unedited model is above chance",
        ),
        "4.2": (
            _answer_tuned(general_shares, base),
            "an instruction-tuned model and its base model, paired in analyze_sequences.base",
        ),
        "4.3": (_answer_sizes(general_shares, sizes), "two models whose sizes are in analyze_sequences.sizes"),
        "4.4": (
            _answer_kinds(shares),
            "benchmarks of two kinds of ability on which the unedited model is above chance",
        ),
        "4.5": (_answer_safety(abilities, comparisons), "TruthfulQA or ToxiGen in abilities.tasks"),
    }
    return [
        Finding(section, *FINDINGS[section], sentences=tuple(sentences), missing=requirement)
        for section, (sentences, requirement) in answers.items()
    ]


def share(row: Row) -> str:
    """Format a share with its interval, if there is one; a share below chance counts as 0."""
    value, low, high = (f"{max(row[name], 0):.0%}" for name in ("value", "low", "high"))
    return f"{value} (no interval)" if isnan(row["low"]) or isnan(row["high"]) else f"{value} [{low}, {high}]"


def difference(first: Row, second: Row) -> tuple[float, float, float]:
    """Compute first - second with its interval."""
    centre = first["value"] - second["value"]
    low = centre - hypot(first["value"] - first["low"], second["high"] - second["value"])
    high = centre + hypot(first["high"] - first["value"], second["value"] - second["low"])
    return centre, low, high


def _points(interval: tuple[float, float, float]) -> str:
    centre, low, high = (100 * number for number in interval)
    return f"{centre:.0f} points [{low:.0f}, {high:.0f}]"


def _answer_few_edits(general_shares: pd.DataFrame, loss: float) -> Iterator[str]:
    for model, model_rows in general_shares.groupby("model", sort=False):
        steps = sorted(model_rows["edits"].unique())
        for edits in dict.fromkeys((steps[0], steps[-1])):
            rows = sorted(records(model_rows[model_rows["edits"] == edits]), key=lambda row: -row["value"])
            n_more, n_less = (
                sum(row[bound] * sign > (1 - loss) * sign for row in rows) for bound, sign in (("low", 1), ("high", -1))
            )
            method_list = ", ".join(f"{label_of(row['method'], METHODS)} {share(row)}" for row in rows)
            yield (
                f"{model} after {edits} edit{'' if edits == 1 else 's'}: of {len(rows)} methods {n_more} keep "
                f"significantly more than {1 - loss:.0%} of the scores above chance, {n_less} significantly less, and "
                f"of {len(rows) - n_more - n_less} it cannot be told: {method_list} ({_sample(rows[0])})."
            )
        if len(rows) > 1:
            gap = difference(rows[0], rows[-1])
            phrase = "the methods differ" if gap[1] > 0 else "the difference is not significant"
            yield (
                f"{label_of(rows[0]['method'], METHODS)} minus {label_of(rows[-1]['method'], METHODS)} after "
                f"{steps[-1]}: {_points(gap)}; {phrase}."
            )


def _sample(row: Row) -> str:
    orders = f", {int(row['n_orders'])} orders of edits" if row["n_orders"] > 1 else ", one order of edits"
    several = "" if row["n_benchmarks"] == 1 else "s"
    return f"{int(row['n'])} documents of {int(row['n_benchmarks'])} benchmark{several}{orders}"


def _answer_tuned(general_shares: pd.DataFrame, base: Mapping[str, str]) -> Iterator[str]:
    present = set(general_shares["model"])
    for tuned_model, base_model in base.items():
        if {tuned_model, base_model} <= present:
            yield from _compare_models(general_shares, tuned_model, base_model)


def _answer_sizes(general_shares: pd.DataFrame, sizes: Mapping[str, float]) -> Iterator[str]:
    models = sorted((model for model in set(general_shares["model"]) if model in sizes), key=lambda model: sizes[model])
    if len(models) > 1:
        yield from _compare_models(general_shares, models[-1], models[0])


def _compare_models(general_shares: pd.DataFrame, first_model: str, second_model: str) -> Iterator[str]:
    """Compare two models for each method, at the last number of edits that both have."""
    pairs = general_shares[general_shares["model"] == first_model].merge(
        general_shares[general_shares["model"] == second_model], on=["method", "edits"]
    )
    for method in in_order(pairs["method"], METHODS):
        edits = int(pairs.loc[pairs["method"] == method, "edits"].max())
        rows = general_shares[(general_shares["method"] == method) & (general_shares["edits"] == edits)].set_index(
            "model"
        )
        first, second = (records(rows.loc[[model]])[0] for model in (first_model, second_model))
        gap = difference(first, second)
        phrase = "loses less" if gap[1] > 0 else "loses more" if gap[2] < 0 else "does not differ significantly"
        yield (
            f"{label_of(method, METHODS)}, {edits} edits: {first_model} keeps {share(first)}, {second_model} "
            f"{share(second)}: {_points(gap)}; {first_model} {phrase} ({_sample(first)}; {_sample(second)})."
        )


def _answer_kinds(ability_retention: pd.DataFrame) -> Iterator[str]:
    kinds = ability_retention[~ability_retention["ability"].isin([ALL, SAFETY])]
    for (model, method), method_rows in kinds.groupby(["model", "method"], sort=False):
        edits = method_rows["edits"].max()
        rows = sorted(records(method_rows[method_rows["edits"] == edits]), key=lambda row: -row["value"])
        if len(rows) < 2:
            continue
        gap = difference(rows[0], rows[-1])
        ability_list = ", ".join(f"{label_of(row['ability'], ABILITIES).lower()} {share(row)}" for row in rows)
        phrase = "kinds of ability differ" if gap[1] > 0 else "the difference is not significant"
        documents = sum(int(row["n"]) for row in rows)
        yield (
            f"{model}, {label_of(str(method), METHODS)}, {edits} edits: {ability_list}; the best minus the worst "
            f"{_points(gap)}: {phrase} ({documents} documents)."
        )


def _answer_safety(abilities: pd.DataFrame, comparisons: pd.DataFrame) -> Iterator[str]:
    safety_benchmarks = set(abilities.loc[abilities["ability"] == SAFETY, "benchmark"])
    scores = comparisons[comparisons["quantity"] == "score"]
    for (model, benchmark, method), comparison_rows in scores.groupby(["model", "benchmark", "method"], sort=False):
        if benchmark not in safety_benchmarks:
            continue
        edits = comparison_rows["edits"].max()
        last = comparison_rows[comparison_rows["edits"] == edits]
        first = last.iloc[0]
        test = f", Holm {write_p(first['p_holm'])}" if len(last) == 1 and pd.notna(first["p_holm"]) else ""
        yield (
            f"{model}, {label_of(str(benchmark), BENCHMARKS)}, {label_of(str(method), METHODS)}, {edits} edits: from "
            f"{first['before']:.0%} to {last['after'].mean():.0%}, "
            f"{_points(tuple(last[name].mean() for name in ('difference', 'low', 'high')))}{test} "
            f"({int(first['n'])} documents{f', {len(last)} orders' if len(last) > 1 else ''})"
            f"{_describe_balanced(abilities, str(model), str(benchmark), str(method), int(edits))}."
        )


def _describe_balanced(abilities: pd.DataFrame, model: str, benchmark: str, method: str, edits: int) -> str:
    """Describe balanced accuracy, if there is any, and the flag of the figure."""
    benchmark_rows = abilities[(abilities["model"] == model) & (abilities["benchmark"] == benchmark)]
    at = benchmark_rows[(benchmark_rows["method"] == method) & (benchmark_rows["edits"] == edits)]
    balanced_rows, before = (
        rows[rows["quantity"] == "balanced"] for rows in (at, benchmark_rows[benchmark_rows["method"] == UNEDITED])
    )
    text = ""
    if len(balanced_rows) and len(before):
        text = f"; balanced accuracy from {before['value'].iloc[0]:.0%} to {share(records(balanced_rows)[0])}"
    flag = str(at["flag"].iloc[0]) if len(at) else "fine"
    return text if flag == "fine" else f"{text}; {flag}"
