"""Report page: turns the findings into one HTML file. The template has the layout, the tables have the content."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from edit_robustness.editing.registry import ENTRIES
from edit_robustness.labels import (
    ABILITIES,
    BASELINE,
    BENCHMARKS,
    DATASETS,
    ESTIMATORS,
    KINDS,
    METHODS,
    PREDICTION_METRICS,
    PREDICTORS,
    PROTOCOLS,
    REGRESSIONS,
    in_order,
    label_of,
    outcome_label,
    term_label,
)
from edit_robustness.notation import format_p, write_p
from edit_robustness.report import paper1
from edit_robustness.report.answers import Evidence, answer_questions, describe_slope, list_cautions
from edit_robustness.report.associations import list_correlations
from edit_robustness.report.examples import embed_examples
from edit_robustness.report.failures import explain_no_failures, explain_no_specificity_failures
from edit_robustness.report.heat import MANY_CUT, heat_tables
from edit_robustness.report.overview import overviews
from edit_robustness.report.regressions import list_regressions
from edit_robustness.report.rows import records
from edit_robustness.report.run_details import run_details
from edit_robustness.report.runs import (
    count_facts,
    list_contexts,
    list_failures,
    list_methods,
    list_mixed,
    list_models,
    list_unmet,
    summary,
)
from edit_robustness.report.scope import describe_scope
from edit_robustness.report.side_by_side import gap_lines, paper_tables
from edit_robustness.report.specificity import ALL_PROMPTS
from edit_robustness.tables import select_rows

FIGURES = ("robustness", "protocol", "popularity", "success", "correlation")
TEMPLATES = "templates"
REJECTS_SHOWN = 50

MIXED = "MIXED:"
"""Start of the source of page views that do not count the same thing (`features.declared`)."""


@dataclass(frozen=True)
class Findings:
    """All data of the page.

    Attributes:
        headline: model, method, kind, family, decoding, protocol, metric, unit, value, low, high, n_probes, n_facts,
            n_missing.
        overview: The same columns over all kinds of each family, and for specificity per kind.
        gaps: Teacher forcing against free generation (`statistics.gaps.protocol_gaps`).
        method_comparisons: All methods pairwise (`statistics.comparisons.compare_methods`).
        method_rankings: Methods by their means (`statistics.comparisons.rank_methods`).
        weakest_kinds: Kinds of prompt by method (`statistics.comparisons.weakest_kinds`).
        paper_1: The first paper's table with this run's figures (`report.paper1.beside`).
        orderings: The paper's orderings of methods and kinds in this run (`report.paper1.orderings`).
        correlations: A row per correlation with page views (`statistics.difficulty.correlations`).
        power: model, n_facts, detectable, rho, n_needed, power of the edited facts.
        regression: Terms of the regressions (`statistics.regression.regress`, its first table).
        prediction: model and the columns of `statistics.prediction.predict`.
        importance: model, feature, metric, value, low, high: what the full predictor loses without a feature.
        failure_examples: Answers that fail although the statement succeeds (`report.failures.sharpest_failures`).
        specificity_failures: Answers to specificity probes with the new object.
        rejects: row, id, subject, relation, reason of rejected facts.
        regression_checks: Checks of the regressions (the second table).
        examples: Answers behind each cell of the heat map (`report.examples.cell_examples`).
        runs: The record of each run; any key may be missing.
        figures: Figures by the names in `FIGURES`; missing ones are left out.
        confidence: Level of all intervals.
        failed_items: Items that failed: model, method, stage, fact_id, reason.
        feature_summary: Features of facts with sources and missing values (`features.table.SUMMARY_COLUMNS`).
        max_failures: Most cases that were selected per model and method; with 0 an empty table is no success.
        dataset_rates: Rates in each data set (`statistics.comparisons.rates_by_dataset`).
        has_answers: Whether the run has answers; tables that are kept of a study have none.
    """

    headline: pd.DataFrame
    overview: pd.DataFrame
    gaps: pd.DataFrame
    method_comparisons: pd.DataFrame
    method_rankings: pd.DataFrame
    weakest_kinds: pd.DataFrame
    paper_1: pd.DataFrame
    orderings: pd.DataFrame
    correlations: pd.DataFrame
    power: pd.DataFrame
    regression: pd.DataFrame
    prediction: pd.DataFrame
    failure_examples: pd.DataFrame
    specificity_failures: pd.DataFrame
    rejects: pd.DataFrame
    runs: Sequence[Mapping[str, Any]]
    figures: Mapping[str, go.Figure] = field(default_factory=dict)
    confidence: float = 0.95
    failed_items: pd.DataFrame = field(default_factory=pd.DataFrame)
    examples: pd.DataFrame = field(default_factory=pd.DataFrame)
    feature_summary: pd.DataFrame = field(default_factory=pd.DataFrame)
    regression_checks: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["model", "name", "flag"]))
    importance: pd.DataFrame = field(default_factory=pd.DataFrame)
    max_failures: int = 3
    dataset_rates: pd.DataFrame = field(default_factory=pd.DataFrame)
    has_answers: bool = True


def render(findings: Findings) -> str:
    """Render the report as one self-contained HTML document.

    Everything is escaped except trusted texts: the style sheet, the scripts, and figures and examples as JSON, in
    which ``<`` is escaped so that no text can end its script element.
    """
    tables = heat_tables(findings.headline, count_facts(findings.runs))
    feature_labels = _feature_labels(findings.feature_summary)
    evidence = _collect_evidence(findings, feature_labels)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            style=Markup(style()),
            script=Markup(script()),
            examples=embed_examples(findings.examples),
            plotly=Markup(read_vendored("plotly-basic")),
            figures={name: figure_json(findings.figures[name]) for name in FIGURES if name in findings.figures},
            models=list(tables),
            heat=tables,
            answers={model: answer_questions(evidence, model) for model in tables},
            scope={
                model: describe_scope(model, findings.runs, findings.headline, findings.dataset_rates)
                for model in tables
            },
            cautions={
                str(model): list(list_cautions(rows, _of_free(findings.method_rankings, str(model))))
                for model, rows in findings.headline.groupby("model", sort=False)
            },
            confidence=findings.confidence,
            missing=_count_missing(findings.headline),
            cut=_count_cut(findings.headline),
            judged=bool((findings.headline["protocol"] == "judge").any()),
            overviews=overviews(findings.overview),
            gaps=gap_lines(findings.gaps),
            paper=paper_tables(findings.paper_1, findings.orderings),
            PAPER_MODEL=paper1.MODEL,
            DIFFERENT=paper1.DIFFERENT,
            recall_rows=_select_recall(findings.correlations),
            correlations=list(list_correlations(findings.correlations, feature_labels, findings.confidence)),
            power=records(findings.power),
            features=_by_model(findings.feature_summary),
            feature_labels=feature_labels,
            regressions=list(list_regressions(findings.regression, findings.regression_checks, feature_labels)),
            prediction=_by_model(findings.prediction),
            importance=_by_model(findings.importance),
            unmeasured=_list_unmeasured(findings.feature_summary),
            held_out=str(findings.prediction["groups"].iloc[0]) if len(findings.prediction) else "relation",
            PREDICTION_METRICS=PREDICTION_METRICS,
            REGRESSIONS=REGRESSIONS,
            failure_examples=_cases(findings.failure_examples),
            has_answers=findings.has_answers,
            no_failures=explain_no_failures(findings.headline, findings.max_failures),
            specificity_failures=_cases(findings.specificity_failures),
            no_specificity_failures=explain_no_specificity_failures(findings.headline, findings.max_failures),
            rejects=records(findings.rejects),
            failed_items=list_failures(findings.failed_items),
            REJECTS_SHOWN=REJECTS_SHOWN,
            methods=_describe_methods(findings.headline),
            mixed_views=list(_list_mixed_views(findings.feature_summary)),
            run=list((dict(run_details(findings.runs)) | dict(summary(findings.runs))).items()),
            run_models=list_models(findings.runs),
            run_methods=list_methods(findings.runs),
            run_contexts=list_contexts(findings.runs),
            run_unmet=list_unmet(findings.runs),
            run_mixed=list_mixed(findings.runs),
        )
    )


def _collect_evidence(findings: Findings, feature_labels: Mapping[str, str]) -> Evidence:
    return Evidence(
        rankings=findings.method_rankings,
        comparisons=findings.method_comparisons,
        kinds=findings.weakest_kinds,
        headline=findings.headline,
        correlations=findings.correlations,
        regression=findings.regression,
        regression_checks=findings.regression_checks,
        prediction=findings.prediction,
        dataset_rates=findings.dataset_rates,
        labels=feature_labels,
        shares=_list_shares(findings.feature_summary),
        confidence=findings.confidence,
    )


def _of_free(rankings: pd.DataFrame, model: str) -> pd.DataFrame:
    """Select the rows of one model by free generation."""
    return rankings[(rankings["model"] == model) & (rankings["protocol"] == "free")] if len(rankings) else rankings


def environment() -> Environment:
    """Return a Jinja environment that always escapes, and raises an error for undefined names."""
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
        odds=_odds,
        p=format_p,
        write_p=write_p,
        method=lambda name: label_of(name, METHODS),
        kind=lambda name: label_of(name, KINDS),
        protocol=lambda name: label_of(name, PROTOCOLS),
        outcome=outcome_label,
        predictor=lambda name: label_of(name, PREDICTORS),
        term=term_label,
        dataset=lambda name: label_of(name, DATASETS),
        estimator=lambda name: label_of(name, ESTIMATORS),
        benchmark=lambda name: label_of(name, BENCHMARKS),
        ability=lambda name: label_of(name, ABILITIES),
        slope_caution=describe_slope,
        soften=_soften,
    )
    environment.globals["MANY_CUT"] = MANY_CUT
    environment.tests["baseline"] = lambda name: name == BASELINE
    return environment


def _odds(ratio: float) -> str:
    """Return an odds ratio as text; very large and very small ones are not told apart."""
    if pd.isna(ratio):
        return "–"
    if ratio == 0 or np.isinf(ratio):
        return "∞" if ratio else "0"
    return (
        "> 1,000" if ratio > 1000 else "< 0.001" if ratio < 0.001 else f"{ratio:.3g}" if ratio < 0.1 else f"{ratio:.2f}"
    )


def _soften(sentence: str) -> Markup:
    """Mark the intervals in brackets, so that they can be styled."""
    parts = re.split(r"(\[[^][]*\])", sentence)
    return Markup("").join(
        Markup('<span class="interval">{}</span>').format(part) if part.startswith("[") else part for part in parts
    )


def style() -> str:
    """Read the style sheet of all pages."""
    return files("edit_robustness.report").joinpath(TEMPLATES, "style.css").read_text(encoding="utf-8")


def script() -> str:
    """Read the script of all pages, with the library that sorts tables: filters, and the answers behind a cell."""
    page_script = files("edit_robustness.report").joinpath(TEMPLATES, "page.js").read_text(encoding="utf-8")
    return f"{read_vendored('tablesort')}\n{page_script}"


def read_vendored(name: str) -> str:
    """Read a JavaScript library of the folder `vendor`, below its licence."""
    folder = files("edit_robustness.report").joinpath("vendor")
    text, terms = (folder.joinpath(name + end).read_text(encoding="utf-8") for end in (".min.js", ".LICENSE"))
    return f"/*\n{terms}*/\n{text}"


def figure_json(figure: go.Figure) -> Markup:
    """Return a figure as JSON that cannot end its script element."""
    return Markup(figure.to_json().replace("<", "\\u003c"))


def _by_model(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    return {str(model): records(rows) for model, rows in table.groupby("model", sort=False)} if len(table) else {}


def _count_cut(headline: pd.DataFrame) -> list[dict[str, Any]]:
    """Count each model's answers that the token limit cut before they named an object, and all its answers."""
    table = headline[(headline["metric"] == "cut") & (headline["protocol"] == "free")]
    table = table.assign(cut=table["value"] * table["n_probes"])
    sums = table.groupby("model", sort=False)[["cut", "n_probes"]].sum().reset_index()
    cells = table["value"].gt(MANY_CUT).groupby(table["model"], sort=False).sum()
    return [{**row, "cut": round(row["cut"]), "cells": int(cells[row["model"]])} for row in records(sums)]


def _count_missing(headline: pd.DataFrame) -> dict[str, int]:
    """Count the figures that could not be measured, by protocol, without cut answers, which `_count_cut` counts."""
    # answers of a metric over known prompts are also answers of the metric over all prompts, so count them once
    twice = headline["metric"].isin(ALL_PROMPTS) & (headline["protocol"] != "teacher_forced")
    cut_rows = headline[(headline["metric"] == "cut") & headline["family"].eq("specificity")]
    cut_rows = cut_rows.assign(n_missing=-(cut_rows["value"] * cut_rows["n_probes"]).fillna(0).round().astype(int))
    figure_rows = pd.concat([headline[~twice], cut_rows], ignore_index=True)
    counts = figure_rows[figure_rows["unit"] == "share"].groupby("protocol", sort=False)["n_missing"].sum()
    return {str(protocol): int(number) for protocol, number in counts.items() if number > 0}


def _cases(table: pd.DataFrame) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Group cases by model and method; methods in their usual order."""
    return [
        (model, method, records(table[(table["model"] == model) & (table["method"] == method)]))
        for model in table["model"].unique()
        for method in in_order(table.loc[table["model"] == model, "method"], METHODS)
    ]


def _feature_labels(feature_summary: pd.DataFrame) -> dict[str, str]:
    """Return the label of each feature."""
    return dict(feature_summary[["feature", "label"]].to_numpy().tolist()) if len(feature_summary) else {}


def _list_unmeasured(feature_summary: pd.DataFrame) -> dict[str, set[str]]:
    """Return the features of each model that no edited fact has a value of."""
    if feature_summary.empty:
        return {}
    rows = feature_summary[feature_summary["n_edited_missing"] == feature_summary["n_edited"]]
    return {str(model): set(table["feature"]) for model, table in rows.groupby("model", sort=False)}


def _list_shares(feature_summary: pd.DataFrame) -> set[str]:
    """Return the features that are 1 for some facts and 0 for the others."""
    rows = select_rows(feature_summary, scale="share", low=0, high=1)
    return set(rows["feature"]) if len(rows) else set()


def _describe_methods(headline: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the label and the description of each method, the unedited model and baselines first."""
    return [
        (ENTRIES[name].label, ENTRIES[name].description)
        for name in in_order(headline["method"], METHODS)
        if name in ENTRIES
    ]


def _list_mixed_views(feature_summary: pd.DataFrame) -> Iterator[str]:
    """Yield a caution for each model whose page views have several sources."""
    rows = select_rows(feature_summary, feature="log_views")
    for row in records(rows):
        if str(row["source"]).startswith(MIXED):
            yield (
                f"{row['model']}: the facts' page views are from several sources, which count different things: "
                f"{str(row['source']).removeprefix(MIXED).lstrip()}."
            )


def _select_recall(correlations: pd.DataFrame) -> list[dict[str, Any]]:
    """Select each model's correlation of page views with recall, with its number of facts."""
    if correlations.empty:
        return []
    is_recall = (correlations["family"] == "recall") & (correlations["outcome"] == "recalled")
    return records(correlations[is_recall & (correlations["feature"] == "log_views")])
