"""Figures of robustness: success per kind of prompt and method, and the gap between protocols."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from edit_robustness.labels import KINDS, METHODS, PROTOCOLS, in_order, label_of
from edit_robustness.plots import theme
from edit_robustness.records import UNEDITED

PERCENT = {"tickformat": ".0%", "range": [-0.04, 1.04], "tickvals": [0, 0.25, 0.5, 0.75, 1]}
HOVER = (
    "%{customdata[0]}<br>%{x:.0%} [%{customdata[1]:.0%}, %{customdata[2]:.0%}]<br>"
    "%{customdata[3]} probes of %{customdata[4]} facts<extra></extra>"
)
PROTOCOL_COLOURS = {"free": "#0072B2", "teacher_forced": "#D55E00"}
COMPARED = tuple(PROTOCOL_COLOURS)
METHODS_A_ROW = 4
MANY_KINDS = 14
"""Number of kinds from which rows are lower, so that a figure stays within two screens."""


def robustness_figure(rates: pd.DataFrame) -> go.Figure:
    """Draw the share of free generations with the new object: a dot with its interval per method, kinds as rows.

    Args:
        rates: model, method, kind, protocol, metric, value, low, high, n_probes, n_facts.
    """
    scores = rates[(rates["protocol"] == "free") & (rates["metric"] == "success")].dropna(subset=["value"])
    if scores.empty:
        return theme.empty_figure("No probe of an edit was scored.")
    models = list(scores["model"].unique())
    kinds, methods = in_order(scores["kind"], KINDS), in_order(scores["method"], METHODS)
    figure = theme.panels(models if len(models) > 1 else [""], columns=2)
    for index, model in enumerate(models):
        for method in methods:
            rows = scores[(scores["model"] == model) & (scores["method"] == method)]
            trace = _dots(rows, method, methods, kinds).update(showlegend=index == 0)
            figure.add_trace(trace, **theme.cell(index, 2, len(models)))
    _kind_axis(figure, kinds)
    figure.update_xaxes(**PERCENT)
    panel_rows = -(-len(models) // 2)
    one_kind = 18 + 9 * len(methods) if len(kinds) < MANY_KINDS else 10 + 6 * len(methods)
    return theme.finish(figure, 110 + panel_rows * len(kinds) * one_kind)


def _dots(rows: pd.DataFrame, method: str, methods: list[str], kinds: list[str]) -> go.Scatter:
    """Draw one method's dots, shifted from the line of their kind so that intervals do not overlap."""
    step = 0.72 / max(len(methods), 1)
    shift = (methods.index(method) - (len(methods) - 1) / 2) * step
    colour = theme.colours(methods)[method]
    return go.Scatter(
        x=rows["value"], y=[kinds.index(kind) + shift for kind in rows["kind"]], name=theme.method_label(method),
        mode="markers", legendgroup=method, customdata=_hover(rows), hovertemplate=HOVER,
        marker={"color": colour, "size": 9, "symbol": theme.symbols(methods)[method]},
        error_x={**theme.bars(rows["value"], rows["low"], rows["high"]), "color": theme.faint(colour, 0.55)},
    )  # fmt: skip


def _hover(rows: pd.DataFrame) -> list[list[object]]:
    names = [
        f"{theme.method_label(method)}, {label_of(kind, KINDS).lower()}"
        for method, kind in zip(rows["method"], rows["kind"], strict=True)
    ]
    numbers = rows[["low", "high", "n_probes", "n_facts"]].to_numpy().tolist()
    return [[name, *values] for name, values in zip(names, numbers, strict=True)]


def _kind_axis(figure: go.Figure, kinds: list[str]) -> None:
    figure.update_yaxes(
        tickvals=list(range(len(kinds))), ticktext=[label_of(kind, KINDS) for kind in kinds],
        range=[len(kinds) - 0.5, -0.5], showgrid=False,
    )  # fmt: skip
    panels = dict.fromkeys((trace.xaxis or "x", trace.yaxis or "y") for trace in figure.data)
    # all at once: `add_hline` looks at the whole figure for each line
    lines = [
        {
            **{"type": "line", "xref": f"{x} domain", "x0": 0, "x1": 1, "yref": y, "y0": line - 0.5, "y1": line - 0.5},
            "line": {"color": theme.QUIET, "width": 1},
        }
        for line in range(1, len(kinds))
        for x, y in panels
    ]
    figure.update_layout(shapes=[*figure.layout.shapes, *lines])


def protocol_figure(rates: pd.DataFrame) -> go.Figure:
    """Draw success by teacher forcing and by free generation, connected by a line.

    Args:
        rates: The table of `robustness_figure`.
    """
    scores = rates[(rates["metric"] == "success") & rates["protocol"].isin(COMPARED) & (rates["method"] != UNEDITED)]
    scores = scores.dropna(subset=["value"])
    if scores.empty:
        return theme.empty_figure("No probe was scored under both protocols.")
    several = scores["model"].nunique() > 1
    kinds, methods = in_order(scores["kind"], KINDS), in_order(scores["method"], METHODS)
    cells = [
        (model, method)
        for model in scores["model"].unique()
        for method in methods
        if ((scores["model"] == model) & (scores["method"] == method)).any()
    ]
    titles = [f"{model}, {theme.method_label(m)}" if several else theme.method_label(m) for model, m in cells]
    figure = theme.panels(titles, METHODS_A_ROW)
    for index, (model, method) in enumerate(cells):
        rows = scores[(scores["model"] == model) & (scores["method"] == method)]
        for trace in _pair(rows, kinds, legend=index == 0):
            figure.add_trace(trace, **theme.cell(index, METHODS_A_ROW, len(cells)))
    _kind_axis(figure, kinds)
    figure.update_xaxes(**{**PERCENT, "tickvals": [0, 0.5, 1]})
    panel_rows = -(-len(cells) // METHODS_A_ROW)
    return theme.finish(figure, 130 + panel_rows * (len(kinds) * (30 if len(kinds) < MANY_KINDS else 20) + 40))


def _pair(rows: pd.DataFrame, kinds: list[str], legend: bool) -> list[go.Scatter]:
    values = rows.pivot_table(index="kind", columns="protocol", values="value", observed=True)
    values = values.reindex([kind for kind in kinds if kind in values.index]).reindex(columns=list(COMPARED))
    across, down = [], []
    for kind, row in values.iterrows():
        across += [row["free"], row["teacher_forced"], None]
        down += [kinds.index(str(kind))] * 2 + [None]
    line = go.Scatter(x=across, y=down, mode="lines", line={"color": theme.faint(theme.GREY, 0.7), "width": 2},
                      hoverinfo="skip", showlegend=False)  # fmt: skip
    return [line, *(_ends(rows[rows["protocol"] == protocol], protocol, kinds, legend) for protocol in COMPARED)]


def _ends(rows: pd.DataFrame, protocol: str, kinds: list[str], legend: bool) -> go.Scatter:
    return go.Scatter(
        x=rows["value"], y=[kinds.index(kind) for kind in rows["kind"]], mode="markers", name=PROTOCOLS[protocol],
        legendgroup=protocol, showlegend=legend, customdata=_hover(rows), hovertemplate=HOVER,
        marker={"color": PROTOCOL_COLOURS[protocol], "size": 10,
                "symbol": "circle" if protocol == "free" else "diamond"},
    )  # fmt: skip
