"""What an edit does besides holding: consequences, neighbours, fluency, length, confidence; a row for each method.

Each number is over all probes of one family, under one protocol; what is better is said by no colour, for a long
answer or a sure one is neither good nor bad by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from edit_robustness.labels import BASELINES, METHODS, METRICS, PROTOCOLS, in_order, spoken

SHARE = "share"
SHOWN = (
    ("portability", "free", "portability"),
    ("locality", "free", "locality"),
    ("locality", "next_token", "kl"),
    ("edit", "free", "entropy"),
    ("edit", "free", "repetition"),
    ("edit", "free", "length"),
    ("edit", "free", "cut"),
    ("locality", "free", "cut"),
    ("edit", "next_token", "margin"),
)
"""The columns, as family, protocol and metric; one that no method was measured on is left out."""


@dataclass(frozen=True)
class Column:
    """A metric: its name, and under which protocol and in which unit."""

    label: str
    remark: str


@dataclass(frozen=True)
class Line:
    """A method and what was measured, each as (number, interval); None where nothing was."""

    label: str
    baseline: bool
    cells: tuple[tuple[str, str] | None, ...]


@dataclass(frozen=True)
class Overview:
    """One model."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


def overviews(table: pd.DataFrame) -> dict[str, Overview]:
    """For each model its overview.

    Args:
        table: model, method, family, protocol, metric, unit, value, low, high.
    """
    return {str(model): _overview(rows) for model, rows in table.groupby("model", sort=False)} if len(table) else {}


def _overview(rows: pd.DataFrame) -> Overview:
    known = rows.dropna(subset=["value"])
    shown = {key: own for key, own in known.groupby(["family", "protocol", "metric"]) if key in SHOWN}
    columns = [shown[key] for key in SHOWN if key in shown]
    return Overview(
        columns=tuple(_column(own.iloc[0]) for own in columns),
        lines=tuple(
            Line(
                label=spoken(method, METHODS),
                baseline=method in BASELINES,
                cells=tuple(_cell(own, method) for own in columns),
            )
            for method in in_order(rows["method"], METHODS)
        ),
    )


def _column(row: pd.Series) -> Column:
    remark = spoken(row["protocol"], PROTOCOLS).lower()
    return Column(spoken(row["metric"], METRICS), remark if row["unit"] == SHARE else f"{remark}, {row['unit']}")


def _cell(rows: pd.DataFrame, method: str) -> tuple[str, str] | None:
    own = rows[rows["method"] == method]
    if own.empty:
        return None
    row = own.iloc[0]
    form = "{:.0%}" if row["unit"] == SHARE else "{:.2f}"
    value, low, high = ("–" if pd.isna(row[name]) else form.format(row[name]) for name in ("value", "low", "high"))
    return value, f"[{low}, {high}]"
