"""Figures of popularity: recall and success over page views, and forests of correlations with page views."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from edit_robustness.labels import METHODS, in_order, outcome_label, outcome_order
from edit_robustness.notation import write_p
from edit_robustness.plots import theme
from edit_robustness.records import OBJECT_NAMES

TRUE, NEW = "#0072B2", "#D55E00"
VIEWS = {1: "10", 2: "100", 3: "1,000", 4: "10,000", 5: "100,000", 6: "1 million", 7: "10 million", 8: "100 million"}
SMALL_FACT = 3


def popularity_figure(
    features: pd.DataFrame, curves: pd.DataFrame, trend: pd.DataFrame, classes: pd.DataFrame | None = None
) -> go.Figure:
    """Draw two panels per model: the share of facts recalled, and each fact's perplexities, over page views.

    Args:
        features: model, subject, log_views, perplexity_true, perplexity_new; facts without page views are skipped.
        curves: model, outcome, feature, x (log10 views), value, low, high, n_facts (`statistics.curves`).
        trend: model, target, log_views, log_perplexity.
        classes: model, outcome, feature, centre, value, low, high, n_facts, drawn over the curve; None or no rows: no
            classes. Classes without facts have no row.
    """
    models = [
        model
        for model in features["model"].unique()
        if features.loc[features["model"] == model, "log_views"].notna().any()
    ]
    if not models:
        return theme.empty_figure("No fact has page views.")
    titles = []
    for model in models:
        before = f"{model}: " if len(models) > 1 else ""
        titles += [f"{before}Facts recalled without an edit", f"{before}Perplexity of the objects"]
    figure = theme.panels(titles, columns=2, shared_axes=False)
    for row, model in enumerate(models, start=1):
        for trace in curve_traces(_select(curves, model, "recalled"), TRUE, "Recalled"):
            figure.add_trace(trace, row=row, col=1)
        if classes is not None and len(classes):
            figure.add_trace(_class_marks(_select(classes, model, "recalled"), TRUE), row=row, col=1)
        for target, colour in (("true", TRUE), ("new", NEW)):
            points = features[features["model"] == model].dropna(subset=["log_views"])
            curve = trend[(trend["model"] == model) & (trend["target"] == target)]
            figure.add_trace(_points(points, target, colour, row == 1), row=row, col=2)
            figure.add_trace(_curve(curve, target, colour), row=row, col=2)
    return _axes(figure, len(models))


def _select(table: pd.DataFrame, model: str, outcome: str) -> pd.DataFrame:
    return table[(table["model"] == model) & (table["outcome"] == outcome) & (table["feature"] == "log_views")]


def curve_traces(rows: pd.DataFrame, colour: str, name: str, legend: bool = False) -> list[go.Scatter]:
    """Return the traces of a curve and its band; no traces without rows."""
    if not len(rows):
        return []
    # down the upper bound and back along the lower one
    outline = pd.concat([rows["x"], rows["x"][::-1]]), pd.concat([rows["high"], rows["low"][::-1]])
    band = go.Scatter(
        x=outline[0], y=outline[1], fill="toself", mode="lines", line={"width": 0}, hoverinfo="skip",
        fillcolor=theme.faint(colour, 0.16), showlegend=False, legendgroup=name,
    )  # fmt: skip
    line = go.Scatter(
        x=rows["x"], y=rows["value"], mode="lines", name=name, legendgroup=name, showlegend=legend,
        line={"color": colour, "width": 2.5}, customdata=rows[["low", "high", "n_facts"]].to_numpy(),
        hovertemplate=f"{name}: %{{y:.0%}} [%{{customdata[0]:.0%}}, %{{customdata[1]:.0%}}]<br>"
        "%{customdata[2]} facts in all<extra></extra>",
    )  # fmt: skip
    return [band, line]


def _class_marks(rows: pd.DataFrame, colour: str) -> go.Scatter:
    return go.Scatter(
        x=rows["centre"], y=rows["value"], mode="markers+text", showlegend=False,
        text=[f" n={n}" for n in rows["n_facts"]], textposition="middle right", textfont={"size": 11}, cliponaxis=False,
        marker={"color": colour, "size": 9},
        error_y={**theme.bars(rows["value"], rows["low"], rows["high"]), "color": theme.faint(colour, 0.6)},
        customdata=rows[["low", "high", "n_facts"]].to_numpy(),
        hovertemplate="%{y:.0%} [%{customdata[0]:.0%}, %{customdata[1]:.0%}]<br>%{customdata[2]} facts<extra></extra>",
    )  # fmt: skip


def success_figure(curves: pd.DataFrame, outcomes: tuple[str, ...] = ("efficacy", "generalization")) -> go.Figure:
    """Draw outcomes of edits over page views: a panel per model and outcome, a curve with its band per method.

    Args:
        curves: model, method, outcome, feature, x, value, low, high, n_facts (`statistics.curves`).
        outcomes: The outcomes that are drawn.
    """
    rows = curves[curves["outcome"].isin(outcomes) & (curves["feature"] == "log_views")] if len(curves) else curves
    if not len(rows):
        return theme.empty_figure("Too few edited facts have page views for a curve.")
    models, methods = list(rows["model"].unique()), in_order(rows["method"], METHODS)
    several, colours = len(models) > 1, theme.colours(methods)
    cells = [(model, outcome) for model in models for outcome in outcomes]
    titles = [f"{model}: {outcome_label(outcome)}" if several else outcome_label(outcome) for model, outcome in cells]
    figure = theme.panels(titles, columns=len(outcomes))
    for index, (model, outcome) in enumerate(cells):
        for method in methods:
            part = _select(rows[rows["method"] == method], model, outcome)
            for trace in curve_traces(part, colours[method], theme.method_label(method), legend=index == 0):
                figure.add_trace(trace, **theme.cell(index, len(outcomes), len(cells)))
    figure.update_xaxes(tickvals=list(VIEWS), ticktext=list(VIEWS.values()), title_text="Page views per month")
    figure.update_yaxes(tickformat=".0%", range=[-0.02, 1.02])
    return theme.finish(figure, 120 + 320 * len(models))


def _points(rows: pd.DataFrame, target: str, colour: str, legend: bool) -> go.Scatter:
    perplexity = rows[f"perplexity_{target}"].astype(float)
    return go.Scatter(
        x=rows["log_views"], y=np.log10(perplexity), mode="markers", name=OBJECT_NAMES[target].capitalize(),
        legendgroup=target, showlegend=legend, marker={"color": theme.faint(colour, 0.42), "size": 5},
        customdata=np.column_stack([rows["subject"].astype(str), perplexity.map("{:,.3g}".format)]),
        hovertemplate=f"%{{customdata[0]}}<br>perplexity of the {OBJECT_NAMES[target]} "
        "%{customdata[1]}<extra></extra>",
    )  # fmt: skip


def _curve(rows: pd.DataFrame, target: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=rows["log_views"], y=rows["log_perplexity"], mode="lines", legendgroup=target, showlegend=False,
        line={"color": colour, "width": 3}, hoverinfo="skip",
    )  # fmt: skip


def _axes(figure: go.Figure, n_models: int) -> go.Figure:
    figure.update_xaxes(tickvals=list(VIEWS), ticktext=list(VIEWS.values()), title_text="Page views per month")
    figure.update_yaxes(col=1, tickformat=".0%", rangemode="tozero")
    powers = list(range(0, 13, 1))
    figure.update_yaxes(col=2, tickvals=powers, ticktext=[_power(k) for k in powers], showticklabels=True)
    return theme.finish(figure, 100 + 330 * n_models)


def _power(k: int) -> str:
    return f"{10**k:,}" if k <= SMALL_FACT else f"10<sup>{k}</sup>"


def correlation_figure(correlations: pd.DataFrame, alpha: float = 0.05) -> go.Figure:
    """Draw a forest of Spearman correlations with page views; grey bars mark correlations too small to detect.

    Args:
        correlations: model, family, method, protocol, outcome, feature, primary, rho, low, high, n_facts, detectable,
            p_holm. Primary correlations with log_views are drawn, of edits those by free generation.
        alpha: Significance level; marks are filled if p_holm is below it.
    """
    rows = correlations
    if len(correlations):
        is_shown = (correlations["family"] == "recall") | (correlations["protocol"] == "free")
        is_shown &= (correlations["feature"] == "log_views") & correlations["primary"].astype(bool)
        rows = correlations[is_shown].dropna(subset=["rho"])
    if not len(rows):
        return theme.empty_figure("No correlation could be computed. The table contains the reasons.")
    rows = _sort(rows).reset_index(drop=True)
    several = rows["model"].nunique() > 1
    labels = [_label(row, several) for row in rows.itertuples()]
    figure = go.Figure([_band(rows), *(_marks(rows, family, alpha) for family in ("recall", "edit"))])
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=labels, range=[len(rows) - 0.4, -0.6], showgrid=False)
    figure.update_xaxes(range=[-1, 1], title_text="Spearman's correlation with page views", dtick=0.25)
    figure.add_vline(x=0, line={"color": theme.GREY, "width": 1})
    for index, n in enumerate(rows["n_facts"]):
        figure.add_annotation(x=1, y=index, text=f"n = {n}", showarrow=False, xanchor="right", font={"size": 11})
    return theme.finish(figure, 150 + 26 * len(rows), barmode="overlay")


def relation_figure(relations: pd.DataFrame, alpha: float = 0.05, outcome: str = "log_probability_true") -> go.Figure:
    """Draw a forest of the correlations with page views within each relation, the largest at the top.

    Args:
        relations: model, outcome, relation, rho, low, high, p_holm, n_facts.
        alpha: Significance level; marks are filled if p_holm is below it.
        outcome: The outcome that is drawn.
    """
    rows = relations[relations["outcome"] == outcome].sort_values(["model", "rho"], ascending=[True, False])
    if not len(rows):
        return theme.empty_figure("No relation has enough facts with page views.")
    several = rows["model"].nunique() > 1
    labels = [f"{model}, {name}" if several else str(name) for model, name in rows[["model", "relation"]].to_numpy()]
    figure = go.Figure(
        go.Scatter(
            x=rows["rho"], y=list(range(len(rows))), mode="markers", showlegend=False,
            marker={"color": TRUE, "size": 9, "line": {"width": 2, "color": TRUE},
                    "symbol": ["circle" if p < alpha else "circle-open" for p in rows["p_holm"]]},
            error_x={**theme.bars(rows["rho"], rows["low"], rows["high"]), "color": theme.faint(TRUE, 0.6)},
            customdata=_with_p(rows, "low", "high", "p_holm", "n_facts"), text=labels,
            hovertemplate="%{text}<br>ρ = %{x:.2f} [%{customdata[0]:.2f}, %{customdata[1]:.2f}]<br>"
            "Holm %{customdata[2]}<br>%{customdata[3]} facts<extra></extra>",
        )
    )  # fmt: skip
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=labels, range=[len(rows) - 0.4, -0.6], showgrid=False)
    figure.update_xaxes(range=[-1, 1], title_text="Spearman's correlation with page views", dtick=0.25)
    figure.add_vline(x=0, line={"color": theme.GREY, "width": 1})
    return theme.finish(figure, 110 + 20 * len(rows))


def _with_p(rows: pd.DataFrame, *names: str) -> np.ndarray:
    """Return columns for the text of marks, with the corrected p-value as it stands in a sentence."""
    return rows[list(names)].assign(p_holm=rows["p_holm"].astype(float).map(write_p)).to_numpy()


def _sort(rows: pd.DataFrame) -> pd.DataFrame:
    methods, outcomes = in_order(rows["method"], METHODS), outcome_order(rows["outcome"])
    places = {
        "family": rows["family"].map({"recall": 0, "edit": 1}),
        "method": rows["method"].map(methods.index),
        "outcome": rows["outcome"].map(outcomes.index),
    }
    order = pd.DataFrame({"model": rows["model"], **places}).sort_values(["family", "model", "method", "outcome"])
    return rows.loc[order.index]


def _label(row: Any, several: bool) -> str:
    outcome = outcome_label(row.outcome)
    text = f"{outcome}" if row.family == "recall" else f"{theme.method_label(row.method)}: {outcome.lower()}"
    return f"{row.model}, {text}" if several else text


def _band(rows: pd.DataFrame) -> go.Bar:
    return go.Bar(
        x=2 * rows["detectable"], base=-rows["detectable"], y=list(range(len(rows))), orientation="h", width=0.8,
        marker={"color": theme.faint(theme.GREY, 0.18), "line": {"width": 0}}, hoverinfo="skip",
        name="Too small to detect with this n",
    )  # fmt: skip


def _marks(rows: pd.DataFrame, family: str, alpha: float) -> go.Scatter:
    family_rows = rows[rows["family"] == family]
    colour = {"recall": TRUE, "edit": NEW}[family]
    sure = family_rows["p_holm"] < alpha
    return go.Scatter(
        x=family_rows["rho"], y=family_rows.index, mode="markers",
        name={"recall": "Recall, no edit", "edit": "Edit outcomes, free generation"}[family],
        marker={"color": colour, "size": 10, "symbol": ["circle" if s else "circle-open" for s in sure],
                "line": {"width": 2, "color": colour}},
        error_x={
            **theme.bars(family_rows["rho"], family_rows["low"], family_rows["high"]),
            "color": theme.faint(colour, 0.6),
        },
        customdata=_with_p(family_rows, "low", "high", "p_holm", "n_facts", "detectable"),
        hovertemplate="ρ = %{x:.2f} [%{customdata[0]:.2f}, %{customdata[1]:.2f}]<br>Holm %{customdata[2]}"
        "<br>%{customdata[3]} facts detect |ρ| of %{customdata[4]:.2f} or more<extra></extra>",
    )  # fmt: skip
