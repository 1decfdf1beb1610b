"""Figures whose x axis is not the number of edits: the frontier, model scale, drift by layer, survival."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from edit_robustness.labels import METHODS, in_order
from edit_robustness.plots import theme
from edit_robustness.records import UNEDITED

PANELS_A_ROW = 3
SQUARE = {"tickformat": ".0%", "range": [-0.05, 1.08], "tickvals": [0, 0.25, 0.5, 0.75, 1]}


def frontier_figure(frontier: pd.DataFrame) -> go.Figure:
    """Draw knowledge retention against edit retention: one path per method, with the number of edits at each point.

    Args:
        frontier: Output of `statistics.edit_retention.frontier`.
    """
    if frontier.empty:
        return theme.empty_figure("No edited fact or no unedited fact was probed.")
    models = list(frontier["model"].unique())
    methods = [method for method in in_order(frontier["method"], METHODS) if method != UNEDITED]
    figure = theme.panels(models if len(models) > 1 else [""], 2)
    for index, model in enumerate(models):
        model_rows = frontier[frontier["model"] == model]
        start = model_rows[model_rows["method"] == UNEDITED]
        for method in methods:
            rows = pd.concat([start, model_rows[model_rows["method"] == method].sort_values("edits")])
            trace = _path(rows, method, methods).update(showlegend=index == 0)
            figure.add_trace(trace, **theme.cell(index, 2, len(models)))
    figure.update_xaxes(**SQUARE, title_text="Knowledge retention (unedited facts)")
    figure.update_yaxes(**SQUARE)
    figure.update_yaxes(title_text="Edit retention (all edits so far)", col=1)
    return theme.finish(figure, 130 + 400 * -(-len(models) // 2))


def _bars(rows: pd.DataFrame, column: str) -> dict[str, object]:
    return theme.bars(rows[column], rows[f"{column}_low"], rows[f"{column}_high"])


def _path(rows: pd.DataFrame, method: str, methods: list[str]) -> go.Scatter:
    colour = theme.colours(methods)[method]
    faint = theme.faint(colour, 0.35)
    return go.Scatter(
        x=rows["knowledge_retention"], y=rows["edit_retention"], mode="lines+markers+text",
        name=theme.method_label(method), legendgroup=method,
        text=[f" {edits}" for edits in rows["edits"]], textposition="middle right",
        textfont={"size": 10}, line={"color": colour, "width": 2},
        marker={"color": colour, "size": 9, "symbol": theme.symbols(methods)[method]}, cliponaxis=False,
        error_x={**_bars(rows, "knowledge_retention"), "color": faint},
        error_y={**_bars(rows, "edit_retention"), "color": faint},
        hovertemplate=f"{theme.method_label(method)}, %{{text}} edits<br>knowledge %{{x:.0%}}, edits %{{y:.0%}}"
        "<extra></extra>",
    )  # fmt: skip


def scale_figure(results: pd.DataFrame, paper: pd.DataFrame) -> go.Figure:
    """Draw ability retention against model size; the paper's curves are dotted.

    Args:
        results: model, billions, method, edits, value, low, high; empty if fewer than two sizes were run.
        paper: model, billions, method, edits, value.
    """
    cells = [("run", edits, rows) for edits, rows in results.groupby("edits")]
    cells += [("paper", edits, rows) for edits, rows in paper.groupby("edits")]
    if not cells:
        return theme.empty_figure("Model sizes are unknown; set them in analyze_sequences.sizes.")
    mark = "" if len(results) else ", not run here"
    titles = [f"{edits} edits" if source == "run" else f"Paper, {edits} edits{mark}" for source, edits, _ in cells]
    figure = theme.panels(titles, PANELS_A_ROW)
    cells = [(source, edits, rows.assign(**_not_below_chance(rows))) for source, edits, rows in cells]
    methods = in_order([method for _, _, rows in cells for method in rows["method"]], METHODS)
    legend_methods: set[str] = set()
    for index, (source, _, rows) in enumerate(cells):
        for method in in_order(rows["method"], METHODS):
            method_rows = rows[rows["method"] == method].sort_values("billions")
            trace = _sizes(method_rows, method, methods, source == "paper").update(
                showlegend=method not in legend_methods
            )
            legend_methods.add(method)
            figure.add_trace(trace, **theme.cell(index, PANELS_A_ROW, len(cells)))
    figure.update_xaxes(type="log", title_text="Billions of parameters")
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return theme.finish(figure, 130 + 270 * -(-len(cells) // PANELS_A_ROW))


def _not_below_chance(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[[name for name in ("value", "low", "high") if name in rows]].clip(lower=0)


def _sizes(rows: pd.DataFrame, method: str, methods: list[str], is_paper: bool) -> go.Scatter:
    colour = theme.colours(methods)[method]
    bars = {} if is_paper else {"error_y": {**theme.bars(rows["value"], rows["low"], rows["high"]), "color": colour}}
    return go.Scatter(
        x=rows["billions"], y=rows["value"], mode="lines+markers", name=theme.method_label(method), legendgroup=method,
        cliponaxis=False,
        line={"color": colour, "width": 2, "dash": "dot" if is_paper else "solid"}, customdata=rows["model"],
        marker={"color": colour, "size": 8, "symbol": theme.symbols(methods)[method]},
        hovertemplate=f"%{{customdata}}, {theme.method_label(method)}: %{{y:.0%}}<extra></extra>", **bars,
    )  # fmt: skip


def drift_figure(drift: pd.DataFrame) -> go.Figure:
    """Draw the relative change of each layer's weights; one line per number of edits.

    Args:
        drift: model, method, edits, layer, value: the norm of a layer's change over the norm of its weight, averaged
            over orders.
    """
    if drift.empty:
        return theme.empty_figure("No method in this run changes weights.")
    cells = [
        (model, method, method_rows)
        for model, rows in drift.groupby("model", sort=False)
        for method in in_order(rows["method"], METHODS)
        if len(method_rows := rows[rows["method"] == method])
    ]
    several = drift["model"].nunique() > 1
    titles = [f"{model}: {theme.method_label(m)}" if several else theme.method_label(m) for model, m, _ in cells]
    figure = theme.panels(titles, PANELS_A_ROW, shared_axes=False)
    steps = sorted(int(edits) for edits in drift["edits"].unique())
    for index, (_, _, method_rows) in enumerate(cells):
        for step, edits in enumerate(steps):
            trace = _layers(method_rows[method_rows["edits"] == edits], edits, step, len(steps)).update(
                showlegend=index == 0
            )
            figure.add_trace(trace, **theme.cell(index, PANELS_A_ROW, len(cells)))
    layers = sorted(int(layer) for layer in drift["layer"].unique())
    figure.update_xaxes(tickvals=layers[:: 1 + len(layers) // 8], range=[layers[0] - 0.5, layers[-1] + 0.5])
    figure.update_xaxes(title_text="Layer", row=-(-len(cells) // PANELS_A_ROW))
    figure.update_yaxes(tickformat=".1%", rangemode="tozero", showticklabels=True)
    return theme.finish(figure, 130 + 250 * -(-len(cells) // PANELS_A_ROW))


def _layers(rows: pd.DataFrame, edits: int, step: int, steps: int) -> go.Scatter:
    layers = rows.sort_values("layer")
    colour = theme.faint("#0072B2", round(0.25 + 0.75 * (step + 1) / steps, 2))
    return go.Scatter(
        x=layers["layer"], y=layers["value"], mode="lines+markers", name=f"after {edits}", legendgroup=str(edits),
        line={"color": colour, "width": 2}, marker={"color": colour, "size": 7},
        hovertemplate=f"layer %{{x}}, after {edits}: %{{y:.2%}}<extra></extra>",
    )  # fmt: skip


def survival_figure(survival: pd.DataFrame, labels: Mapping[str, str] = METHODS) -> go.Figure:
    """Draw the share of orders that survive each number of edits, with steps at checkpoints.

    Args:
        survival: Output of `statistics.survival.survival`.
        labels: Labels of methods.
    """
    if survival.empty:
        return theme.empty_figure("No benchmark is above chance, so no loss can be measured.")
    models = list(survival["model"].unique())
    methods = in_order(survival["method"], METHODS)
    figure = theme.panels(models if len(models) > 1 else [""], 2)
    for index, model in enumerate(models):
        for method in methods:
            curve = survival[(survival["model"] == model) & (survival["method"] == method)]
            trace = go.Scatter(
                x=curve["edits"], y=curve["surviving"], mode="lines+markers", name=labels.get(method, method),
                legendgroup=method, showlegend=index == 0,
                line={"color": theme.colours(methods)[method], "width": 2, "shape": "hv"},
                marker={"size": 7, "symbol": theme.symbols(methods)[method]}, customdata=curve["at_risk"],
                hovertemplate="%{x} edits: %{y:.0%}, %{customdata} orders at risk<extra></extra>",
            )  # fmt: skip
            figure.add_trace(trace, **theme.cell(index, 2, len(models)))
    figure.update_xaxes(title_text="Edits", rangemode="tozero")
    figure.update_yaxes(**SQUARE)
    return theme.finish(figure, 130 + 260 * -(-len(models) // 2))
