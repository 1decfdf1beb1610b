"""The headline in a few figures per method: the last lines of a run, and the index of runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edit_robustness.labels import METHODS, in_order, label_of

COLUMNS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "efficacy": ("statement", ("success",)),
    "generalization": ("paraphrase", ("success",)),
    "specificity": ("neighbourhood", ("specificity",)),
}
"""For each column the kind of prompt and the metric under free generation. Specificity is about the prompts that the
unedited model knows."""

NOTHING = "–"


def label_of_column(name: str) -> str:
    """Return the heading of a column, with the kind of prompt unless the figure is of the statement by definition."""
    kind, _ = COLUMNS[name]
    return name.capitalize() if name == "efficacy" else f"{name.capitalize()} ({kind})"


@dataclass(frozen=True)
class Figure:
    """A share with its interval; all lie in [0, 1]."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.0%} [{self.low:.0%}, {self.high:.0%}]"


@dataclass(frozen=True)
class Line:
    """The figures of one method of one model; one that was not measured is None."""

    model: str
    method: str
    figures: Mapping[str, Figure | None]


def headline_lines(headline: pd.DataFrame) -> list[Line]:
    """Return efficacy, generalization and specificity of each model and method, by free generation.

    Args:
        headline: model, method, kind, protocol, metric, value, low, high: shares in [0, 1].
    """
    free = headline[headline["protocol"] == "free"]
    return [
        Line(str(model), method, {name: _figure(rows[rows["method"] == method], name) for name in COLUMNS})
        for model in headline["model"].unique()
        for rows in [free[free["model"] == model]]
        for method in in_order(headline.loc[headline["model"] == model, "method"], METHODS)
    ]


def _figure(rows: pd.DataFrame, column: str) -> Figure | None:
    kind, metrics = COLUMNS[column]
    kind_rows = rows[(rows["kind"] == kind) & rows["metric"].isin(metrics)].dropna(subset=["value"])
    if kind_rows.empty:
        return None
    row = kind_rows.iloc[0]
    return Figure(float(row["value"]), float(row["low"]), float(row["high"]))


def plain_lines(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """Return lines as plain values, for a record in JSON."""
    return [
        {
            "model": line.model,
            "method": line.method,
            **{name: figure and vars(figure) for name, figure in line.figures.items()},
        }
        for line in lines
    ]


def table_cells(lines: Sequence[Line], confidence: float) -> tuple[list[str], list[list[str]]]:
    """Return the heading and the rows of the table as texts; the model has a column if there are several.

    Args:
        lines: The figures.
        confidence: The level of the intervals.
    """
    several = len({line.model for line in lines}) > 1
    head = [*["Model"] * several, "Method", *(f"{label_of_column(name)} [{confidence:.0%}]" for name in COLUMNS)]
    rows = [
        [
            *[line.model] * several,
            label_of(line.method, METHODS),
            *(NOTHING if figure is None else str(figure) for figure in line.figures.values()),
        ]
        for line in lines
    ]
    return head, rows


def print_table(lines: Sequence[Line], confidence: float, console: Console) -> None:
    """Print the table: with colours on a terminal, and otherwise as plain lines that are never cut.

    Args:
        lines: The figures.
        confidence: The level of the intervals.
        console: Where to print.
    """
    head, rows = table_cells(lines, confidence)
    if not console.is_terminal:
        # rich cuts at 80 columns where there is no terminal, and cut lines cannot be searched
        for text in plain_table(head, rows):
            console.print(text, soft_wrap=True, markup=False, highlight=False)
        return
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(head):
        side = "right" if number >= len(head) - len(COLUMNS) else "left"
        table.add_column(escape(name), justify=side, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as lines of aligned text."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (head, *rows))
    return ["  ".join(cells).rstrip() for cells in lines]
