"""The data of a report page from made-up tables, with every figure."""

from __future__ import annotations

from fabricated_tables import Tables, fabricate

from edit_robustness.plots.popularity import correlation_figure, popularity_figure, success_figure
from edit_robustness.plots.robustness import protocol_figure, robustness_figure
from edit_robustness.report import Findings, paper1
from edit_robustness.report.examples import cell_examples
from edit_robustness.report.failures import sharpest_failures, specificity_failures
from edit_robustness.statistics.comparisons import compare_methods, rank_methods, weakest_kinds
from edit_robustness.statistics.curves import popularity_curves
from edit_robustness.statistics.difficulty import correlations, popularity_cells, power_table
from edit_robustness.statistics.fact_outcomes import fact_outcomes, probe_outcomes
from edit_robustness.statistics.gaps import protocol_gaps
from edit_robustness.statistics.intervals import rates
from edit_robustness.statistics.popularity import trend
from edit_robustness.statistics.prediction import predict
from edit_robustness.statistics.regression import RegressionModel, regress
from edit_robustness.statistics.validation import Validation, probes_of_edits

MODELS = {
    "prompts": RegressionModel("success ~ kind + method"),
    "popularity": RegressionModel("success ~ kind*method + log_views*method + C(relation)"),
}
MODELLED = ("none", "context", "ft", "rome", "memit", "grace")
"""Methods in the regressions and the prediction, whose time grows with their number."""

CORRELATED = (*MODELLED, "ike")
"""Methods in the correlations, for the same reason."""

VALIDATION = Validation(groups="subject", folds=2, bootstrap=100, permutations=1)

MEASURE = ("decoding", "protocol", "metric", "unit")


def make_findings(tables: Tables | None = None, *, popularity: bool = False) -> Findings:
    """Estimate all tables of the page of one model.

    Args:
        tables: Made-up tables, of 24 facts and five methods unless given.
        popularity: Draw the figures of page views, too, which takes longer.
    """
    tables = tables or fabricate()
    facts = tables.facts.assign(model="smollm2")
    score_rows = probe_outcomes(tables.scores, facts, tables.features, tables.feature_summary)
    by = ["model", "method", "kind", "family", *MEASURE]
    headline = rates(score_rows, by)
    together = score_rows.assign(kind=score_rows["kind"].where(score_rows["family"] == "specificity", "all"))
    beside = paper1.beside(rates(paper1.select_rows(score_rows), paper1.KEYS))
    fact_rows = fact_outcomes(score_rows, facts, tables.recall)
    correlated_rows = fact_rows[fact_rows["method"].isin(CORRELATED)]
    correlation_rows, _ = correlations(correlated_rows, tables.features, tables.feature_summary, tables.recall)
    comparisons = compare_methods(fact_rows)
    modelled_rows = score_rows[score_rows["method"].isin(MODELLED)]
    regression, checks = regress(modelled_rows, MODELS)
    names = list(tables.feature_summary["feature"])
    predictions = predict(probes_of_edits(modelled_rows), names, VALIDATION)
    figures = {"robustness": robustness_figure(headline), "protocol": protocol_figure(headline)}
    if popularity:
        cells = popularity_cells(fact_rows, tables.features, tables.recall, ["log_views"])
        curves = popularity_curves(cells, ["log_views"])
        figures["popularity"] = popularity_figure(tables.features, curves, trend(tables.features))
        figures["success"] = success_figure(curves)
        figures["correlation"] = correlation_figure(correlation_rows, alpha=0.05)
    return Findings(
        headline=headline,
        overview=rates(together, by),
        gaps=protocol_gaps(score_rows),
        method_comparisons=comparisons,
        method_rankings=rank_methods(fact_rows, comparisons),
        weakest_kinds=weakest_kinds(fact_rows),
        paper_1=beside,
        orderings=paper1.orderings(beside),
        correlations=correlation_rows,
        power=power_table(facts, tables.features, correlation_rows),
        regression=regression,
        regression_checks=checks,
        prediction=predictions.prediction.assign(model="smollm2"),
        importance=predictions.importance.assign(model="smollm2"),
        failure_examples=sharpest_failures(tables.answers, tables.scores, 20),
        specificity_failures=specificity_failures(tables.answers, 3),
        examples=cell_examples(tables.answers, tables.scores, 5),
        rejects=tables.rejects,
        feature_summary=tables.feature_summary,
        runs=[tables.run],
        figures=figures,
    )
