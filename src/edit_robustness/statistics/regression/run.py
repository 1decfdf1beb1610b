"""All regressions of a run: every model of the configuration, for every language model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd
from scipy import stats

from edit_robustness.statistics.regression.checks import CAUTION, FINE, Check, check_fit, compare_complete
from edit_robustness.statistics.regression.conditional import ConditionalFit, bound_conditional, fit_conditional
from edit_robustness.statistics.regression.design import MISSING, Column, Design
from edit_robustness.statistics.regression.fits import FEWEST_CLUSTERS, Fit, NotFitted, fit_model, refuse_rows
from edit_robustness.statistics.regression.rows import Rows, check_names, list_columns, select_rows
from edit_robustness.statistics.regression.settings import RegressionModel
from edit_robustness.statistics.regression.table import TERM_COLUMNS, Row, list_left_out, list_rows

COLUMNS = [
    "model", "name", "formula", "family", "estimator", "groups", "outcome", "term", "reference", "estimate",
    "odds_ratio", "low", "high", "p", "effect", "effect_low", "effect_high", "n_probes", "n_facts", "n_clusters",
    "n_missing", "note",
]  # fmt: skip
CHECK_COLUMNS = ["model", "name", "check", "value", "verdict", "action"]

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
            subject, relation, and a column per feature. Baselines are not edits and are left out.
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
        lack the term's feature), note. The second has the checks: model, name, check, value, verdict, action.

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


def _regress_one(selected: Rows, model: RegressionModel, confidence: float) -> tuple[pd.DataFrame, list[Check]]:
    rows, checks = selected.table, list(_count_left_out(selected))
    design, n_clusters = None, 0
    try:
        rows = _complete(rows, model)
        refuse_rows(rows, model.groups)
        design = Design(model.parsed, rows, indicators=model.missing == "indicator")
        if model.family == "conditional":
            terms, n_clusters, conditional_checks = _conditional(model, design, rows, confidence)
            checks += conditional_checks
        else:
            fit = fit_model(model, design, rows, confidence)
            terms, n_clusters = list_rows(fit, confidence), len(fit.clusters.sizes)
            checks += check_fit(fit, model.groups, confidence)
            if fit.design.missing:
                checks.append(_compare_complete(fit, model, rows, confidence))
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


def _count_left_out(selected: Rows) -> list[Check]:
    checks = []
    if selected.baselines:
        names = ", ".join(f"{name} ({n})" for name, n in selected.baselines.items())
        total = float(sum(selected.baselines.values()))
        checks.append(Check("baselines", total, FINE, f"probes left out, because baselines are not edits: {names}"))
    if selected.n_cut:
        checks.append(Check("no value", float(selected.n_cut), FINE, "probes without a value left out"))
    return checks


def _features(rows: pd.DataFrame, model: RegressionModel) -> list[str]:
    """Return the formula's features that are known for at least one fact."""
    names = [name for name in model.parsed.variables if rows[name].dtype != "category"]
    return [name for name in names if np.isfinite(rows[name]).any()]


def _complete(rows: pd.DataFrame, model: RegressionModel) -> pd.DataFrame:
    if model.missing == "indicator" or rows.empty:
        return rows
    return _drop_missing(rows, model)


def _drop_missing(rows: pd.DataFrame, model: RegressionModel) -> pd.DataFrame:
    mask = np.isfinite(rows[_features(rows, model)].to_numpy(dtype=float)).all(axis=1)
    complete_rows = rows[mask].reset_index(drop=True)
    for name in complete_rows.columns[complete_rows.dtypes == "category"]:
        complete_rows[name] = complete_rows[name].cat.remove_unused_categories()
    return complete_rows


def _compare_complete(fit: Fit, model: RegressionModel, rows: pd.DataFrame, confidence: float) -> Check:
    complete_rows = _drop_missing(rows, model)
    try:
        refuse_rows(complete_rows, model.groups)
        design = Design(model.parsed, complete_rows, indicators=False)
        complete = fit_model(model, design, complete_rows, confidence, with_bounds=False)
    except NotFitted as reason:
        return compare_complete(fit, None, str(reason))
    return compare_complete(fit, complete)


def _conditional(
    model: RegressionModel, design: Design, rows: pd.DataFrame, confidence: float
) -> tuple[list[Row], int, list[Check]]:
    """Fit a conditional logistic regression; columns that do not differ within a group are left out."""
    y, labels = rows["value"].to_numpy(dtype=float), rows[model.groups].astype(str).to_numpy()
    if not np.isin(y, (0.0, 1.0)).all():
        raise NotFitted("a conditional regression needs outcomes 0 and 1")
    x = design.full.matrix[:, design.kept]
    codes = pd.factorize(labels)[0]
    n_varying = _count_informative(y, codes)
    if n_varying < FEWEST_CLUSTERS:
        raise NotFitted(
            f"the outcome differs within {n_varying} of {codes.max() + 1} groups ({model.groups}), at least "
            f"{FEWEST_CLUSTERS} are needed"
        )
    inside = pd.Series(y).groupby(codes).transform("nunique").to_numpy() > 1
    means = pd.DataFrame(x[inside]).groupby(codes[inside]).transform("mean").to_numpy()
    columns = _independent_within(x[inside] - means)
    constant = sorted(set(range(x.shape[1])) - set(columns))
    fit = fit_conditional(y, x[:, columns], labels)
    if not fit.converged:
        raise NotFitted("the conditional likelihood did not converge")
    indices = [design.kept_columns[index] for index in columns]
    signs = {
        index: fit.separation.sign(unit)
        for index, unit in enumerate(np.eye(len(columns)))
        if not fit.separation.is_finite(unit)
    }
    bounds = {index: _bound_conditional(fit, index, indices, x[:, columns], rows, model, confidence) for index in signs}
    freedom = len(fit.groups) - len(columns) + fit.separation.basis.shape[1]
    terms = _conditional_rows(indices, fit, signs, bounds, confidence, freedom)
    left_out = [design.kept_columns[index] for index in constant]
    constant_names = {column.folded or column.name for column in left_out if MISSING not in column.name} - {"intercept"}
    blank = dict.fromkeys(TERM_COLUMNS[2:10], np.nan)
    reason = f"left out: the same for all prompts of one {model.groups}, or no prompts to compare"
    terms += [
        {"term": name, "reference": "", **blank, "n_missing": 0, "note": reason} for name in sorted(constant_names)
    ]
    terms += list(list_left_out(design, set()))
    total = codes.max() + 1
    n_inside = int(inside.sum())
    text = f"of {total} groups ({model.groups}); in the others all prompts succeed or all fail, which says nothing"
    check = Check("groups in which prompts differ", n_varying, FINE if n_varying >= 40 else CAUTION, text)
    separation = Check(
        "separation", float(len(signs)), CAUTION if signs else FINE,
        f"terms without a finite estimate, among {n_inside} prompts",
    )  # fmt: skip
    return terms, n_varying, [check, separation]


def _count_informative(y: np.ndarray, codes: np.ndarray) -> int:
    return int((pd.Series(y).groupby(codes).nunique() > 1).sum())


def _independent_within(x: np.ndarray) -> list[int]:
    """Return the columns that still differ, and are not determined by those before them, within groups."""
    indices: list[int] = []
    gram = x.T @ x / max(len(x), 1)
    scale = np.diag(gram).copy()
    for index in range(x.shape[1]):
        if scale[index] > 1e-12 and gram[index, index] > 1e-9 * scale[index]:
            indices.append(index)
            row = gram[index] / np.sqrt(gram[index, index])
            gram = gram - np.outer(row, row)
    return indices


def _bound_conditional(fit, index, columns, x, rows, model, confidence) -> float:
    """Bound an infinite column that is one level of a factor, in the rows of this level and of the reference."""
    sign, column = fit.separation.sign(np.eye(len(columns))[index]), columns[index]
    if not sign or not column.reference:
        return float("nan")
    values = rows[column.variables[0]].astype(str).to_numpy()
    mask = np.isin(values, [column.reference, column.name.partition("=")[2]])
    other_columns = [place for place, other in enumerate(columns) if column.variables[0] not in other.variables]
    offset = x[mask][:, other_columns] @ fit.beta[other_columns]
    y, labels = rows["value"].to_numpy(dtype=float)[mask], rows[model.groups].astype(str).to_numpy()[mask]
    return bound_conditional(y, x[mask, index], offset, labels, sign, confidence)


def _conditional_rows(
    columns: list[Column],
    fit: ConditionalFit,
    signs: Mapping[int, int],
    bounds: Mapping[int, float],
    confidence: float,
    freedom: int,
) -> list[Row]:
    """Return a row per column, with errors robust to groups that differ in their effects."""
    groups = len(fit.groups)
    errors = np.sqrt((fit.influences**2).sum(axis=0) * groups / (groups - 1))
    quantile = stats.t.ppf((1 + confidence) / 2, max(freedom, 1))
    rows = []
    for index, column in enumerate(columns):
        if MISSING in column.name:
            continue
        row = {**dict.fromkeys(TERM_COLUMNS[2:10], np.nan), "n_missing": 0, "note": ""}
        row |= {"term": column.name, "reference": column.reference}
        beta, error = fit.beta[index], errors[index]
        if index not in signs:
            low, high = np.exp(beta - quantile * error), np.exp(beta + quantile * error)
            p = 2 * stats.t.sf(abs(beta / error), max(freedom, 1))
            row |= {"estimate": beta, "odds_ratio": np.exp(beta), "low": low, "high": high, "p": p}
        elif not signs[index]:
            row["note"] = "prompts compared here never differ: no estimate"
        else:
            is_better, limit = signs[index] > 0, np.exp(bounds[index])
            row["odds_ratio"] = np.inf if is_better else 0.0
            row |= {"low": limit, "high": np.inf} if is_better else {"low": 0.0, "high": limit}
            description = f"{'better' if is_better else 'worse'} than its reference wherever they differ"
            row["note"] = f"{description}: one-sided {confidence:.0%} bound of the conditional likelihood"
        rows.append(row)
    return rows
