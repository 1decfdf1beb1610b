"""All regressions of a run: every model of the configuration, for every language model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict

import pandas as pd

from edit_robustness.statistics.regression.checks import CAUTION, FINE, Check
from edit_robustness.statistics.regression.design import Design
from edit_robustness.statistics.regression.equations import Clusters
from edit_robustness.statistics.regression.estimators import ESTIMATORS
from edit_robustness.statistics.regression.fits import NotFitted, Regression, count_effective, drop_missing, refuse_rows
from edit_robustness.statistics.regression.rows import Rows, check_names, list_columns, select_rows
from edit_robustness.statistics.regression.settings import RegressionModel
from edit_robustness.statistics.regression.table import TERM_COLUMNS, list_left_out

COLUMNS = [
    "model", "name", "formula", "family", "estimator", "groups", "outcome", "term", "reference", "estimate",
    "odds_ratio", "low", "high", "p", "effect", "effect_low", "effect_high", "n_probes", "n_facts", "n_clusters",
    "n_missing", "note",
]  # fmt: skip
CHECK_COLUMNS = ["model", "name", "check", "value", "flag", "action"]

NOT_FITTED = "not fitted"
MODEL_TERM = "(model)"
"""Term of the row that has the reason why a model was not fitted."""


def regress(
    outcomes: pd.DataFrame,
    models: Mapping[str, RegressionModel | None],
    fact_outcomes: pd.DataFrame | None = None,
    confidence: float = 0.95,
    features: Collection[str] = (),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit every regression for every language model.

    Args:
        outcomes: A row per score of a prompt: model, method, fact_id, probe_id, kind, family, protocol, metric, value,
            subject, relation, and a column per feature. Non-edits are left out.
        models: The regressions, by name; one that is None is left out.
        fact_outcomes: A row per fact and outcome, for regressions of these.
        confidence: Level of the intervals.
        features: Names of features. One that `outcomes` lacks is unknown for every fact.

    Returns:
        Two tables. The first has a row per term: model, name, formula, family, estimator, groups, outcome, term
        (``kind=cloze``, ``log_views:method=rome``; ``log_views|method=rome``: the effect within a level), reference,
        estimate (log odds ratio, or difference), odds_ratio, low, high and p (of the odds ratio, or of the difference
        if there is none; infinite on one side for a one-sided bound), effect, effect_low, effect_high (average marginal
        effect in percentage points, or in the outcome's unit), n_probes, n_facts, n_clusters, n_missing (facts that
        lack the term's feature), note. The second has the checks: model, name, check, value, flag, action.

    Raises:
        ValueError: If a formula names a column that does not exist, before any model is fitted.
    """
    regressions = {name: model for name, model in models.items() if model is not None}
    check_names(regressions, list_columns(outcomes, features))
    for name, model in regressions.items():
        if model.is_of_facts and fact_outcomes is None:
            raise ValueError(
                f"analyze.models.{name}: `{model.metric}` is an outcome of facts, and there is no table `fact_outcomes`"
            )
    tables, checks = [], []
    for language_model in outcomes["model"].unique():
        rows = outcomes[outcomes["model"] == language_model]
        facts = None if fact_outcomes is None else fact_outcomes[fact_outcomes["model"] == language_model]
        for name, model in regressions.items():
            table, model_checks = _regress_one(select_rows(rows, model, facts), model, confidence)
            first = {"model": language_model, "name": name}
            tables.append(table.assign(**first))
            checks += [{**first, **asdict(check)} for check in model_checks]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
    return table.reindex(columns=COLUMNS), pd.DataFrame(checks, columns=CHECK_COLUMNS)


def _regress_one(selection: Rows, model: RegressionModel, confidence: float) -> tuple[pd.DataFrame, list[Check]]:
    rows, checks = selection.table, list(_count_left_out(selection))
    design, n_clusters = None, 0
    try:
        if model.missing == "drop" and len(rows):
            rows = drop_missing(rows, model.parsed)
        refuse_rows(rows, model.groups)
        design = Design(model.parsed, rows, indicators=model.missing == "indicator")
        regression = Regression(rows, design, model.family, model.groups)
        estimate = ESTIMATORS[model.method].estimate(regression, confidence)
        terms, n_clusters = estimate.terms, estimate.n_clusters
        checks += [*_check_weights(regression, model), *estimate.checks]
    except NotFitted as reason:
        terms = [{"term": MODEL_TERM, "reference": "", "n_missing": 0, "note": f"{NOT_FITTED}: {reason}"}]
        terms += [] if design is None else list(list_left_out(design, set()))
        checks.append(Check("fit", float("nan"), NOT_FITTED, str(reason)))
    counts = {"n_probes": len(rows), "n_facts": rows["fact_id"].nunique(), "n_clusters": n_clusters}
    about = {
        "formula": model.formula, "family": model.family, "estimator": model.method, "groups": model.groups,
        "outcome": f"{model.metric}/{model.protocol}",
    }  # fmt: skip
    table = pd.DataFrame(terms).reindex(columns=TERM_COLUMNS).assign(**about, **counts)
    return table.astype(dict.fromkeys(TERM_COLUMNS[2:10], float)), checks


def _check_weights(regression: Regression, model: RegressionModel) -> list[Check]:
    if regression.weights is None:
        return []
    n_effective = count_effective(Clusters.of(regression.rows[model.groups].astype(str).to_numpy()), regression.weights)
    n_text = f"effective number of clusters ({model.groups})"
    if ESTIMATORS[model.method].is_weighted:
        action = f"{n_text}: weighted by `weight`, so figures are those of the table of facts; one-sided bounds are not"
        return [Check("weights", n_effective, FINE, action)]
    action = f"{n_text}, had weights been used: this estimator is unweighted, so figures are of the balanced sample"
    return [Check("weights", n_effective, CAUTION, action)]


def _count_left_out(selection: Rows) -> list[Check]:
    checks = []
    if selection.non_edits:
        names = ", ".join(f"{name} ({n})" for name, n in selection.non_edits.items())
        total = float(sum(selection.non_edits.values()))
        checks.append(Check("non-edits", total, FINE, f"probes left out, because these methods make no edit: {names}"))
    if selection.n_cut:
        checks.append(Check("no value", float(selection.n_cut), FINE, "probes without a value left out"))
    return checks
