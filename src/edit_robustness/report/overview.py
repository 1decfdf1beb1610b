"""What an edit does besides holding: consequences, specificity, fluency, length, confidence; a row for each method.

Each number is over all probes of one family (of locality over those of one kind) under one protocol. No colour says
what is better, for a long answer or a sure one is neither good nor bad by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from edit_robustness.labels import BASELINES, FAMILIES, KINDS, METHODS, METRICS, PROTOCOLS, in_order, spoken
from edit_robustness.metrics import measures
from edit_robustness.prompts.kinds import SPECIFICITY
from edit_robustness.report.specificity import ALL_PROMPTS, known_of, n_asked

SHARE = "share"
ALL_KINDS = "all"
"""Stands for all kinds of a family together."""

_DECLARED = {(metric.protocol, metric.name): metric for metric in measures.METRICS}


@dataclass(frozen=True)
class Column:
    """A metric: its name, its protocol and unit, and what it measures, with which direction is better."""

    label: str
    remark: str
    description: str = ""


@dataclass(frozen=True)
class Line:
    """A method and what was measured, each as (number, interval); None where nothing was."""

    label: str
    baseline: bool
    cells: tuple[tuple[str, str] | None, ...]


@dataclass(frozen=True)
class Overview:
    """The table of one model."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


def overviews(table: pd.DataFrame) -> dict[str, Overview]:
    """For each model its overview.

    Args:
        table: model, method, family, kind (`ALL_KINDS` for all together), protocol, metric, unit, value, low, high,
            n_probes, n_missing.
    """
    return {str(model): _overview(rows) for model, rows in table.groupby("model", sort=False)} if len(table) else {}


def _shown(rows: pd.DataFrame) -> Iterator[tuple[str, str, str, str]]:
    """Yield family, kind, protocol and metric of each column, by family and then in the order of `METRICS`.

    The family of the edit itself comes last, because the heat map is about it. Metrics that are declared nowhere, of a
    plug-in or of a newer version, come after the others of their family.
    """
    first = sorted(_DECLARED.values(), key=lambda metric: not metric.cell)
    present = list(dict.fromkeys(zip(rows["protocol"], rows["metric"], strict=True)))
    others = sorted(key for key in present if key not in _DECLARED)
    for family in sorted(in_order(rows["family"], FAMILIES), key=lambda family: family == "edit"):
        shown = [(m.protocol, m.name) for m in first if family in (m.families if m.columns is None else m.columns)]
        for protocol, metric in (*shown, *others):
            for kind in SPECIFICITY if family == "locality" else (ALL_KINDS,):
                yield family, kind, protocol, metric


def _overview(rows: pd.DataFrame) -> Overview:
    figures = dict(list(rows.groupby(["family", "kind", "protocol", "metric"])))
    # where the unedited model knows no prompt there is nothing but the figure over all prompts, and the column says so
    pairs = [(figures.get(key), figures.get((*key[:3], ALL_PROMPTS.get(key[3], "")))) for key in _shown(rows)]
    columns = [
        (rows.head(0) if known is None else known, every)
        for known, every in pairs
        if any(side is not None and side["value"].notna().any() for side in (known, every))
    ]
    return Overview(
        columns=tuple(_column(known if len(known) else every) for known, every in columns),
        lines=tuple(
            Line(
                label=spoken(method, METHODS),
                baseline=method in BASELINES,
                cells=tuple(_cell(known, every, method) for known, every in columns),
            )
            for method in in_order(rows["method"], METHODS)
        ),
    )


def _column(rows: pd.DataFrame | None) -> Column:
    row = rows.iloc[0]  # type: ignore[union-attr]
    remark = spoken(row["protocol"], PROTOCOLS).lower()
    of_known = {every: metric for metric, every in ALL_PROMPTS.items()}
    label = spoken(of_known.get(row["metric"], row["metric"]), METRICS)
    if row["kind"] != ALL_KINDS:
        label = f"{spoken(row['kind'], KINDS)}: {label.lower()}"
    elif row["family"] == "portability" and row["metric"] != "portability":
        label = f"{METRICS['portability']}: {label.lower()}"
    return Column(
        label,
        remark if row["unit"] == SHARE else f"{remark}, {row['unit']}",
        _described(row["protocol"], row["metric"]),
    )


def _described(protocol: str, metric: str) -> str:
    """Return what a metric measures and which direction is better; empty for a metric that is declared nowhere."""
    declared = _DECLARED.get((protocol, metric))
    if declared is None:
        return ""
    better = {True: " Higher is better.", False: " Lower is better.", None: ""}[declared.higher_is_better]
    return declared.description + better


def _cell(rows: pd.DataFrame, every: pd.DataFrame | None, method: str) -> tuple[str, str] | None:
    own, asked = ([] if side is None else side[side["method"] == method].to_dict("records") for side in (rows, every))
    if not own or pd.isna(own[0]["value"]):
        if not own and not (asked and n_asked(asked[0])):
            return None
        known = known_of(own[0], asked[0]) if own and asked and n_asked(asked[0]) else ""
        return ("–", known or f"0 known of {n_asked(asked[0])}") if asked else None
    row = own[0]
    form = "{:.0%}" if row["unit"] == SHARE else "{:.2f}"
    value, low, high = ("–" if pd.isna(row[name]) else form.format(row[name]) for name in ("value", "low", "high"))
    return value, f"[{low}, {high}]" + (f" {known_of(row, asked[0])}" if asked else "")
