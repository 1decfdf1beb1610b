"""What does not run along the number of edits: the frontier, model scale, drift by layer, survival."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from edit_robustness.labels import METHODS, in_order
from edit_robustness.plots import theme

UNEDITED = "none"
PANELS_A_ROW = 3
SQUARE = {"tickformat": ".0%", "range": [-0.05, 1.08], "tickvals": [0, 0.25, 0.5, 0.75, 1]}


def frontier_figure(frontier: pd.DataFrame) -> go.Figure:
    """What is still known against what was edited and holds: a path a method, its numbers of edits beside the dots.

    Args:
        frontier: What `statistics.held.frontier` gives.
    """
    if frontier.empty:
        return theme.nothing("No edited or no retained fact was asked.")
    models = list(frontier["model"].unique())
    methods = [method for method in in_order(frontier["method"], METHODS) if method != UNEDITED]
    figure = theme.panels(models if len(models) > 1 else [""], 2)
    for index, model in enumerate(models):
        own = frontier[frontier["model"] == model]
        start = own[own["method"] == UNEDITED]
        for method in methods:
            rows = pd.concat([start, own[own["method"] == method].sort_values("edits")])
            trace = _path(rows, method, methods).update(showlegend=index == 0)
            figure.add_trace(trace, **theme.cell(index, 2, len(models)))
    figure.update_xaxes(**SQUARE, title_text="Facts never edited and still answered")
    figure.update_yaxes(**SQUARE)
    figure.update_yaxes(title_text="Edits so far that hold", col=1)
    return theme.finish(figure, 130 + 400 * -(-len(models) // 2))


def _path(rows: pd.DataFrame, method: str, methods: list[str]) -> go.Scatter:
    colour = theme.colours(methods)[method]
    faint = theme.faint(colour, 0.35)
    return go.Scatter(
        x=rows["retention"], y=rows["held"], mode="lines+markers+text", name=theme.method_label(method),
        legendgroup=method, text=[f" {edits}" for edits in rows["edits"]], textposition="middle right",
        textfont={"size": 10}, line={"color": colour, "width": 2},
        marker={"color": colour, "size": 9, "symbol": theme.symbols(methods)[method]}, cliponaxis=False,
        error_x={**theme.bars(rows["retention"], rows["retention_low"], rows["retention_high"]), "color": faint},
        error_y={**theme.bars(rows["held"], rows["held_low"], rows["held_high"]), "color": faint},
        hovertemplate=f"{theme.method_label(method)}, %{{text}} edits<br>known %{{x:.0%}}, held %{{y:.0%}}"
        "<extra></extra>",
    )  # fmt: skip


def scale_figure(ours: pd.DataFrame, paper: pd.DataFrame) -> go.Figure:
    """What is left by the size of the model; ours where sizes are known, the paper's dotted.

    Args:
        ours: model, billions, method, edits, value, low, high; empty where fewer than two sizes were run.
        paper: model, billions, method, edits, value.
    """
    cells = [("ours", edits, rows) for edits, rows in ours.groupby("edits")]
    cells += [("paper", edits, rows) for edits, rows in paper.groupby("edits")]
    if not cells:
        return theme.nothing("Sizes of models are not known: damage.sizes.")
    marked = "" if len(ours) else ", not run here"
    titles = [f"{edits} edits" if whose == "ours" else f"Paper, {edits} edits{marked}" for whose, edits, _ in cells]
    figure = theme.panels(titles, PANELS_A_ROW)
    cells = [(whose, edits, rows.assign(**_not_below_chance(rows))) for whose, edits, rows in cells]
    methods = in_order([method for _, _, rows in cells for method in rows["method"]], METHODS)
    shown: set[str] = set()
    for index, (whose, _, rows) in enumerate(cells):
        for method in in_order(rows["method"], METHODS):
            own = rows[rows["method"] == method].sort_values("billions")
            trace = _sizes(own, method, methods, whose == "paper").update(showlegend=method not in shown)
            shown.add(method)
            figure.add_trace(trace, **theme.cell(index, PANELS_A_ROW, len(cells)))
    figure.update_xaxes(type="log", title_text="Billions of parameters")
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return theme.finish(figure, 130 + 270 * -(-len(cells) // PANELS_A_ROW))


def _not_below_chance(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[[name for name in ("value", "low", "high") if name in rows]].clip(lower=0)


def _sizes(rows: pd.DataFrame, method: str, methods: list[str], dotted: bool) -> go.Scatter:
    colour = theme.colours(methods)[method]
    bars = {} if dotted else {"error_y": {**theme.bars(rows["value"], rows["low"], rows["high"]), "color": colour}}
    return go.Scatter(
        x=rows["billions"], y=rows["value"], mode="lines+markers", name=theme.method_label(method), legendgroup=method,
        cliponaxis=False,
        line={"color": colour, "width": 2, "dash": "dot" if dotted else "solid"}, customdata=rows["model"],
        marker={"color": colour, "size": 8, "symbol": theme.symbols(methods)[method]},
        hovertemplate=f"%{{customdata}}, {theme.method_label(method)}: %{{y:.0%}}<extra></extra>", **bars,
    )  # fmt: skip


def drift_figure(drift: pd.DataFrame) -> go.Figure:
    """How far each layer's weights have moved, relative to their norm; a line a number of edits.

    Args:
        drift: model, method, edits, layer, value: the mean over orders of the relative norm of the change of a layer.
    """
    if drift.empty:
        return theme.nothing("No method of this run changes weights.")
    cells = [
        (model, method, own)
        for model, rows in drift.groupby("model", sort=False)
        for method in in_order(rows["method"], METHODS)
        if len(own := rows[rows["method"] == method])
    ]
    several = drift["model"].nunique() > 1
    titles = [f"{model}: {theme.method_label(m)}" if several else theme.method_label(m) for model, m, _ in cells]
    figure = theme.panels(titles, PANELS_A_ROW, shared=False)
    steps = sorted(int(edits) for edits in drift["edits"].unique())
    for index, (_, _, own) in enumerate(cells):
        for step, edits in enumerate(steps):
            trace = _layers(own[own["edits"] == edits], edits, step, len(steps)).update(showlegend=index == 0)
            figure.add_trace(trace, **theme.cell(index, PANELS_A_ROW, len(cells)))
    layers = sorted(int(layer) for layer in drift["layer"].unique())
    figure.update_xaxes(tickvals=layers[:: 1 + len(layers) // 8], range=[layers[0] - 0.5, layers[-1] + 0.5])
    figure.update_xaxes(title_text="Layer", row=-(-len(cells) // PANELS_A_ROW))
    figure.update_yaxes(tickformat=".1%", rangemode="tozero", showticklabels=True)
    return theme.finish(figure, 130 + 250 * -(-len(cells) // PANELS_A_ROW))


def _layers(rows: pd.DataFrame, edits: int, step: int, steps: int) -> go.Scatter:
    ordered = rows.sort_values("layer")
    colour = theme.faint("#0072B2", round(0.25 + 0.75 * (step + 1) / steps, 2))
    return go.Scatter(
        x=ordered["layer"], y=ordered["value"], mode="lines+markers", name=f"after {edits}", legendgroup=str(edits),
        line={"color": colour, "width": 2}, marker={"color": colour, "size": 7},
        hovertemplate=f"layer %{{x}}, after {edits}: %{{y:.2%}}<extra></extra>",
    )  # fmt: skip


def survival_figure(survival: pd.DataFrame, labels: Mapping[str, str] = METHODS) -> go.Figure:
    """The share of orders that survive so many edits; steps at checkpoints.

    Args:
        survival: What `statistics.survival.survival` gives.
        labels: What methods are called.
    """
    if survival.empty:
        return theme.nothing("No benchmark above chance, so no loss can show.")
    models = list(survival["model"].unique())
    methods = in_order(survival["method"], METHODS)
    figure = theme.panels(models if len(models) > 1 else [""], 2)
    for index, model in enumerate(models):
        for method in methods:
            own = survival[(survival["model"] == model) & (survival["method"] == method)]
            trace = go.Scatter(
                x=own["edits"], y=own["surviving"], mode="lines+markers", name=labels.get(method, method),
                legendgroup=method, showlegend=index == 0,
                line={"color": theme.colours(methods)[method], "width": 2, "shape": "hv"},
                marker={"size": 7, "symbol": theme.symbols(methods)[method]}, customdata=own["at_risk"],
                hovertemplate="%{x} edits: %{y:.0%}, %{customdata} orders at risk<extra></extra>",
            )  # fmt: skip
            figure.add_trace(trace, **theme.cell(index, 2, len(models)))
    figure.update_xaxes(title_text="Edits", rangemode="tozero")
    figure.update_yaxes(**SQUARE)
    return theme.finish(figure, 130 + 260 * -(-len(models) // 2))
