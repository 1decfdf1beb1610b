"""The headline table as a heat map: kinds of prompt down, by what they ask for, and methods across."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from edit_robustness.labels import BASELINES, FAMILIES, KINDS, METHODS, PROTOCOLS, in_order, spoken
from edit_robustness.metrics.measures import METRICS
from edit_robustness.report import specificity

MANY_CUT = 0.05
"""A figure is flagged where more than this share of its answers was cut by a limit of tokens."""

CELLS = {(family, m.protocol): m.name for m in METRICS if m.cell for family in m.families}
"""The metric that cells show, by family and protocol."""

MAIN = {family: CELLS[family, "free"] for family in FAMILIES}
"""The same under free generation, and under protocols for which no metric is declared."""

DARK_FROM = 0.75
"""From this shade on, a cell's text is light."""


@dataclass(frozen=True)
class Cell:
    """One rate: how often the new object (or, of a neighbour, the old answer) came; all shares lie in [0, 1]."""

    value: float
    low: float
    high: float
    n_facts: int
    n_probes: int
    old: float | None = None
    neither: float | None = None
    preference: float | None = None
    known: str = ""
    """Of how many prompts the unedited model knows the answer; empty if that does not matter."""
    cut: float | None = None

    @property
    def measured(self) -> bool:
        """Whether anything could be measured; not where every answer was cut."""
        return not math.isnan(self.value)

    @property
    def counted(self) -> str:
        """How many scores are behind the figure."""
        return f"{self.n_probes} probes of {self.n_facts} facts"

    @property
    def much_cut(self) -> bool:
        """Whether so many answers were cut that the figure is flagged."""
        return (self.cut or 0) > MANY_CUT

    @property
    def dark(self) -> bool:
        """Whether the shade calls for light text."""
        return self.value >= DARK_FROM

    @property
    def tooltip(self) -> str:
        """The whole of what is known of this cell, in words."""
        parts = [f"{self.value:.1%}, interval {self.low:.1%} to {self.high:.1%}"] if self.measured else []
        shares = {
            "old object": self.old,
            "neither": self.neither,
            "cut at the limit of tokens before an object was named": self.cut,
            "new object more probable than old": self.preference,
        }
        parts += [f"{name} {share:.1%}" for name, share in shares.items() if share is not None]
        parts += [f"prompts that the unedited model knows: {self.known}"] * bool(self.known)
        return "; ".join([*parts, self.counted if self.measured else "no answer could be scored"])


@dataclass(frozen=True)
class NoneKnown:
    """A cell without a rate, because the unedited model answers no prompt with a stable object of the right type."""

    n_asked: int
    n_scored: int
    value: float

    @property
    def text(self) -> str:
        """Return what the cell says."""
        return f"0 known of {self.n_asked}"

    @property
    def tooltip(self) -> str:
        """Return how many of the answers that could be scored are unchanged."""
        scored = f"all {self.n_asked}" if self.n_scored == self.n_asked else f"{self.n_scored} of {self.n_asked} scored"
        return f"of {scored} answers {self.value:.1%} are unchanged"


@dataclass(frozen=True)
class Row:
    """One kind of prompt; a cell is None where nothing was asked. `asked` says of how many probes and facts."""

    label: str
    asked: str
    cells: tuple[Cell | NoneKnown | None, ...]


@dataclass(frozen=True)
class Section:
    """The kinds of one family."""

    family: str
    label: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Column:
    """One method; `failed` says on how many facts it could not be measured, empty if on none."""

    label: str
    baseline: bool
    failed: str = ""


@dataclass(frozen=True)
class HeatTable:
    """One model under one protocol."""

    model: str
    protocol: str
    label: str
    methods: tuple[Column, ...]
    sections: tuple[Section, ...]


def heat_tables(headline: pd.DataFrame, facts: Mapping[str, int] = MappingProxyType({})) -> dict[str, list[HeatTable]]:
    """For each model its tables, free generation first; protocols that give no verdicts have none.

    Args:
        headline: model, method, kind, family, protocol, metric, value, low, high, n_probes, n_facts, and n_failed if
            that was counted.
        facts: How many facts each model's run edits.
    """
    about = zip(headline["metric"], headline["family"], headline["protocol"], strict=True)
    shown = headline[[metric in _shown(family, protocol) for metric, family, protocol in about]]
    tables: dict[str, list[HeatTable]] = {}
    for model in headline["model"].unique():
        for protocol in in_order(shown.loc[shown["model"] == model, "protocol"], PROTOCOLS):
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
        label=spoken(protocol, PROTOCOLS),
        methods=tuple(
            Column(spoken(method, METHODS), method in BASELINES, failed_of(rows[rows["method"] == method], facts))
            for method in methods
        ),
        sections=tuple(section for section in sections if section.rows),
    )


def failed_of(rows: pd.DataFrame, facts: int | None) -> str:
    """Return on how many facts the method of these rows could not be measured; empty if on none."""
    number = int(rows["n_failed"].max()) if "n_failed" in rows and len(rows) else 0
    if not number:
        return ""
    return f"{number} of {facts} facts failed" if facts else f"{number} facts failed"


def _shown(family: str, protocol: str) -> tuple[str, ...]:
    """Return the metric that cells of a family show, and the same over all prompts if there is one."""
    main = CELLS.get((family, protocol), MAIN.get(family))
    if main is None:
        return ()
    return (main, specificity.ALL_PROMPTS[main]) if main in specificity.ALL_PROMPTS else (main,)


def _section(rows: pd.DataFrame, family: str, protocol: str, methods: list[str]) -> Section:
    metrics = _shown(family, protocol)
    kinds = in_order(rows.loc[rows["metric"].isin(metrics), "kind"], KINDS)
    return Section(
        family=family,
        label=spoken(family, FAMILIES),
        rows=tuple(_row(rows[rows["kind"] == kind], kind, metrics[0], methods) for kind in kinds),
    )


def _row(rows: pd.DataFrame, kind: str, metric: str, methods: list[str]) -> Row:
    cells = tuple(_cell(rows[rows["method"] == method], metric) for method in methods)
    counts = dict.fromkeys(cell.counted for cell in cells if isinstance(cell, Cell) and cell.measured)
    return Row(label=spoken(kind, KINDS), asked="; ".join(counts), cells=cells)


def _cell(rows: pd.DataFrame, metric: str) -> Cell | NoneKnown | None:
    by_metric = {row["metric"]: row for row in rows.to_dict("records")}
    main, everything = by_metric.get(metric), by_metric.get(specificity.ALL_PROMPTS.get(metric, ""))

    def share(name: str, *, known: bool = metric == "success") -> float | None:
        known = known and name in by_metric and pd.notna(by_metric[name]["value"])
        return float(by_metric[name]["value"]) if known else None

    cut = share("cut", known=True)
    known = "" if main is None or everything is None else specificity.known_of(main, everything)
    if everything is not None and pd.notna(everything["value"]) and not (main and specificity.n_asked(main)):
        return NoneKnown(specificity.n_asked(everything), int(everything["n_probes"]), everything["value"])
    main = main or everything
    if main is None or (pd.isna(main["value"]) and not cut):
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
        known=known,
        cut=cut,
    )


def sentences(headline: pd.DataFrame, rivals: pd.DataFrame) -> dict[str, list[str]]:
    """Return the findings in a few sentences for each model, made from the numbers; the first is the headline.

    Args:
        headline: model, method, kind, protocol, metric, value, low, high.
        rivals: `statistics.gaps.RIVAL_COLUMNS`.
    """
    return {
        str(model): list(_sentences(str(model), rows, rivals[rivals["model"] == model]))
        for model, rows in headline.groupby("model", sort=False)
    }


def _sentences(model: str, rows: pd.DataFrame, rivals: pd.DataFrame) -> Iterator[str]:
    success = rows[(rows["metric"] == "success") & (rows["protocol"] == "free")].dropna(subset=["value"])
    edits = success[~success["method"].isin(BASELINES)]
    statements = edits[edits["kind"] == "statement"]
    if statements.empty:
        yield f"No editing method was asked its statement by free generation on {model}."
        yield from _failed(rows)
        return
    means = _means(edits)
    best = max(statements["method"], key=lambda m: means[m])
    name = spoken(best, METHODS)
    mine = edits[edits["method"] == best]
    yield _headline(model, name, mine)
    forced = rows[(rows["metric"] == "success") & (rows["protocol"] == "teacher_forced")]
    both = [_means(table[table["kind"] == "paraphrase"]).get(best) for table in (edits, forced)]
    compared = "" if None in both else f", on paraphrases at {both[0]:.0%} where teacher forcing reports {both[1]:.0%}"
    yield f"Over all kinds of prompt {name} stands at {means[best]:.0%} by free generation{compared}."
    yield from _against_context(name, rivals[(rivals["method"] == best) & (rivals["rival"] == "context")])
    yield from _failed(rows)
    yield from _cut(rows[(rows["metric"] == "cut") & (rows["protocol"] == "free")], best)
    yield from specificity.sentences(name, rows[(rows["protocol"] == "free") & (rows["method"] == best)])


def _headline(model: str, name: str, mine: pd.DataFrame) -> str:
    statement = mine[mine["kind"] == "statement"].iloc[0]
    start = f"After {name}, {model} answers {_rate(statement)} of the edited statements with the new object"
    weakest = mine.iloc[int(mine["value"].to_numpy().argmin())]
    if weakest["value"] >= statement["value"]:
        return f"{start}, and no other kind of prompt does worse."
    return f"{start}, but {_rate(weakest)} of its weakest kind of prompt: {_lower(weakest['kind'])}."


def _against_context(name: str, rivals: pd.DataFrame) -> Iterator[str]:
    """Compare with the fact in the prompt; more or less only where the interval of the difference excludes 0."""
    for row in rivals.to_dict("records"):
        told_apart = row["low"] > 0 or row["high"] < 0
        verdict = f"{'less' if row['gap'] > 0 else 'more'} than {name}" if told_apart else f"not told apart from {name}"
        if pd.isna(row["low"]):
            verdict, interval = f"{name} stands at {row['value']:.0%}", ", with no interval,"
        else:
            interval = f" [{_points(-row['high'])}, {_points(-row['low'])}]"
        yield (
            "Writing the fact in one sentence before the prompt, no edit at all, gives "
            f"{row['value_rival']:.0%}: {verdict} ({_points(-row['gap'])} points{interval} on the same probes)."
        )


def _points(share: float) -> str:
    # as a whole number, which has no -0
    return f"{round(100 * share):+d}"


def _cut(rows: pd.DataFrame, best: str) -> Iterator[str]:
    """Say how many answers of the methods that the sentences compare were cut, if they are many."""
    means = _means(rows[(rows["family"] == "edit") & rows["method"].isin([best, "context"])])
    shares = [f"{share:.0%} ({spoken(method, METHODS)})" for method, share in means.items() if share > MANY_CUT]
    if shares:
        yield (
            f"These figures may be too low: the limit of tokens cut {' and '.join(shares)} of the answers to these "
            "prompts before they named an object. They count as no success."
        )


def _failed(rows: pd.DataFrame) -> Iterator[str]:
    """Say which methods' figures are about fewer facts than others', because they failed on some."""
    named = [
        f"{spoken(method, METHODS)} ({failed})"
        for method in in_order(rows["method"], METHODS)
        if (failed := failed_of(rows[rows["method"] == method], None))
    ]
    if named:
        yield f"Not all facts could be measured: {', '.join(named)}. Each figure is about the facts that could be."


def _means(rows: pd.DataFrame) -> dict[str, float]:
    """Mean over kinds of prompt, each weighing the same."""
    means = rows.groupby("method", observed=True)["value"].mean().dropna()
    return {str(method): float(mean) for method, mean in means.items()}


def _rate(row: pd.Series) -> str:
    return f"{row['value']:.0%} [{row['low']:.0%}, {row['high']:.0%}]"


def _lower(kind: str) -> str:
    return spoken(kind, KINDS).lower()
