"""Page of popularity: page views against what a model knows, overall and within relations, beside paper 1's figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from edit_robustness.labels import OUTCOMES, label_of
from edit_robustness.report.page import environment, figure_json, script, style
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
        plotly=Markup(get_plotlyjs()),
        figures={"relations": figure_json(findings.figure)},
        sentences=popularity_sentences(findings.correlations, findings.summary),
        correlations=records(findings.correlations),
        relations=records(findings.relations.sort_values(["outcome", "rho"], kind="stable")),
        summary=records(findings.summary),
        paper=PAPER_1,
        paper_outcome=PAPER_OUTCOME,
        confidence=findings.confidence,
    )


def popularity_sentences(correlations: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """Return for each model and outcome what was found over all facts, and one sentence on the relations."""
    counts = {(row["model"], row["outcome"]): row for row in records(summary)}
    sentences = []
    for row in records(correlations):
        sentences.append(_overall(row))
        if (row["model"], row["outcome"]) in counts and row["n_relations"] > 1:
            sentences.append(_within(row, counts[row["model"], row["outcome"]]))
    return sentences


def _overall(row: Mapping[str, Any]) -> str:
    outcome = label_of(row["outcome"], OUTCOMES).lower()
    if row["note"]:
        return f"{row['model']}: no correlation of page views with the {outcome}, because {row['note']}."
    interval = f"{row['rho']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    p_text = "< .001" if row["p_holm"] < 0.001 else f"= {row['p_holm']:.3f}"
    return (
        f"{row['model']}: the correlation of page views with the {outcome} is {interval} ({row['n_facts']:,} facts, "
        f"Holm p {p_text})."
    )


def _within(row: Mapping[str, Any], counts: Mapping[str, Any]) -> str:
    mean = f"{row['within_rho']:.3f} [{row['within_low']:.3f}, {row['within_high']:.3f}]"
    bounds = f"[{row['prediction_low']:.2f}, {row['prediction_high']:.2f}]"
    return (
        f"Within {counts['n_relations']} relations the median is {counts['median']:.3f} and {counts['n_positive']} are "
        f"positive. Their mean is {mean}, and a further relation is expected in {bounds} (I² {row['i2']:.0%}). After "
        f"Holm's correction {counts['n_above']} are above 0 and {counts['n_below']} below."
    )
