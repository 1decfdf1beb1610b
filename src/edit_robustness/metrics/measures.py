"""Metrics: the name of each, the answers that it reads, the function that measures it, and its place in the report.

To add a metric, write a function and add a `Metric` to `METRICS`. The report needs nothing else. A function takes the
answers of its families, in any number, and returns a value per row (by the table's index): 0 or 1, or a real number
with a unit. NaN stands for a value that could not be measured. Rows that the metric does not apply to are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from edit_robustness.metrics.fluency import ngram_entropy, repetition

SHARE = "share"
"""Unit of metrics that are 0 or 1. Their mean is a share, with an interval inside [0, 1]."""

EDIT, PORTABILITY, SPECIFICITY_FAMILY = ("edit",), ("portability",), ("specificity",)
ALL = (*EDIT, *PORTABILITY, *SPECIFICITY_FAMILY)

Measure = Callable[[pd.DataFrame], pd.Series]


@dataclass(frozen=True)
class Metric:
    """One metric under one protocol.

    Attributes:
        name: The name in tables.
        protocol: ``free``, ``teacher_forced``, ``next_token`` (the distribution after the prompt, before anything is
            generated), ``judge``, or your own; values of different protocols are never averaged.
        families: The families of probes that the metric reads.
        measure: Function from answers to values. Besides the columns of docs/reference/answers.md, the answers have
            `verdict` (``new``, ``old`` or ``neither``: the object that the first sentence names; ``cut``: the token
            limit ended the answer before it named one), `sentence` (the first sentence), the same two of the unedited
            model as `verdict_unedited` and `sentence_unedited` (missing if it was not asked), and `judged` (a judge's
            verdict; ``cut`` if it is neither and the answer was cut, empty if it could not be read, missing without a
            judge). Answers of the family specificity have `named` (the object that the first sentence names, empty for
            none) and `known` (whether that is a stable object of the right type), and both as `named_unedited` and
            `known_unedited`.
        description: Description of the metric in one line.
        label: The name in figures and in the report; one name has one label.
        unit: `SHARE` for 0 and 1, else the unit of the values.
        higher_is_better: None if neither direction is better.
        cell: Whether the cells of the heat map show the metric, for its families under its protocol.
        columns: The families for which the table below the heat map has a column for the metric; None for all families
            that it reads.
        on_all_prompts: For a metric over known prompts, the name of the same metric over all prompts.
    """

    name: str
    protocol: str
    families: tuple[str, ...]
    measure: Measure
    description: str = ""
    label: str = ""
    unit: str = SHARE
    higher_is_better: bool | None = None
    cell: bool = False
    columns: tuple[str, ...] | None = None
    on_all_prompts: str = ""


def names(verdict: str) -> Measure:
    """Return a measure of free generation: whether the first sentence names this object first (or neither)."""

    def measure(answers: pd.DataFrame) -> pd.Series:
        rows = answers if verdict == "new" else _with_old_object(answers)
        return (rows["verdict"] == verdict).astype(float)

    return measure


def judgement(verdict: str) -> Measure:
    """Return a measure of a judge's verdict; NaN if its reply could not be read."""

    def measure(answers: pd.DataFrame) -> pd.Series:
        verdicts = answers.loc[answers["judged"].notna(), "judged"]
        return (verdicts == verdict).astype(float).where(verdicts != "")

    return measure


def compare_with_unedited(answers: pd.DataFrame) -> pd.Series:
    """Compare each answer with the unedited model's: the same object or, if both name none, the same words.

    The value is NaN if the model's log-probabilities are not finite, because its output is then meaningless. It is also
    NaN if either answer was cut before it named an object, because the rest would have decided; `cut` counts these.
    """
    same_object = answers["named"] == answers["named_unedited"]
    same_words = (answers["named"] != "") | (answers["sentence"] == answers["sentence_unedited"])
    is_measurable = np.isfinite(answers["logprob_new"]) & ~_is_cut(answers) & answers["verdict_unedited"].notna()
    return (same_object & same_words).astype(float).where(is_measurable)


def top_unchanged(answers: pd.DataFrame) -> pd.Series:
    """Compare the most probable next token with the unedited model's; NaN if it was not measured."""
    return answers["top_unchanged"].astype("boolean").astype("Float64")


def of_known(measure: Measure) -> Measure:
    """Restrict a metric to prompts that the unedited model answers with a stable object of the right type.

    Without an answer of the unedited model it is unknown whether it knows the prompt, so the value is NaN.
    """

    def measure_known(answers: pd.DataFrame) -> pd.Series:
        has_unedited = answers["verdict_unedited"].notna()
        rows = answers[~has_unedited | answers["known_unedited"].eq(True)]
        return measure(rows).astype(float).where(has_unedited.loc[rows.index])

    return measure_known


def mark_cut(answers: pd.DataFrame) -> pd.Series:
    """Mark answers that the token limit cut before they named an object.

    A specificity answer also counts if the unedited model's answer was cut.
    """
    return _is_cut(answers).astype(float)


def _is_cut(answers: pd.DataFrame) -> pd.Series:
    is_specificity = answers["family"].isin(SPECIFICITY_FAMILY)
    return (answers["verdict"] == "cut") | (is_specificity & (answers["verdict_unedited"] == "cut"))


def matches_new(answers: pd.DataFrame) -> pd.Series:
    """Check by teacher forcing whether every token of the new object is the most probable one."""
    finite = np.isfinite(answers["logprob_new"]) & (
        np.isfinite(answers["logprob_true"]) | (answers["target_true"] == "")
    )
    return answers["match_new"].astype(float).where(finite)


def matches_old(answers: pd.DataFrame) -> pd.Series:
    """Check whether every token of the old object is the most probable one, but not every token of the new object."""
    return _of_both(answers, lambda rows: rows["match_true"].astype(bool) & ~rows["match_new"].astype(bool))


def matches_neither(answers: pd.DataFrame) -> pd.Series:
    """Check whether neither object matches token by token."""
    return _of_both(answers, lambda rows: ~(rows["match_true"].astype(bool) | rows["match_new"].astype(bool)))


def prefers_new(answers: pd.DataFrame) -> pd.Series:
    """Check whether the new object is the more probable one.

    These are the efficacy and paraphrase scores of CounterFact: Meng et al. 2022, "Locating and Editing Factual
    Associations in GPT".
    """
    return _of_both(answers, lambda rows: rows["logprob_new"] > rows["logprob_true"])


def prefers_true(answers: pd.DataFrame) -> pd.Series:
    """Check whether the neighbour's true object is more probable than the edit's: CounterFact's neighbourhood score."""
    return _of_both(answers, lambda rows: rows["logprob_true"] > rows["logprob_new"])


def of_text(measure: Callable[[str], float]) -> Measure:
    """Return a measure that depends on the generated text alone."""
    return lambda answers: answers["text"].map(measure).astype(float)


def column(name: str) -> Measure:
    """Return a measure that reads a numeric column of the answers."""
    return lambda answers: answers[name].astype(float)


def _with_old_object(answers: pd.DataFrame) -> pd.DataFrame:
    return answers[answers["target_true"] != ""]


def _of_both(answers: pd.DataFrame, test: Callable[[pd.DataFrame], pd.Series]) -> pd.Series:
    """Apply a test to both log-probabilities: NaN if one is not finite, no row if there is no old object."""
    rows = _with_old_object(answers)
    finite = np.isfinite(rows["logprob_new"]) & np.isfinite(rows["logprob_true"])
    return test(rows).astype(float).where(finite)


_success = partial(Metric, "success", label="New object", higher_is_better=True, cell=True, columns=())
_reversion = partial(Metric, "reversion", label="Old object", higher_is_better=False, columns=())
_neither = partial(Metric, "neither", label="Neither object", higher_is_better=False, columns=())
_cut_off = partial(Metric, "cut", label="Cut off", higher_is_better=False)
_portability = partial(Metric, "portability", label="Portability", higher_is_better=True, cell=True)
_specificity = partial(Metric, "specificity", label="Known answers unchanged", higher_is_better=True, cell=True)
_top_token = partial(Metric, protocol="next_token", families=SPECIFICITY_FAMILY, higher_is_better=True, columns=())

METRICS: tuple[Metric, ...] = (
    _success("free", EDIT, names("new"), "The first sentence names the new object first."),
    _reversion("free", EDIT, names("old"), "The first sentence names the old object first."),
    _neither("free", EDIT, names("neither"), "The answer is complete and names neither object."),
    _cut_off("free", ALL, mark_cut, "The limit of tokens ended the answer before it named an object."),
    _portability("free", PORTABILITY, names("new"), "The first sentence names the object that follows from the edit."),
    _specificity(
        "free",
        SPECIFICITY_FAMILY,
        of_known(compare_with_unedited),
        "The answer is that of the unedited model, on known prompts.",
        on_all_prompts="specificity_all",
    ),
    Metric(
        "specificity_all",
        "free",
        SPECIFICITY_FAMILY,
        compare_with_unedited,
        "The answer is that of the unedited model, on all prompts.",
        label="All answers unchanged",
        higher_is_better=True,
        columns=(),
    ),
    Metric(
        "entropy",
        "free",
        ALL,
        of_text(ngram_entropy),
        "Entropy of the answer's bigrams and trigrams.",
        label="N-gram entropy",
        unit="bits",
        columns=EDIT,
    ),
    Metric(
        "repetition",
        "free",
        ALL,
        of_text(repetition),
        "Share of bigrams that repeat an earlier one.",
        label="Repeated bigrams",
        unit="of bigrams",
        higher_is_better=False,
        columns=EDIT,
    ),
    Metric(
        "length",
        "free",
        ALL,
        column("tokens"),
        "Number of generated tokens.",
        label="Length",
        unit="tokens",
        columns=EDIT,
    ),
    _success("teacher_forced", EDIT, matches_new, "Every token of the new object is the most probable one."),
    _reversion("teacher_forced", EDIT, matches_old, "Every token of the old object is the most probable one."),
    _neither("teacher_forced", EDIT, matches_neither, "Neither object is matched token by token."),
    Metric(
        "preference",
        "teacher_forced",
        EDIT,
        prefers_new,
        "The new object is more probable than the old one.",
        label="New object more probable than old",
        higher_is_better=True,
        columns=(),
    ),
    _portability("teacher_forced", PORTABILITY, matches_new, "Every token of what follows is matched.", columns=()),
    _specificity(
        "teacher_forced", SPECIFICITY_FAMILY, prefers_true, "The true object is more probable than the new.", columns=()
    ),
    Metric(
        "margin",
        "next_token",
        ALL,
        column("margin"),
        "Difference in log-probability between the most probable first token and the second.",
        label="Margin of the first token",
        unit="nats",
        columns=EDIT,
    ),
    _top_token(
        "top_token",
        measure=of_known(top_unchanged),
        description="The most probable next token is that of the unedited model, on known prompts.",
        label="Top token unchanged, known answers",
        cell=True,
        on_all_prompts="top_token_all",
    ),
    _top_token(
        "top_token_all",
        measure=top_unchanged,
        description="The most probable next token is that of the unedited model, on all prompts.",
        label="Top token unchanged, all answers",
    ),
    Metric(
        "kl",
        "next_token",
        SPECIFICITY_FAMILY,
        column("kl"),
        "KL divergence of the next-token distribution from the unedited model's.",
        label="Divergence",
        unit="nats",
        higher_is_better=False,
    ),
    _success("judge", EDIT, judgement("new"), "A judge says that the answer gives the new object."),
    _reversion("judge", EDIT, judgement("old"), "A judge says that the answer gives the old object."),
    _neither("judge", EDIT, judgement("neither"), "A judge says that the answer gives neither object."),
    _cut_off(
        "judge", (*EDIT, *PORTABILITY), judgement("cut"), "A judge found no object, and the answer was cut.", columns=()
    ),
    _portability(
        "judge", PORTABILITY, judgement("new"), "A judge says that the answer gives what follows.", columns=()
    ),
)
"""All metrics, in the order of tables."""
