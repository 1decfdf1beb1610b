"""The page: findings in, one HTML file out. What stands where is the template's; what it says is the tables'."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from edit_robustness.labels import (
    ABILITIES,
    BASELINES,
    BENCHMARKS,
    KINDS,
    METHODS,
    OUTCOMES,
    PREDICTORS,
    PROTOCOLS,
    in_order,
    spoken,
    term_label,
)
from edit_robustness.report import paper1
from edit_robustness.report.heat import MANY_CUT, heat_tables, sentences
from edit_robustness.report.overview import overviews
from edit_robustness.report.runs import (
    contexts_run,
    facts_run,
    failures_run,
    methods_run,
    mixed_run,
    models_run,
    summary,
)
from edit_robustness.report.side_by_side import gap_lines, paper_tables
from edit_robustness.report.specificity import ALL_PROMPTS

FIGURES = ("robustness", "protocol", "popularity", "correlation")
TEMPLATES = "templates"
REJECTS_SHOWN = 50


@dataclass(frozen=True)
class Findings:
    """All that the page shows.

    Attributes:
        headline: model, method, kind, family, decoding, protocol, metric, unit, value, low, high, n_probes, n_facts,
            n_missing.
        overview: The same over all kinds of each family; of locality each kind by itself.
        gaps: Teacher forcing against free generation; see `statistics.gaps.protocol_gaps`.
        rivals: Each method against the rivals that change no weight; see `statistics.gaps.rival_gaps`.
        paper_1: The first paper's table beside ours; see `report.paper1.beside`.
        orderings: Which of its orderings are found here; see `report.paper1.orderings`.
        correlations: A row for each correlation with page views; see `statistics.difficulty.correlations`.
        power: model, n_facts, detectable, rho, n_needed, power: what the edited facts can show.
        regression: model and the columns of `statistics.regression.regress`.
        prediction: model and the columns of `statistics.prediction.predict`.
        failures: Answers that lose an edit; see `report.failures.sharpest_failures`.
        breaks: Answers of the family locality that became the new object; see `report.failures.locality_breaks`.
        rejects: row, id, subject, relation, reason of facts set aside.
        runs: What each run recorded of itself; any key may be missing.
        figures: Figures by the names in `FIGURES`; one that is missing is left out.
        confidence: Level of all intervals.
        failed_items: Items that could not be made: model, method, stage, fact_id, reason.
    """

    headline: pd.DataFrame
    overview: pd.DataFrame
    gaps: pd.DataFrame
    rivals: pd.DataFrame
    paper_1: pd.DataFrame
    orderings: pd.DataFrame
    correlations: pd.DataFrame
    power: pd.DataFrame
    regression: pd.DataFrame
    prediction: pd.DataFrame
    failures: pd.DataFrame
    breaks: pd.DataFrame
    rejects: pd.DataFrame
    runs: Sequence[Mapping[str, Any]]
    figures: Mapping[str, go.Figure] = field(default_factory=dict)
    confidence: float = 0.95
    failed_items: pd.DataFrame = field(default_factory=pd.DataFrame)


def render(findings: Findings) -> str:
    """The report as one self-contained HTML document.

    Everything is escaped but three texts of our own making: the style sheet, plotly.js, and figures as JSON, in which
    ``<`` is written as an escape so that no text can end its script element.
    """
    tables = heat_tables(findings.headline, facts_run(findings.runs))
    said = sentences(findings.headline, findings.rivals)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            style=Markup(style()),
            plotly=Markup(get_plotlyjs()),
            figures={name: embedded(findings.figures[name]) for name in FIGURES if name in findings.figures},
            models=list(tables),
            heat=tables,
            sentences=said,
            confidence=findings.confidence,
            missing=_missing(findings.headline),
            cut=_cut(findings.headline),
            judged=bool((findings.headline["protocol"] == "judge").any()),
            overviews=overviews(findings.overview),
            gaps=gap_lines(findings.gaps),
            paper=paper_tables(findings.paper_1, findings.orderings),
            PAPER_MODEL=paper1.MODEL,
            DIFFERENT=paper1.DIFFERENT,
            memorised=_memorised(findings.correlations),
            correlations=records(findings.correlations),
            power=records(findings.power),
            regression=_by_model(findings.regression),
            prediction=_by_model(findings.prediction),
            failures=_cases(findings.failures),
            breaks=_cases(findings.breaks),
            rejects=records(findings.rejects),
            failed_items=failures_run(findings.failed_items),
            REJECTS_SHOWN=REJECTS_SHOWN,
            run=summary(findings.runs),
            run_models=models_run(findings.runs),
            run_methods=methods_run(findings.runs),
            run_contexts=contexts_run(findings.runs),
            run_mixed=mixed_run(findings.runs),
        )
    )


def environment() -> Environment:
    """Jinja with escaping always on, and an error where a template names what is not there."""
    environment = Environment(
        loader=PackageLoader("edit_robustness.report", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=lambda share: "–" if pd.isna(share) else f"{share:.0%}",
        number=lambda value, digits=2: "–" if pd.isna(value) else f"{value:,.{digits}f}",
        p=lambda value: "–" if pd.isna(value) else "< .001" if value < 0.001 else f"{value:.3f}",
        method=lambda name: spoken(name, METHODS),
        kind=lambda name: spoken(name, KINDS),
        protocol=lambda name: spoken(name, PROTOCOLS),
        outcome=lambda name: spoken(name, OUTCOMES),
        predictor=lambda name: spoken(name, PREDICTORS),
        term=term_label,
        benchmark=lambda name: spoken(name, BENCHMARKS),
        ability=lambda name: spoken(name, ABILITIES),
        soften=_soften,
    )
    environment.globals["MANY_CUT"] = MANY_CUT
    environment.tests["baseline"] = lambda name: name in BASELINES
    return environment


def _soften(sentence: str) -> Markup:
    """Intervals, which stand in brackets, set apart from the sentence."""
    parts = re.split(r"(\[[^][]*\])", sentence)
    return Markup("").join(
        Markup('<span class="interval">{}</span>').format(part) if part.startswith("[") else part for part in parts
    )


def style() -> str:
    """The style sheet of every page."""
    return files("edit_robustness.report").joinpath(TEMPLATES, "style.css").read_text(encoding="utf-8")


def embedded(figure: go.Figure) -> Markup:
    """A figure as JSON that no text in it can end the script element of."""
    return Markup(figure.to_json().replace("<", "\\u003c"))


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A dict for each row."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _by_model(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    return {str(model): records(rows) for model, rows in table.groupby("model", sort=False)} if len(table) else {}


def _cut(headline: pd.DataFrame) -> list[dict[str, Any]]:
    """How many answers of each model a limit of tokens cut before they named an object, of how many."""
    table = headline[(headline["metric"] == "cut") & (headline["protocol"] == "free")]
    table = table.assign(cut=table["value"] * table["n_probes"])
    sums = table.groupby("model", sort=False)[["cut", "n_probes"]].sum().reset_index()
    cells = table["value"].gt(MANY_CUT).groupby(table["model"], sort=False).sum()
    return [{**row, "cut": round(row["cut"]), "cells": int(cells[row["model"]])} for row in records(sums)]


def _missing(headline: pd.DataFrame) -> dict[str, int]:
    """How many verdicts could not be measured, by protocol; locality lacks those that were cut, which `_cut` counts."""
    # a metric of known prompts is about some of the answers that the metric of all prompts is about
    twice = headline["metric"].isin(ALL_PROMPTS) & (headline["protocol"] != "teacher_forced")
    cut = headline[(headline["metric"] == "cut") & headline["family"].eq("locality")]
    cut = cut.assign(n_missing=-(cut["value"] * cut["n_probes"]).fillna(0).round().astype(int))
    verdicts = pd.concat([headline[~twice], cut], ignore_index=True)
    missing = verdicts[verdicts["unit"] == "share"].groupby("protocol", sort=False)["n_missing"].sum()
    return {str(protocol): int(number) for protocol, number in missing.items() if number > 0}


def _cases(table: pd.DataFrame) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Cases by model and method, methods in their usual order."""
    return [
        (model, method, records(table[(table["model"] == model) & (table["method"] == method)]))
        for model in table["model"].unique()
        for method in in_order(table.loc[table["model"] == model, "method"], METHODS)
    ]


def _memorised(correlations: pd.DataFrame) -> list[dict[str, Any]]:
    """For each model the facts behind the memorisation figures: with page views, and without."""
    if correlations.empty:
        return []
    recalled = correlations[(correlations["family"] == "memorisation") & (correlations["outcome"] == "recalled")]
    return records(recalled)
