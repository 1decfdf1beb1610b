"""Panels of lines with bands along the number of edits, with the same form for every quantity.

The x axis has equal distances between numbers of edits, because 0, 1, 5, 20, 100 are too far apart for a linear axis
and 0 has no logarithm.
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
    """One panel of a figure.

    Attributes:
        title: Title above the panel.
        rows: line, edits, value, low, high; lowest and highest if there are several orders (n_orders); flag if a
            figure may be unreliable.
        levels: Horizontal lines by their names: chance, the best constant answer.
        references: line, edits, value, label: published figures, drawn dotted.
        axis: Options of the y axis.
    """

    title: str
    rows: pd.DataFrame
    levels: Mapping[str, float] = field(default_factory=dict)
    references: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["line", "edits", "value", "label"]))
    axis: Mapping[str, object] = field(default_factory=lambda: SHARE_AXIS)


def path_figure(
    panels: Sequence[Panel], lines: Sequence[str], labels: Mapping[str, str], columns: int = 2, along: str = "Edits"
) -> go.Figure:
    """Draw panels of lines along the number of edits.

    Args:
        panels: At least one panel.
        lines: Names of all lines, in order. Each has a colour and a marker, the same in all panels.
        labels: Labels of the lines.
        columns: Number of panels per row.
        along: Title of the x axis.
    """
    figure = theme.panels([panel.title for panel in panels], columns, shared_axes=False)
    ticks = sorted(
        {int(edits) for panel in panels for part in (panel.rows, panel.references) for edits in part["edits"]}
    )
    legend_groups: set[str] = set()
    for index, panel in enumerate(panels):
        place = theme.cell(index, columns, len(panels))
        for trace in _traces(panel, lines, labels, ticks):
            legend = trace.mode != "none" and trace.legendgroup not in legend_groups and bool(trace.legendgroup)
            legend_groups |= {trace.legendgroup} if legend else set()
            rank = 1 + [*lines, trace.legendgroup].index(trace.legendgroup)
            figure.add_trace(trace.update(showlegend=legend, legendrank=rank), **place)
        figure.update_yaxes(**panel.axis, showticklabels=True, **place)
        for name, level in panel.levels.items():
            figure.add_hline(
                y=level, line={"color": theme.GREY, "width": 1.2, "dash": _DASHES.get(name, "dash")},
                # the text has the colour of the page's text: no grey can be read on a light page and on a dark one
                annotation={"text": name, "font": {"size": 10}},
                annotation_position="bottom left" if name == CHANCE else "top right",
                **place,
            )  # fmt: skip
        if index + columns >= len(panels):
            figure.update_xaxes(title={"text": along, "standoff": 4}, **place)
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
    bands, marks, references = [], [], []
    for line in lines:
        points = panel.rows[panel.rows["line"] == line].dropna(subset=["value"]).sort_values("edits")
        at = points["edits"].map(place)
        if len(points):
            bands.append(_band(points, at, line, colours[line]))
            marks.append(_marks(points, at, line, labels.get(line, line), colours[line], symbols[line]))
        for label, reference in panel.references[panel.references["line"] == line].groupby("label", sort=False):
            references.append(_draw_reference(reference.sort_values("edits"), place, line, str(label), colours[line]))
    return [*bands, *references, *marks]


def _band(points: pd.DataFrame, at: pd.Series, line: str, colour: str) -> go.Scatter:
    """Draw a band from the lowest order to the highest, or the interval if there is only one order."""
    low, high = points["low"], points["high"]
    if {"n_orders", "lowest", "highest"} <= set(points.columns) and (points["n_orders"] > 1).any():
        low, high = points["lowest"], points["highest"]
    return go.Scatter(
        x=[*at, *at[::-1]], y=[*low, *high[::-1]], mode="none", fill="toself", fillcolor=theme.faint(colour, 0.12),
        legendgroup=line, hoverinfo="skip", name=line,
    )  # fmt: skip


def _marks(points: pd.DataFrame, at: pd.Series, line: str, label: str, colour: str, symbol: str) -> go.Scatter:
    flags = points["flag"] if "flag" in points else pd.Series(FINE, points.index)
    row_flags = flags.fillna(FINE)
    hover = [
        [label, *map(_short, row), "" if flag == FINE else f", {flag}"]
        for row, flag in zip(points[["value", "low", "high"]].to_numpy(), row_flags, strict=True)
    ]
    return go.Scatter(
        x=at, y=points["value"], mode="lines+markers", name=label, legendgroup=line, cliponaxis=False,
        line={"color": colour, "width": 2},
        marker={"color": colour, "size": 8, "line": {"width": 1.5, "color": colour},
                "symbol": [_symbol(symbol, flag) for flag in row_flags]},
        customdata=hover,
        hovertemplate="%{customdata[0]}: %{customdata[1]} [%{customdata[2]}, %{customdata[3]}]%{customdata[4]}"
        "<extra></extra>",
    )  # fmt: skip


def _symbol(symbol: str, flag: str) -> str:
    if flag == NOT_FINITE:
        return "asterisk"
    return symbol if flag == FINE else f"{symbol}-open"


def _short(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3g}"


def _draw_reference(
    reference: pd.DataFrame, place: Mapping[int, int], line: str, label: str, colour: str
) -> go.Scatter:
    return go.Scatter(
        x=reference["edits"].map(place), y=reference["value"], mode="lines", name=label, legendgroup=f"paper {label}",
        line={"color": theme.faint(colour, 0.8), "width": 1.5, "dash": "dot"}, customdata=reference["edits"],
        hovertemplate=f"{label}, paper: %{{y:.3g}} after %{{customdata}} edits<extra></extra>",
    )  # fmt: skip
