"""Logistic regression of success on facts, prompts and methods, clustered by subject.

Generalised estimating equations (Liang and Zeger 1986) with an exchangeable correlation within a subject. Naive
standard errors would be about half as large. The covariance is that of Mancl and DeRouen (2001), "A covariance
estimator for GEE with improved small-sample properties", because subjects may be few, and intervals use Student's t. If
the data cannot support the model, the table contains the reason instead of an estimate.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats

from edit_robustness.labels import KINDS, METHODS, in_order
from edit_robustness.records import UNEDITED

FACTORS = {"kind": KINDS, "method": METHODS}
"""Factors with their known levels. The first level in the data is the reference."""

COVARIATES = ("log_views", "recalled", "log_perplexity_new")
COLUMNS = ["term", "reference", "odds_ratio", "low", "high", "p", "n_probes", "n_facts", "note"]

FEWEST_SUBJECTS = 10
"""Fewest clusters for a reliable cluster-robust covariance."""

LARGEST_EFFECT = 10.0
"""A log odds ratio beyond this (over one standard deviation of its term) is separation, not an estimate."""


@dataclass
class _Model:
    """Model before its fit: its rows, its design, and the terms that were left out, with reasons."""

    rows: pd.DataFrame
    design: pd.DataFrame = field(default_factory=pd.DataFrame)
    references: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)


def regress(outcomes: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Estimate odds ratios of success by GEE logistic regression, clustered by subject.

    Args:
        outcomes: A row for each probe of an edit: value (0, 1 or NaN), subject, fact_id, kind, method, log_views,
            recalled, log_perplexity_new. Rows of the method `none` are left out, because nothing was edited.
        confidence: Level of the intervals.

    Returns:
        term (``kind=cloze``, ``log_views`` ...), reference, odds_ratio, low, high, p, n_probes, n_facts, note. A term
        that could not be estimated has NaN and a reason. If no term could be, one row ``(model)`` has the reason.
    """
    model = _Model(outcomes[(outcomes["method"] != UNEDITED) & outcomes["value"].notna()])
    _drop_unknown(model)
    _drop_constant(model)
    reason = _explain_missing(model.rows)
    if not reason:
        _make_design(model)
        fit, reason = _fit(model)
    if reason:
        return _refuse(model, reason)
    return _table(model, fit, confidence)


def _drop_unknown(model: _Model) -> None:
    """Leave out covariates that are unknown for every fact, then rows that lack one of the others."""
    for name in COVARIATES:
        values = model.rows[name].astype(float)
        absent = ~np.isfinite(values)
        if absent.all():
            model.left_out[name] = "unknown for every fact"
        elif absent.any():
            model.missing[name] = model.rows.loc[absent, "fact_id"].nunique()
    covariates = [name for name in COVARIATES if name not in model.left_out]
    complete = np.isfinite(model.rows[covariates].to_numpy(dtype=float)).all(axis=1)
    model.rows = model.rows.loc[complete]


def _drop_constant(model: _Model) -> None:
    """Leave out levels whose probes all had the same outcome, until none is left: their odds are infinite."""
    while True:
        constant = [
            (factor, level, group["value"].iloc[0])
            for factor in FACTORS
            for level, group in model.rows.groupby(factor, observed=True)
            if group["value"].nunique() == 1
        ]
        if not constant or model.rows["value"].nunique() < 2:
            return
        for factor, level, value in constant:
            model.left_out[f"{factor}={level}"] = "every probe " + ("succeeded" if value else "failed")
            model.rows = model.rows[model.rows[factor] != level]


def _explain_missing(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "no probes are left to fit"
    if rows["value"].nunique() < 2:
        return "every probe " + ("succeeded" if rows["value"].iloc[0] else "failed") + ": there is nothing to explain"
    subjects = rows["subject"].nunique()
    if subjects < FEWEST_SUBJECTS:
        return f"{subjects} subjects are too few (at least {FEWEST_SUBJECTS})"
    return ""


def _make_design(model: _Model) -> None:
    """Build the design; page views and perplexity are centred, so that the intercept is an average fact."""
    rows = model.rows
    columns = {"intercept": pd.Series(1.0, index=rows.index)}
    for factor, level_labels in FACTORS.items():
        present = set(rows[factor])
        levels = in_order(present, level_labels)
        for level in levels[1:]:
            model.references[f"{factor}={level}"] = str(levels[0])
            columns[f"{factor}={level}"] = (rows[factor] == level).astype(float)
    for name in COVARIATES:
        if name not in model.left_out:
            values = rows[name].astype(float)
            columns[name] = values if name == "recalled" else values - values.mean()
    model.design = _full_rank(pd.DataFrame(columns), model)


def _full_rank(design: pd.DataFrame, model: _Model) -> pd.DataFrame:
    """Leave out columns that others determine (a constant one, two that always coincide), or that separate."""
    terms: list[str] = []
    for name in map(str, design.columns):
        column = design[name]
        separates = name == "recalled" and model.rows.groupby(column)["value"].nunique().min() == 1
        if separates:
            model.left_out[name] = "separates success from failure"
        elif np.linalg.matrix_rank(design[[*terms, name]]) == len(terms) + 1:
            terms.append(name)
        else:
            model.left_out[name] = "collinear with the terms above"
    return design[terms]


def _fit(model: _Model):
    """Fit the GEE; return it with an empty reason, or None with the reason."""
    equations = sm.GEE(
        model.rows["value"].to_numpy(),
        model.design,
        groups=pd.factorize(model.rows["subject"])[0],
        family=sm.families.Binomial(),
        cov_struct=sm.cov_struct.Exchangeable(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = equations.fit(maxiter=200, cov_type="bias_reduced")
        except (np.linalg.LinAlgError, ValueError) as error:
            return None, f"the equations could not be solved ({error})"
        errors = fit.bse
    spread = model.design.std().where(lambda s: s > 0, 1.0)
    size = (fit.params.abs() * spread).max()
    if not fit.converged or not np.isfinite(errors).all() or not size < LARGEST_EFFECT:
        return None, "the terms separate success from failure, so no finite odds ratio exists"
    return fit, ""


def _table(model: _Model, fit, confidence: float) -> pd.DataFrame:
    """Build the table, with Student's t with as many degrees of freedom as subjects less between-subject terms."""
    within = model.design.groupby(model.rows["subject"].to_numpy()).nunique().max() > 1
    freedom = max(model.rows["subject"].nunique() - int((~within).sum()), 1)
    half = stats.t.ppf((1 + confidence) / 2, freedom) * fit.bse
    table = pd.DataFrame(
        {
            "term": fit.params.index,
            "reference": [model.references.get(term, "") for term in fit.params.index],
            "odds_ratio": np.exp(fit.params.to_numpy()),
            "low": np.exp((fit.params - half).to_numpy()),
            "high": np.exp((fit.params + half).to_numpy()),
            "p": 2 * stats.t.sf((fit.params / fit.bse).abs().to_numpy(), freedom),
            "note": [_missing_note(model, term) for term in fit.params.index],
        }
    )
    return _with_counts(pd.concat([table, _list_left_out(model)], ignore_index=True), model)


def _missing_note(model: _Model, term: str) -> str:
    return f"{model.missing[term]} facts without it left out" if term in model.missing else ""


def _list_left_out(model: _Model) -> pd.DataFrame:
    notes = [{"term": term, "reference": "", "note": f"left out: {why}"} for term, why in model.left_out.items()]
    return pd.DataFrame(notes, columns=["term", "reference", "note"])


def _refuse(model: _Model, reason: str) -> pd.DataFrame:
    model_row = pd.DataFrame([{"term": "(model)", "reference": "", "note": f"not fitted: {reason}"}])
    return _with_counts(pd.concat([model_row, _list_left_out(model)], ignore_index=True), model)


def _with_counts(table: pd.DataFrame, model: _Model) -> pd.DataFrame:
    result = table.assign(n_probes=len(model.rows), n_facts=model.rows["fact_id"].nunique())
    result = result.reindex(columns=COLUMNS)
    numbers = ["odds_ratio", "low", "high", "p"]
    return result.astype(dict.fromkeys(numbers, float))
