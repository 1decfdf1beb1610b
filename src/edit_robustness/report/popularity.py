"""Page of popularity: page views against what a model knows, overall and within relations, beside paper 1's figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from edit_robustness.labels import OUTCOMES, label_of
from edit_robustness.notation import write_p
from edit_robustness.report.page import environment, figure_json, read_vendored, script, style
from edit_robustness.report.rows import records

PAPER_1: Mapping[str, float] = {"rho": 0.113, "median": 0.11, "n_relations": 34, "n_positive": 27}
"""arXiv 2402.05827, RQ3, Llama-2-7B-chat on CounterFact: Spearman's correlation over all facts and within relations."""

PAPER_OUTCOME = "log_probability_true"
"""Outcome that the paper's figures are about."""


@dataclass(frozen=True)
class PopularityFindings:
    """All data of the page.

    Attributes:
        correlations: `statistics.memory.popularity_correlations`: one row per model and outcome.
        relations: One row per model, outcome and relation.
        summary: The relations counted by sign.
        figure: Forest of the relations.
        confidence: Level of all intervals.
    """

    correlations: pd.DataFrame
    relations: pd.DataFrame
    summary: pd.DataFrame
    figure: go.Figure
    confidence: float = 0.95


def render_popularity(findings: PopularityFindings) -> str:
    """Render one self-contained HTML document; every text of the table is escaped."""
    template = environment().get_template("popularity.html.j2")
    return template.render(
        style=Markup(style()),
        script=Markup(script()),
        plotly=Markup(read_vendored("plotly-basic")),
        figures={"relations": figure_json(findings.figure)},
        sentences=popularity_sentences(findings.correlations, findings.summary, findings.confidence),
        correlations=records(findings.correlations),
        relations=records(findings.relations.sort_values(["outcome", "rho"], kind="stable")),
        summary=records(findings.summary),
        paper=PAPER_1,
        paper_outcome=PAPER_OUTCOME,
        confidence=findings.confidence,
    )


def popularity_sentences(correlations: pd.DataFrame, summary: pd.DataFrame, confidence: float = 0.95) -> list[str]:
    """Return for each model and outcome what was found over all facts, and one sentence on the relations.

    A sentence states an association only if it is significant after Holm's correction, and that it holds within
    relations only if the interval of its mean excludes 0.
    """
    counts = {(row["model"], row["outcome"]): row for row in records(summary)}
    sentences = []
    for row in records(correlations):
        sentences.append(_describe_overall(row, 1 - confidence))
        if (row["model"], row["outcome"]) in counts and row["n_relations"] > 1:
            sentences.append(_describe_within(row, counts[row["model"], row["outcome"]]))
    return sentences


def _describe_overall(row: Mapping[str, Any], alpha: float) -> str:
    outcome = label_of(row["outcome"], OUTCOMES).lower()
    if row["note"]:
        return f"{row['model']}: no correlation of page views with the {outcome}, because {row['note']}."
    p_holm = row["p_holm"]
    figure = (
        f"ρ = {row['rho']:.3f} [{row['low']:.3f}, {row['high']:.3f}], {row['n_facts']:,} facts, Holm {write_p(p_holm)}"
    )
    if p_holm < alpha:
        change = "higher" if row["rho"] > 0 else "lower"
        return f"{row['model']}: the {outcome} is {change} for subjects with more page views ({figure})."
    if row["detectable"] > 0:
        figure += f": not significant; correlations below {row['detectable']:.3f} may go undetected"
    else:
        figure += ": not significant"
    return f"{row['model']}: whether the {outcome} depends on page views cannot be told ({figure})."


def _describe_within(row: Mapping[str, Any], counts: Mapping[str, Any]) -> str:
    mean = f"{row['within_rho']:.3f} [{row['within_low']:.3f}, {row['within_high']:.3f}]"
    if row["within_low"] > 0 or row["within_high"] < 0:
        is_same_sign = row["within_rho"] * row["rho"] > 0
        phrase = f"significantly {'above' if row['within_low'] > 0 else 'below'} 0"
        phrase += "" if is_same_sign else ", the opposite of the sign over all facts"
    else:
        phrase = "not significantly different from 0" if row["within_low"] <= 0 else "without an interval"
    bounds = f"[{row['prediction_low']:.2f}, {row['prediction_high']:.2f}]"
    return (
        f"Within {counts['n_relations']} relations the mean correlation is {mean}, {phrase}. The median is "
        f"{counts['median']:.3f}, {counts['n_positive']} are positive, and after Holm's correction "
        f"{counts['n_above']} are above 0 and {counts['n_below']} below. A further relation is expected in {bounds} "
        f"(I² {row['i2']:.0%})."
    )
