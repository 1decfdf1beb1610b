"""Heat map of the headline table: rows are kinds of prompt, grouped by family, and columns are methods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from edit_robustness.labels import BASELINE, FAMILIES, KINDS, METHODS, PROTOCOLS, in_order, label_of
from edit_robustness.metrics.measures import METRICS
from edit_robustness.report import specificity

MANY_CUT = 0.05
"""A figure is flagged if the token limit cut more than this share of its answers."""

CELLS = {(family, m.protocol): m.name for m in METRICS if m.cell for family in m.families}
"""Metric in the cells, by family and protocol."""

MAIN = {family: CELLS[family, "free"] for family in FAMILIES}
"""Metric in the cells by family under free generation, and under protocols without a declared metric."""

DARK_FROM = 0.807
"""Shade from which white text has more contrast than black; both have at least 4.5 here, in blue and in green."""


@dataclass(frozen=True)
class Cell:
    """Rate in a cell: the share of answers with the new object, or for specificity with the old answer, in [0, 1]."""

    value: float
    low: float
    high: float
    n_facts: int
    n_probes: int
    old: float | None = None
    neither: float | None = None
    preference: float | None = None
    known: str = ""
    """Number of prompts that the unedited model knows, as text; empty for metrics over all prompts."""
    cut: float | None = None

    @property
    def has_value(self) -> bool:
        """Check whether anything could be measured; False if every answer was cut."""
        return not math.isnan(self.value)

    @property
    def counts(self) -> str:
        """Return the number of scores behind the figure as text."""
        return f"{_count(self.n_probes, 'probe')} of {_count(self.n_facts, 'fact')}"

    @property
    def much_cut(self) -> bool:
        """Check whether so many answers were cut that the figure is flagged."""
        return (self.cut or 0) > MANY_CUT

    @property
    def dark(self) -> bool:
        """Check whether the shade needs light text."""
        return self.value >= DARK_FROM

    @property
    def tooltip(self) -> str:
        """Return all figures of the cell as text."""
        parts = [f"{self.value:.1%}, confidence interval {self.low:.1%} to {self.high:.1%}"] if self.has_value else []
        shares = {
            "old object": self.old,
            "neither": self.neither,
            "cut by the token limit before naming an object": self.cut,
            "new object more probable than old": self.preference,
        }
        parts += [f"{name} {share:.1%}" for name, share in shares.items() if share is not None]
        parts += [f"known prompts: {self.known}"] * bool(self.known)
        return "; ".join([*parts, self.counts if self.has_value else "no answer could be scored"])


@dataclass(frozen=True)
class NoneKnown:
    """Cell without a rate, because the unedited model answers no prompt with a stable object of the right type."""

    n_asked: int
    n_scored: int
    value: float

    @property
    def text(self) -> str:
        """Return the text of the cell."""
        return f"0 known of {self.n_asked:,}"

    @property
    def tooltip(self) -> str:
        """Return the share of scored answers that are unchanged, as text."""
        count = (
            f"all {self.n_asked:,}"
            if self.n_scored == self.n_asked
            else f"{self.n_scored:,} of {self.n_asked:,} scored"
        )
        return f"of {count} answers {self.value:.1%} are unchanged"


@dataclass(frozen=True)
class Row:
    """One kind of prompt; a cell is None without probes. `counts` is the number of probes and facts as text."""

    label: str
    counts: str
    cells: tuple[Cell | NoneKnown | None, ...]
    kind: str


@dataclass(frozen=True)
class Section:
    """Rows of one family."""

    family: str
    label: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Column:
    """One method; `failed` is the number of facts on which it could not be measured as text, empty for none."""

    label: str
    baseline: bool
    failed: str = ""
    method: str = ""


@dataclass(frozen=True)
class HeatTable:
    """Heat map of one model under one protocol."""

    model: str
    protocol: str
    label: str
    methods: tuple[Column, ...]
    sections: tuple[Section, ...]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


def heat_tables(headline: pd.DataFrame, facts: Mapping[str, int] = MappingProxyType({})) -> dict[str, list[HeatTable]]:
    """Return the tables of each model, free generation first; protocols without verdicts have none.

    Args:
        headline: model, method, kind, family, protocol, metric, value, low, high, n_probes, n_facts, and n_failed if
            that was counted.
        facts: Number of facts that each model's run edits.
    """
    about = zip(headline["metric"], headline["family"], headline["protocol"], strict=True)
    cell_rows = headline[[metric in list_metrics(family, protocol) for metric, family, protocol in about]]
    tables: dict[str, list[HeatTable]] = {}
    for model in headline["model"].unique():
        for protocol in in_order(cell_rows.loc[cell_rows["model"] == model, "protocol"], PROTOCOLS):
            rows = headline[(headline["model"] == model) & (headline["protocol"] == protocol)]
            tables.setdefault(model, []).append(_table(model, protocol, rows, facts.get(model)))
    return tables


def _table(model: str, protocol: str, rows: pd.DataFrame, facts: int | None) -> HeatTable:
    methods = in_order(rows["method"], METHODS)
    families = [family for family in in_order(rows["family"], FAMILIES) if family in MAIN]
    sections = [_section(rows[rows["family"] == family], family, protocol, methods) for family in families]
    return HeatTable(
        model=model,
        protocol=protocol,
        label=label_of(protocol, PROTOCOLS),
        methods=tuple(
            Column(
                label_of(method, METHODS),
                method == BASELINE,
                failed_of(rows[rows["method"] == method], facts),
                method,
            )
            for method in methods
        ),
        sections=tuple(section for section in sections if section.rows),
    )


def failed_of(rows: pd.DataFrame, facts: int | None) -> str:
    """Return the number of facts on which these rows' method could not be measured as text; empty for none."""
    number = int(rows["n_failed"].max()) if "n_failed" in rows and len(rows) else 0
    if not number:
        return ""
    return f"{number} of {facts} facts failed" if facts else f"{number} facts failed"


def list_metrics(family: str, protocol: str) -> tuple[str, ...]:
    """Return the metric in the cells of a family, and the same metric over all prompts if there is one."""
    main = CELLS.get((family, protocol), MAIN.get(family))
    if main is None:
        return ()
    return (main, specificity.ALL_PROMPTS[main]) if main in specificity.ALL_PROMPTS else (main,)


def _section(rows: pd.DataFrame, family: str, protocol: str, methods: list[str]) -> Section:
    metrics = list_metrics(family, protocol)
    kinds = in_order(rows.loc[rows["metric"].isin(metrics), "kind"], KINDS)
    return Section(
        family=family,
        label=label_of(family, FAMILIES),
        rows=tuple(_row(rows[rows["kind"] == kind], kind, metrics[0], methods) for kind in kinds),
    )


def _row(rows: pd.DataFrame, kind: str, metric: str, methods: list[str]) -> Row:
    cells = tuple(_cell(rows[rows["method"] == method], metric) for method in methods)
    counts = dict.fromkeys(cell.counts for cell in cells if isinstance(cell, Cell) and cell.has_value)
    return Row(label=label_of(kind, KINDS), counts="; ".join(counts), cells=cells, kind=kind)


def _cell(rows: pd.DataFrame, metric: str) -> Cell | NoneKnown | None:
    by_metric = {row["metric"]: row for row in rows.to_dict("records")}
    main, all_prompts = by_metric.get(metric), by_metric.get(specificity.ALL_PROMPTS.get(metric, ""))

    def share(name: str, *, applies: bool = metric == "success") -> float | None:
        applies = applies and name in by_metric and pd.notna(by_metric[name]["value"])
        return float(by_metric[name]["value"]) if applies else None

    cut_share = share("cut", applies=True)
    known_text = "" if main is None or all_prompts is None else specificity.known_of(main, all_prompts)
    if all_prompts is not None and pd.notna(all_prompts["value"]) and not (main and specificity.n_asked(main)):
        return NoneKnown(specificity.n_asked(all_prompts), int(all_prompts["n_probes"]), all_prompts["value"])
    main = main or all_prompts
    if main is None or (pd.isna(main["value"]) and not cut_share):
        return None
    return Cell(
        value=main["value"],
        low=main["low"],
        high=main["high"],
        n_facts=int(main["n_facts"]),
        n_probes=int(main["n_probes"]),
        old=share("reversion"),
        neither=share("neither"),
        preference=share("preference"),
        known=known_text,
        cut=cut_share,
    )
