"""Theme of all figures: colour-blind safe colours, light axes, readable labels."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from edit_robustness.labels import METHODS, in_order, label_of
from edit_robustness.records import UNEDITED

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito (2008), "Color Universal Design"; without black and yellow, which are invisible on dark or light."""

GREY = "#8A8F98"
NON_EDIT_COLOURS = {UNEDITED: GREY, "context": "#E69F00"}
EDIT_COLOURS = {"ft": "#CC79A7", "rome": "#0072B2", "ike": "#009E73"}
SYMBOLS = (
    *("circle", "diamond", "square", "triangle-up", "star", "hexagon", "cross", "triangle-down"),
    *("pentagon", "x", "star-diamond", "triangle-left", "triangle-right", "bowtie", "hourglass"),
    *("hexagram", "octagon", "star-square", "diamond-tall", "star-triangle-up"),
)
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
QUIET = "rgba(128, 134, 146, 0.22)"


def colours(methods: list[str]) -> dict[str, str]:
    """Return a colour per method, the same in every figure; unknown methods take the remaining colours in order."""
    palette = {**NON_EDIT_COLOURS, **EDIT_COLOURS}
    free = [colour for colour in OKABE_ITO if colour not in {palette[m] for m in methods if m in palette}] or [
        *OKABE_ITO
    ]
    new_methods = [method for method in methods if method not in palette]
    extra_colours = {method: free[i % len(free)] for i, method in enumerate(new_methods)}
    return {method: palette.get(method) or extra_colours[method] for method in methods}


def symbols(methods: list[str]) -> dict[str, str]:
    """Return a marker per method, so that methods differ by more than colour."""
    names = in_order({*METHODS, *methods}, METHODS)
    return {method: SYMBOLS[names.index(method) % len(SYMBOLS)] for method in methods}


def faint(colour: str, opacity: float) -> str:
    """Make a colour, ``#rrggbb``, transparent."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity})"


def panels(titles: list[str], columns: int, shared_axes: bool = True) -> go.Figure:
    """Return an empty figure with a panel per title, `columns` per row; shared y axes are labelled once per row."""
    columns = max(1, min(columns, len(titles)))
    rows = -(-len(titles) // columns) or 1
    return make_subplots(
        rows=rows, cols=columns, subplot_titles=titles, shared_yaxes=shared_axes,
        horizontal_spacing=(0.12 if shared_axes else 0.18) / columns, vertical_spacing=0.35 / (rows + 2),
    )  # fmt: skip


def cell(index: int, columns: int, total: int) -> dict[str, int]:
    """Return the row and column of panel `index`, both from 1."""
    columns = max(1, min(columns, total))
    return {"row": index // columns + 1, "col": index % columns + 1}


def finish(figure: go.Figure, height: int, **layout: Any) -> go.Figure:
    """Apply the theme; the background is transparent, so that a figure fits a light and a dark page."""
    has_titles = any(note.text for note in figure.layout.annotations)
    figure.update_layout(
        height=height, font={"family": FONT, "size": 13, "color": "#4b5260"}, paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)", hoverlabel={"font": {"family": FONT}}, hovermode="closest", template="none",
        margin={"l": 10, "r": 16, "t": 68 if has_titles else 44, "b": 12},
        legend={"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top", "title": {"text": ""}},
    )  # fmt: skip
    figure.update_xaxes(gridcolor=QUIET, zeroline=False, automargin=True, ticks="", showline=False)
    figure.update_yaxes(gridcolor=QUIET, zeroline=False, automargin=True, ticks="", showline=False)
    figure.update_annotations(font={"size": 13})
    figure.update_layout(**layout)
    return figure


def empty_figure(reason: str) -> go.Figure:
    """Draw an empty figure that contains the reason why there is no data."""
    figure = go.Figure()
    figure.add_annotation(text=reason, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return finish(figure, 160)


def bars(value: pd.Series, low: pd.Series, high: pd.Series) -> dict[str, object]:
    """Return error bars from bounds; plotly expects distances."""
    return {
        "type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low, "thickness": 1.4,
        "width": 0,
    }  # fmt: skip


def method_label(name: str) -> str:
    """Return the label of a method."""
    return label_of(name, METHODS)
