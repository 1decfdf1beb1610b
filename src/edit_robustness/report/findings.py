"""The second paper's findings, each beside what this run says of it: computed from the tables, or "not run here".

A difference of two estimates has the interval of Zou and Donner (2008): their distances to their own bounds add up in
squares. It is said to be one where that interval leaves out 0, and else that the two cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import hypot
from typing import Any

import pandas as pd

from edit_robustness.labels import ABILITIES, BENCHMARKS, METHODS, ability_of, in_order, spoken
from edit_robustness.report.page import records
from edit_robustness.report.paper2 import FINDINGS

ALL, SAFETY, UNEDITED = "all", "safety", "none"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One finding: the paper's section, the question, what it found, its caveat, and ours; `ours` is empty if not run.

    `missing` says what a run needs for an answer.
    """

    section: str
    question: str
    theirs: str
    caveat: str
    ours: tuple[str, ...]
    missing: str


def findings(
    kept: pd.DataFrame,
    abilities: pd.DataFrame,
    comparisons: pd.DataFrame,
    *,
    loss: float,
    base: Mapping[str, str],
    sizes: Mapping[str, float],
) -> list[Finding]:
    """All findings, by the paper's sections.

    Args:
        kept: What `statistics.kept.kept_paths` gives.
        abilities: What `statistics.abilities.ability_paths` gives.
        comparisons: What `statistics.paired.compare` gives.
        loss: The share of the general abilities from which on a model counts as hurt.
        base: Instruction-tuned models and the base model of each.
        sizes: Models and their billions of parameters.
    """
    known = kept.dropna(subset=["value"])
    # what lies below chance is nothing: a model cannot lose more than it had
    known = known.assign(**known[["value", "low", "high"]].clip(lower=0))
    whole = known[known["ability"] == ALL]
    answers = {
        "4.1": (_few(whole, loss), "an editing method, and a benchmark on which the unedited model is above chance"),
        "4.2": (_tuned(whole, base), "an instruction-tuned model and its base model, paired in damage.base"),
        "4.3": (_larger(whole, sizes), "two models whose sizes stand in damage.sizes"),
        "4.4": (_alike(known), "benchmarks of two kinds of ability on which the unedited model is above chance"),
        "4.5": (_safety(abilities, comparisons), "TruthfulQA or ToxiGen among abilities.tasks"),
    }
    return [
        Finding(section, *FINDINGS[section], ours=tuple(ours), missing=missing)
        for section, (ours, missing) in answers.items()
    ]


def share(row: Row) -> str:
    """A share with its interval; what lies below chance is nothing."""
    value, low, high = (f"{max(row[name], 0):.0%}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def difference(one: Row, other: Row) -> tuple[float, float, float]:
    """one - other with its interval."""
    centre = one["value"] - other["value"]
    low = centre - hypot(one["value"] - one["low"], other["high"] - other["value"])
    high = centre + hypot(one["high"] - one["value"], other["value"] - other["low"])
    return centre, low, high


def _points(found: tuple[float, float, float]) -> str:
    centre, low, high = (100 * number for number in found)
    return f"{centre:+.0f} points [{low:+.0f}, {high:+.0f}]"


def _few(whole: pd.DataFrame, loss: float) -> Iterator[str]:
    for model, own in whole.groupby("model", sort=False):
        steps = sorted(own["edits"].unique())
        for edits in dict.fromkeys((steps[0], steps[-1])):
            rows = sorted(records(own[own["edits"] == edits]), key=lambda row: -row["value"])
            well = sum(row["value"] > 1 - loss for row in rows)
            named = ", ".join(f"{spoken(row['method'], METHODS)} {share(row)}" for row in rows)
            yield (
                f"{model} after {edits} edit{'' if edits == 1 else 's'}: {well} of {len(rows)} methods keep more than "
                f"{1 - loss:.0%} of what the model can do above chance: {named} ({_sample(rows[0])})."
            )
        if len(rows) > 1:
            apart = difference(rows[0], rows[-1])
            verdict = "the methods differ" if apart[1] > 0 else "the methods cannot be told apart"
            yield (
                f"{spoken(rows[0]['method'], METHODS)} minus {spoken(rows[-1]['method'], METHODS)} after "
                f"{steps[-1]}: {_points(apart)}; {verdict}."
            )


def _sample(row: Row) -> str:
    orders = f", {int(row['n_orders'])} orders of edits" if row["n_orders"] > 1 else ", one order of edits"
    several = "" if row["n_benchmarks"] == 1 else "s"
    return f"{int(row['n'])} documents of {int(row['n_benchmarks'])} benchmark{several}{orders}"


def _tuned(whole: pd.DataFrame, base: Mapping[str, str]) -> Iterator[str]:
    present = set(whole["model"])
    for tuned, plain in base.items():
        if {tuned, plain} <= present:
            yield from _compared(whole, tuned, plain)


def _larger(whole: pd.DataFrame, sizes: Mapping[str, float]) -> Iterator[str]:
    known = sorted((model for model in set(whole["model"]) if model in sizes), key=lambda model: sizes[model])
    if len(known) > 1:
        yield from _compared(whole, known[-1], known[0])


def _compared(whole: pd.DataFrame, one: str, other: str) -> Iterator[str]:
    """Every method that both models were edited by, at the last number of edits that both have."""
    pairs = whole[whole["model"] == one].merge(whole[whole["model"] == other], on=["method", "edits"])
    for method in in_order(pairs["method"], METHODS):
        edits = int(pairs.loc[pairs["method"] == method, "edits"].max())
        at = whole[(whole["method"] == method) & (whole["edits"] == edits)].set_index("model")
        first, second = (records(at.loc[[model]])[0] for model in (one, other))
        apart = difference(first, second)
        verdict = "loses less" if apart[1] > 0 else "loses more" if apart[2] < 0 else "cannot be told from it"
        yield (
            f"{spoken(method, METHODS)}, {edits} edits: {one} keeps {share(first)}, {other} {share(second)}: "
            f"{_points(apart)}; {one} {verdict} ({_sample(first)}; {_sample(second)})."
        )


def _alike(kept: pd.DataFrame) -> Iterator[str]:
    kinds = kept[~kept["ability"].isin([ALL, SAFETY])]
    for (model, method), own in kinds.groupby(["model", "method"], sort=False):
        edits = own["edits"].max()
        rows = sorted(records(own[own["edits"] == edits]), key=lambda row: -row["value"])
        if len(rows) < 2:
            continue
        apart = difference(rows[0], rows[-1])
        named = ", ".join(f"{spoken(row['ability'], ABILITIES).lower()} {share(row)}" for row in rows)
        verdict = "kinds are hurt differently" if apart[1] > 0 else "kinds cannot be told apart"
        documents = sum(int(row["n"]) for row in rows)
        yield (
            f"{model}, {spoken(str(method), METHODS)}, {edits} edits: {named}; the best minus the worst "
            f"{_points(apart)}: {verdict} ({documents} documents)."
        )


def _safety(abilities: pd.DataFrame, comparisons: pd.DataFrame) -> Iterator[str]:
    scores = comparisons[comparisons["measure"] == "score"]
    for (model, benchmark, method), own in scores.groupby(["model", "benchmark", "method"], sort=False):
        if ability_of(str(benchmark)) != SAFETY:
            continue
        edits = own["edits"].max()
        last = own[own["edits"] == edits]
        first = last.iloc[0]
        test = f", Holm p = {first['p_holm']:.2g}" if len(last) == 1 and pd.notna(first["p_holm"]) else ""
        yield (
            f"{model}, {spoken(str(benchmark), BENCHMARKS)}, {spoken(str(method), METHODS)}, {edits} edits: from "
            f"{first['before']:.0%} to {last['after'].mean():.0%}, "
            f"{_points(tuple(last[name].mean() for name in ('difference', 'low', 'high')))}{test} "
            f"({int(first['n'])} documents{f', {len(last)} orders' if len(last) > 1 else ''})"
            f"{_beside(abilities, str(model), str(benchmark), str(method), int(edits))}."
        )


def _beside(abilities: pd.DataFrame, model: str, benchmark: str, method: str, edits: int) -> str:
    """Balanced accuracy, where there is one, and what the figure is worth."""
    own = abilities[(abilities["model"] == model) & (abilities["benchmark"] == benchmark)]
    at = own[(own["method"] == method) & (own["edits"] == edits)]
    balanced, before = (rows[rows["quantity"] == "balanced"] for rows in (at, own[own["method"] == UNEDITED]))
    text = ""
    if len(balanced) and len(before):
        text = f"; balanced accuracy from {before['value'].iloc[0]:.0%} to {share(records(balanced)[0])}"
    verdict = str(at["verdict"].iloc[0]) if len(at) else "fine"
    return text if verdict == "fine" else f"{text}; {verdict}"
