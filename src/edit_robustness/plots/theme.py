"""One look for all figures: colours that colour-blind readers can tell apart, quiet axes, labels in words."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from edit_robustness.labels import METHODS, in_order, spoken

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito (2008), "Color Universal Design"; black and yellow left out: they vanish on dark or on light."""

GREY = "#8A8F98"
BASELINE_COLOURS = {"none": GREY, "context": "#E69F00"}
EDIT_COLOURS = {"ft": "#CC79A7", "rome": "#0072B2", "ike": "#009E73"}
SYMBOLS = (
    *("circle", "diamond", "square", "triangle-up", "star", "hexagon", "cross", "triangle-down"),
    *("pentagon", "x", "star-diamond", "triangle-left", "triangle-right", "bowtie", "hourglass"),
)
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
QUIET = "rgba(128, 134, 146, 0.22)"


def colours(methods: list[str]) -> dict[str, str]:
    """A colour for each method, the same in every figure; methods that are not known take what is left, in order."""
    known = {**BASELINE_COLOURS, **EDIT_COLOURS}
    free = [colour for colour in OKABE_ITO if colour not in {known[m] for m in methods if m in known}] or [*OKABE_ITO]
    strangers = [method for method in methods if method not in known]
    chosen = {method: free[i % len(free)] for i, method in enumerate(strangers)}
    return {method: known.get(method) or chosen[method] for method in methods}


def symbols(methods: list[str]) -> dict[str, str]:
    """A marker for each method, so that colour is never the only sign."""
    ordered = in_order({*METHODS, *methods}, METHODS)
    return {method: SYMBOLS[ordered.index(method) % len(SYMBOLS)] for method in methods}


def faint(colour: str, opacity: float) -> str:
    """The colour, ``#rrggbb``, let through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity})"


def panels(titles: list[str], columns: int, shared: bool = True) -> go.Figure:
    """An empty figure with a panel for each title, `columns` to a row; `shared` y axes are labelled once a row."""
    columns = max(1, min(columns, len(titles)))
    rows = -(-len(titles) // columns) or 1
    return make_subplots(
        rows=rows, cols=columns, subplot_titles=titles, shared_yaxes=shared,
        horizontal_spacing=(0.12 if shared else 0.18) / columns, vertical_spacing=0.35 / (rows + 2),
    )  # fmt: skip


def cell(index: int, columns: int, total: int) -> dict[str, int]:
    """Row and column of panel `index`, as plotly counts them."""
    columns = max(1, min(columns, total))
    return {"row": index // columns + 1, "col": index % columns + 1}


def finish(figure: go.Figure, height: int, **layout: Any) -> go.Figure:
    """Apply the theme; the background is left open, so that a figure sits on a light or a dark page."""
    titled = any(note.text for note in figure.layout.annotations)
    figure.update_layout(
        height=height, font={"family": FONT, "size": 13, "color": "#4b5260"}, paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)", hoverlabel={"font": {"family": FONT}}, hovermode="closest", template="none",
        margin={"l": 10, "r": 16, "t": 68 if titled else 44, "b": 12},
        legend={"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top", "title": {"text": ""}},
    )  # fmt: skip
    figure.update_xaxes(gridcolor=QUIET, zeroline=False, automargin=True, ticks="", showline=False)
    figure.update_yaxes(gridcolor=QUIET, zeroline=False, automargin=True, ticks="", showline=False)
    figure.update_annotations(font={"size": 13})
    figure.update_layout(**layout)
    return figure


def nothing(reason: str) -> go.Figure:
    """A figure that says why there is nothing to see."""
    figure = go.Figure()
    figure.add_annotation(text=reason, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return finish(figure, 160)


def bars(value: pd.Series, low: pd.Series, high: pd.Series) -> dict[str, object]:
    """Error bars from bounds: plotly wants distances."""
    return {
        "type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low, "thickness": 1.4,
        "width": 0,
    }  # fmt: skip


def method_label(name: str) -> str:
    """What a method is called."""
    return spoken(name, METHODS)
