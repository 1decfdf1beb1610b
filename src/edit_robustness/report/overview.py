"""Side effects of edits: portability, specificity, fluency, length, confidence.

Each number is over all probes of one family (for specificity, of one kind) under one protocol. The main table has the
main metric of each kind of specificity, a row per method. The other metrics are too many for columns, so they have a
row each. Cells have no colours, because a long or a confident answer is neither good nor bad by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from edit_robustness.labels import BASELINE, FAMILIES, KINDS, METHODS, METRICS, PROTOCOLS, in_order, label_of
from edit_robustness.metrics import measures
from edit_robustness.prompts.kinds import SPECIFICITY
from edit_robustness.report.heat import list_metrics
from edit_robustness.report.specificity import ALL_PROMPTS, known_of, n_asked

SHARE = "share"
ALL_KINDS = "all"
"""Kind of the rows over all kinds of a family."""

_DECLARED = {(metric.protocol, metric.name): metric for metric in measures.METRICS}


@dataclass(frozen=True)
class Column:
    """One metric: its name, protocol and unit, and a description that includes the better direction."""

    label: str
    remark: str
    description: str = ""
    is_main: bool = False
    """Whether this is the main metric of a kind of specificity."""


@dataclass(frozen=True)
class Line:
    """One method with its figures, each as (number, interval); None without a measurement."""

    label: str
    baseline: bool
    cells: tuple[tuple[str, str] | None, ...]


@dataclass(frozen=True)
class Overview:
    """Side effects of one model: all metrics, of which the page shows the main ones first."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]

    @property
    def main_places(self) -> list[int]:
        """Return the places of the columns of the main table."""
        return [place for place, column in enumerate(self.columns) if column.is_main]

    @property
    def other_places(self) -> list[int]:
        """Return the places of the columns that have a row each in the second table."""
        return [place for place, column in enumerate(self.columns) if not column.is_main]


def overviews(table: pd.DataFrame) -> dict[str, Overview]:
    """Return the overview of each model.

    Args:
        table: model, method, family, kind (`ALL_KINDS` for all kinds), protocol, metric, unit, value, low, high,
            n_probes, n_missing.
    """
    return {str(model): _overview(rows) for model, rows in table.groupby("model", sort=False)} if len(table) else {}


def _yield_columns(rows: pd.DataFrame) -> Iterator[tuple[str, str, str, str]]:
    """Yield family, kind, protocol and metric of each column, by family and then in the order of `METRICS`.

    The family of the edit itself comes last, because the heat map covers it. Metrics without a declaration, from a
    plug-in or a newer version, come after the others of their family.
    """
    first = sorted(_DECLARED.values(), key=lambda metric: not metric.cell)
    present = list(dict.fromkeys(zip(rows["protocol"], rows["metric"], strict=True)))
    other_keys = sorted(key for key in present if key not in _DECLARED)
    for family in sorted(in_order(rows["family"], FAMILIES), key=lambda family: family == "edit"):
        metric_keys = [
            (m.protocol, m.name) for m in first if family in (m.families if m.columns is None else m.columns)
        ]
        for protocol, metric in (*metric_keys, *other_keys):
            for kind in SPECIFICITY if family == "specificity" else (ALL_KINDS,):
                yield family, kind, protocol, metric


def _overview(rows: pd.DataFrame) -> Overview:
    figures = dict(list(rows.groupby(["family", "kind", "protocol", "metric"])))
    # if the unedited model knows no prompt, the column has only the figure over all prompts
    pairs = [(figures.get(key), figures.get((*key[:3], ALL_PROMPTS.get(key[3], "")))) for key in _yield_columns(rows)]
    columns = [
        (rows.head(0) if known_rows is None else known_rows, all_rows)
        for known_rows, all_rows in pairs
        if any(side is not None and side["value"].notna().any() for side in (known_rows, all_rows))
    ]
    return Overview(
        columns=tuple(_column(known_rows if len(known_rows) else all_rows) for known_rows, all_rows in columns),
        lines=tuple(
            Line(
                label=label_of(method, METHODS),
                baseline=method == BASELINE,
                cells=tuple(_cell(known_rows, all_rows, method) for known_rows, all_rows in columns),
            )
            for method in in_order(rows["method"], METHODS)
        ),
    )


def _column(rows: pd.DataFrame | None) -> Column:
    row = rows.iloc[0]  # type: ignore[union-attr]
    remark = label_of(row["protocol"], PROTOCOLS).lower()
    of_known = {all_prompts_name: metric for metric, all_prompts_name in ALL_PROMPTS.items()}
    label = label_of(of_known.get(row["metric"], row["metric"]), METRICS)
    if row["kind"] != ALL_KINDS:
        label = f"{label_of(row['kind'], KINDS)}: {label.lower()}"
    elif row["family"] == "portability" and row["metric"] != "portability":
        label = f"{METRICS['portability']}: {label.lower()}"
    return Column(
        label,
        remark if row["unit"] == SHARE else f"{remark}, {row['unit']}",
        _describe(row["protocol"], row["metric"]),
        row["family"] == "specificity" and row["protocol"] == "free" and _is_main(row["metric"]),
    )


def _is_main(metric: str) -> bool:
    """Check whether this is the metric that the heat map shows for specificity, over known or over all prompts."""
    return metric in list_metrics("specificity", "free")


def _describe(protocol: str, metric: str) -> str:
    """Describe a metric and its better direction; empty for a metric without a declaration."""
    declaration = _DECLARED.get((protocol, metric))
    if declaration is None:
        return ""
    better = {True: " Higher is better.", False: " Lower is better.", None: ""}[declaration.higher_is_better]
    return declaration.description + better


def _cell(rows: pd.DataFrame, all_rows: pd.DataFrame | None, method: str) -> tuple[str, str] | None:
    figures, all_figures = (
        [] if side is None else side[side["method"] == method].to_dict("records") for side in (rows, all_rows)
    )
    if not figures or pd.isna(figures[0]["value"]):
        if not figures and not (all_figures and n_asked(all_figures[0])):
            return None
        known_text = known_of(figures[0], all_figures[0]) if figures and all_figures and n_asked(all_figures[0]) else ""
        return ("–", known_text or f"0 known of {n_asked(all_figures[0]):,}") if all_figures else None
    row = figures[0]
    form = "{:.0%}" if row["unit"] == SHARE else "{:.2f}"
    value, low, high = ("–" if pd.isna(row[name]) else form.format(row[name]) for name in ("value", "low", "high"))
    return value, f"[{low}, {high}]" + (f" {known_of(row, all_figures[0])}" if all_figures else "")
