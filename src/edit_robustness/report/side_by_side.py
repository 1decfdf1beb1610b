"""Comparisons: both protocols on the same probes, and the first paper's table with this run's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from edit_robustness.labels import KINDS, METHODS, METRICS, in_order, label_of
from edit_robustness.report import paper1

ALL_KINDS = "all"


@dataclass(frozen=True)
class Gaps:
    """Gaps between the protocols of one model: per method over all kinds, and per kind."""

    all_kinds: tuple[Mapping[str, Any], ...]
    by_kind: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Figure:
    """One cell of the paper's table: its accuracy and reversion, and this run's with intervals, as text.

    `counts` has the numbers of probes and facts as text, and `cut` is the share of this run's answers that the token
    limit cut before they named an object.
    """

    paper: str
    figures: tuple[tuple[str, str], ...]
    counts: str
    cut: float = 0.0


@dataclass(frozen=True)
class PaperTable:
    """The paper's table with one model's figures, and the orderings that were found again."""

    methods: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Figure, ...]], ...]
    counts: tuple[Mapping[str, Any], ...]
    pairs: tuple[Mapping[str, Any], ...]


def gap_lines(gaps: pd.DataFrame) -> dict[str, Gaps]:
    """Return the lines of each model's table of gaps, methods and kinds in their usual order.

    Args:
        gaps: `statistics.gaps.COLUMNS`.
    """
    tables = {}
    for model in gaps["model"].unique() if len(gaps) else ():
        model_rows = gaps[gaps["model"] == model]
        lines = [
            {**row, "method": label_of(method, METHODS), "kind": label_of(row["kind"], KINDS)}
            for method in in_order(model_rows["method"], METHODS)
            for row in _in_order_of_kinds(model_rows[model_rows["method"] == method])
        ]
        all_kinds = tuple(line for line in lines if line["kind"] == ALL_KINDS)
        tables[str(model)] = Gaps(all_kinds, tuple(line for line in lines if line["kind"] != ALL_KINDS))
    return tables


def _in_order_of_kinds(rows: pd.DataFrame) -> list[dict[str, Any]]:
    kinds = in_order(rows["kind"], KINDS)
    return rows.sort_values("kind", key=lambda column: column.map(kinds.index)).to_dict("records")  # type: ignore


def paper_tables(table: pd.DataFrame, orderings: pd.DataFrame) -> dict[str, PaperTable]:
    """Return the comparison table of each model that was edited by a method of the paper.

    Args:
        table: `paper1.TABLE_COLUMNS`.
        orderings: `paper1.ORDERING_COLUMNS`.
    """
    models = [str(model) for model in table["model"].unique()] if len(table) else []
    return {
        model: _paper_table(table[table["model"] == model], orderings[orderings["model"] == model]) for model in models
    }


def _paper_table(table: pd.DataFrame, orderings: pd.DataFrame) -> PaperTable:
    methods = [method for method in paper1.METHODS if method in set(table["method"])]
    cells = {key: dict(zip(rows["metric"], rows.to_dict("records"), strict=True)) for key, rows in _by_cell(table)}
    return PaperTable(
        methods=tuple(label_of(method, METHODS) for method in methods),
        rows=tuple((row, tuple(_figure(cells[row, method]) for method in methods)) for row in paper1.ROWS),
        counts=tuple(_translate(row) for _, row in paper1.count_orderings(orderings).iterrows()),
        pairs=tuple(_translate(row) for _, row in orderings.iterrows()),
    )


def _by_cell(table: pd.DataFrame) -> Any:
    return table.groupby(["row", "method"], sort=False)


def _figure(by_metric: Mapping[str, Mapping[str, Any]]) -> Figure:
    cells = [by_metric[metric] for metric in paper1.METRICS if metric in by_metric]
    measured_cells = [cell for cell in cells if pd.notna(cell["value"])]
    return Figure(
        paper=" / ".join(f"{cell['paper']:.1%}" for cell in cells),
        figures=tuple((f"{cell['value']:.0%}", f"[{cell['low']:.0%}, {cell['high']:.0%}]") for cell in measured_cells),
        counts=_describe_counts(measured_cells),
        cut=max((float(cell["cut"]) for cell in measured_cells if pd.notna(cell["cut"])), default=0.0),
    )


def _describe_counts(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return the numbers of probes and facts, once if both metrics have the same ones."""
    counts = {cell["metric"]: f"n = {cell['n_probes']:,.0f}, {cell['n_facts']:,.0f} facts" for cell in cells}
    if len(set(counts.values())) == 1:
        return next(iter(counts.values()))
    texts = (f"{label_of(metric, METRICS).lower()}: {count}" for metric, count in counts.items())
    return "; ".join(texts) or "not asked in this run"


def _translate(row: pd.Series) -> dict[str, Any]:
    """Replace the names in a row by their labels."""
    names = {name: label_of(row[name], METHODS) for name in ("of", "higher", "lower") if name in row}
    within = {"kind": "two methods, one kind", "method": "two kinds, one method"}[row["within"]]
    return {**row.to_dict(), **names, "metric": label_of(row["metric"], METRICS).lower(), "within": within}
