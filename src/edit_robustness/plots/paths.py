"""What many edits do, along the number of edits: panels of lines with bands, the same form for every quantity.

Numbers of edits stand at equal distances: 0, 1, 5, 20, 100 lie too far apart for a linear axis, and 0 has no logarithm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from edit_robustness.plots import theme

SHARE_AXIS = {"tickformat": ".0%", "rangemode": "tozero"}
FINE, NOT_FINITE = "fine", "not finite"
CHANCE = "chance"


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: Above it.
        rows: line, edits, value, low, high; lowest and highest where there are several orders (n_orders); verdict
            where a figure may be worth less than it looks.
        levels: Horizontal lines by their names: chance, the best constant answer.
        theirs: line, edits, value, label: published figures, dotted.
        axis: What the y axis is given.
    """

    title: str
    rows: pd.DataFrame
    levels: Mapping[str, float] = field(default_factory=dict)
    theirs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["line", "edits", "value", "label"]))
    axis: Mapping[str, object] = field(default_factory=lambda: SHARE_AXIS)


def path_figure(
    panels: Sequence[Panel], lines: Sequence[str], labels: Mapping[str, str], columns: int = 2, along: str = "Edits"
) -> go.Figure:
    """Panels of lines along the number of edits.

    Args:
        panels: At least one.
        lines: Names of all lines, in their order; a colour and a marker belongs to each, the same in all panels.
        labels: What lines are called.
        columns: Panels to a row.
        along: What the x axis counts.
    """
    figure = theme.panels([panel.title for panel in panels], columns, shared=False)
    ticks = sorted({int(edits) for panel in panels for part in (panel.rows, panel.theirs) for edits in part["edits"]})
    shown: set[str] = set()
    for index, panel in enumerate(panels):
        where = theme.cell(index, columns, len(panels))
        for trace in _traces(panel, lines, labels, ticks):
            legend = trace.mode != "none" and trace.legendgroup not in shown and bool(trace.legendgroup)
            shown |= {trace.legendgroup} if legend else set()
            rank = 1 + [*lines, trace.legendgroup].index(trace.legendgroup)
            figure.add_trace(trace.update(showlegend=legend, legendrank=rank), **where)
        figure.update_yaxes(**panel.axis, showticklabels=True, **where)
        for name, level in panel.levels.items():
            figure.add_hline(
                y=level, line={"color": theme.GREY, "width": 1.2, "dash": _DASHES.get(name, "dash")},
                annotation={"text": name, "font": {"size": 10, "color": theme.GREY}},
                annotation_position="bottom left" if name == CHANCE else "top right",
                **where,
            )  # fmt: skip
        if index + columns >= len(panels):
            figure.update_xaxes(title={"text": along, "standoff": 4}, **where)
    figure.update_xaxes(
        tickvals=list(range(len(ticks))), ticktext=[_tick(tick) for tick in ticks], range=[-0.3, len(ticks) - 0.7],
        tickangle=0, tickfont={"size": 11},
    )  # fmt: skip
    rows = -(-len(panels) // max(1, columns))
    return theme.finish(figure, 110 + 270 * rows)


_DASHES = {CHANCE: "dash", "constant answer": "dashdot"}


def _tick(edits: int) -> str:
    return f"{edits // 1000}k" if edits >= 1000 and edits % 1000 == 0 else f"{edits:,}"


def _traces(panel: Panel, lines: Sequence[str], labels: Mapping[str, str], ticks: Sequence[int]) -> list[go.Scatter]:
    colours, symbols = theme.colours(list(lines)), theme.symbols(list(lines))
    place = {edits: index for index, edits in enumerate(ticks)}
    bands, marks, theirs = [], [], []
    for line in lines:
        own = panel.rows[panel.rows["line"] == line].dropna(subset=["value"]).sort_values("edits")
        at = own["edits"].map(place)
        if len(own):
            bands.append(_band(own, at, line, colours[line]))
            marks.append(_marks(own, at, line, labels.get(line, line), colours[line], symbols[line]))
        for label, published in panel.theirs[panel.theirs["line"] == line].groupby("label", sort=False):
            theirs.append(_dotted(published.sort_values("edits"), place, line, str(label), colours[line]))
    return [*bands, *theirs, *marks]


def _band(own: pd.DataFrame, at: pd.Series, line: str, colour: str) -> go.Scatter:
    """From the lowest order to the highest; of one order its interval."""
    low, high = own["low"], own["high"]
    if {"n_orders", "lowest", "highest"} <= set(own.columns) and (own["n_orders"] > 1).any():
        low, high = own["lowest"], own["highest"]
    return go.Scatter(
        x=[*at, *at[::-1]], y=[*low, *high[::-1]], mode="none", fill="toself", fillcolor=theme.faint(colour, 0.12),
        legendgroup=line, hoverinfo="skip", name=line,
    )  # fmt: skip


def _marks(own: pd.DataFrame, at: pd.Series, line: str, label: str, colour: str, symbol: str) -> go.Scatter:
    verdicts = own["verdict"] if "verdict" in own else pd.Series(FINE, own.index)
    unknown = verdicts.fillna(FINE)
    hover = [
        [label, *map(_short, row), "" if verdict == FINE else f", {verdict}"]
        for row, verdict in zip(own[["value", "low", "high"]].to_numpy(), unknown, strict=True)
    ]
    return go.Scatter(
        x=at, y=own["value"], mode="lines+markers", name=label, legendgroup=line, cliponaxis=False,
        line={"color": colour, "width": 2},
        marker={"color": colour, "size": 8, "line": {"width": 1.5, "color": colour},
                "symbol": [_symbol(symbol, verdict) for verdict in unknown]},
        customdata=hover,
        hovertemplate="%{customdata[0]}: %{customdata[1]} [%{customdata[2]}, %{customdata[3]}]%{customdata[4]}"
        "<extra></extra>",
    )  # fmt: skip


def _symbol(symbol: str, verdict: str) -> str:
    if verdict == NOT_FINITE:
        return "asterisk"
    return symbol if verdict == FINE else f"{symbol}-open"


def _short(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3g}"


def _dotted(published: pd.DataFrame, place: Mapping[int, int], line: str, label: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=published["edits"].map(place), y=published["value"], mode="lines", name=label, legendgroup=f"paper {label}",
        line={"color": theme.faint(colour, 0.8), "width": 1.5, "dash": "dot"}, customdata=published["edits"],
        hovertemplate=f"{label}, paper: %{{y:.3g}} after %{{customdata}} edits<extra></extra>",
    )  # fmt: skip
