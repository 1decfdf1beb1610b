"""Table of one regression: a row per term, per effect within a level, and per term that was left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import stats

from edit_robustness.statistics.regression.design import INTERCEPT, MISSING, Column, Design
from edit_robustness.statistics.regression.effects import Effect, Effects
from edit_robustness.statistics.regression.fits import THRESHOLD, Fit

TERM_COLUMNS = [
    "term", "reference", "estimate", "odds_ratio", "low", "high", "p", "effect", "effect_low", "effect_high", 
    "n_missing", "note",
]  # fmt: skip

Row = dict[str, Any]


def list_rows(fit: Fit, confidence: float) -> list[Row]:
    """Return the rows of a fit, in the order of its formula.

    Args:
        fit: The fit.
        confidence: Level of the intervals, and of one-sided bounds.
    """
    effects = Effects(fit, confidence).list_all()
    main = {effect.term: effect for effect in effects if "|" not in effect.term}
    rows: list[Row] = []
    line_names: set[str] = set()
    for index, column in enumerate(fit.columns):
        if column.name.startswith((MISSING, THRESHOLD)) or MISSING in column.name:
            continue
        if not column.folded:
            rows.append(_row(fit, index, main.get(column.name), confidence))
        elif column.folded not in line_names:
            line_names.add(column.folded)
            rows.append(_folded_row(fit, column, main))
    rows += [_effect_row(fit, effect, confidence) for effect in effects if "|" in effect.term]
    return rows + list(list_left_out(fit.design, line_names))


def _row(fit: Fit, index: int, effect: Effect | None, confidence: float) -> Row:
    column = fit.columns[index]
    row = _blank(fit, column.name, column.reference, column.variables)
    estimate, error = float(fit.beta[index]), float(np.sqrt(fit.covariance[index, index]))
    if index in fit.directions:
        row |= _bounded(fit, index, estimate, confidence)
    else:
        row |= _interval(fit, estimate, error, confidence)
        row["note"] = _condition(fit, column)
    if effect is not None:
        row |= _in_points(fit, effect)
    return row


def _bounded(fit: Fit, index: int, estimate: float, confidence: float) -> Row:
    """Return the estimate of a column that separates, with its one-sided bound."""
    sign, column = fit.directions[index], fit.columns[index]
    if not sign:
        return {"note": _nothing_known(fit, column)}
    limit, p = fit.bounds.get(index, (np.nan, np.nan))
    cause = "separates success from failure"
    if "=" in column.name and len(column.variables) == 1:
        level, reference = column.name.partition("=")[2], column.reference
        if always := _always(fit, column.variables[0], level):
            cause = f"always {always}"
        elif always := _always(fit, column.variables[0], reference):
            cause = f"its reference {reference} always {always}"
    if not np.isfinite(limit):
        return {"note": f"{cause}: no finite estimate"}
    low, high = (np.exp(limit), np.inf) if sign > 0 else (0.0, np.exp(limit))
    note = f"{cause}: one-sided {confidence:.0%} bound, Firth's penalised likelihood"
    return {"estimate": estimate, "odds_ratio": np.exp(estimate), "low": low, "high": high, "p": p, "note": note}


def _nothing_known(fit: Fit, column: Column) -> str:
    if column.name == INTERCEPT or not column.variables:
        return "the reference always succeeds or always fails: no finite estimate"
    return "prompts compared here always succeed or always fail: no estimate; effects within levels are below"


def _always(fit: Fit, variable: str, level: str) -> str | None:
    values = fit.rows.loc[fit.rows[variable].astype(str) == level, "value"]
    if values.nunique() != 1 or values.iloc[0] not in (0.0, 1.0):
        return None
    return "succeeds" if values.iloc[0] else "fails"


def _interval(fit: Fit, estimate: float, error: float, confidence: float) -> Row:
    half = stats.t.ppf((1 + confidence) / 2, fit.freedom) * error
    p = 2 * stats.t.sf(abs(estimate / error), fit.freedom) if error > 0 else np.nan
    if fit.family == "gaussian":
        return {"estimate": estimate, "low": estimate - half, "high": estimate + half, "p": p}
    low, high = (float(np.exp(np.clip(estimate + side * half, -700, 700))) for side in (-1, 1))
    return {"estimate": estimate, "odds_ratio": np.exp(estimate), "low": low, "high": high, "p": p}


def _condition(fit: Fit, column: Column) -> str:
    """Say at which values of other variables the odds ratio of a term with interactions holds."""
    if len(column.variables) != 1:
        return ""
    other_terms = [
        name
        for larger_column in fit.columns
        if set(column.variables) < set(larger_column.variables) and not larger_column.folded
        for name in larger_column.variables
        if name not in column.variables and not name.startswith(MISSING)
    ]
    levels = fit.design.levels
    places = [
        f"{name}={levels[name][0]}" if name in levels else f"the mean of {name}" for name in dict.fromkeys(other_terms)
    ]
    return f"odds ratio at {', '.join(places)}; effect over all" if places else ""


def _folded_row(fit: Fit, column: Column, effects: dict[str, Effect]) -> Row:
    places = [index for index, fit_column in enumerate(fit.columns) if fit_column.folded == column.folded]
    row = _blank(fit, column.folded, "", column.variables)
    finite = [index for index in places if index not in fit.directions]
    row["p"] = _joint_p(fit, finite)
    if len(column.variables) == 1 and column.variables[0] in effects:
        row |= _in_points(fit, effects[column.variables[0]])
        row["note"] = f"curve of {len(places)} terms; effect: mean slope"
    else:
        levels = fit.design.levels.get(column.variables[0], [])
        n_infinite = len(places) - len(finite)
        without = f"; {n_infinite} always succeed or fail" if n_infinite else ""
        row["note"] = f"{len(levels) or len(places)} levels, absorbed{without}"
    return row


def _joint_p(fit: Fit, places: list[int]) -> float:
    k = len(places)
    if not k or k >= fit.freedom:
        return float("nan")
    beta, spread = fit.beta[places], fit.covariance[np.ix_(places, places)]
    statistic = float(beta @ np.linalg.pinv(spread, hermitian=True) @ beta)
    # Hotelling's scale, because the covariance is estimated from few clusters
    scale = (fit.freedom - k + 1) / (fit.freedom * k)
    return float(stats.f.sf(statistic * scale, k, fit.freedom - k + 1))


def _effect_row(fit: Fit, effect: Effect, confidence: float) -> Row:
    variables = (effect.variable,)
    row = _blank(fit, effect.term, effect.reference, variables)
    if np.isfinite(effect.error):
        row |= _interval(fit, effect.estimate, effect.error, confidence)
    else:
        row["note"] = f"{_why_infinite(fit, effect)}: see the effect" if effect.reference else "no finite estimate"
    return row | _in_points(fit, effect)


def _why_infinite(fit: Fit, effect: Effect) -> str:
    """Return why the difference of two levels has no finite odds ratio."""
    term, _, condition = effect.term.partition("|")
    rows = fit.rows
    if condition:
        factor, _, factor_level = condition.partition("=")
        rows = rows[rows[factor].astype(str) == factor_level]
    level_names = (term.partition("=")[2], effect.reference)
    values = [rows.loc[rows[effect.variable].astype(str) == name, "value"] for name in level_names]
    if any(len(level) and level.nunique() == 1 for level in values):
        return "a level always succeeds or fails"
    return "another term, of few facts, separates success from failure (see the checks)"


def _in_points(fit: Fit, effect: Effect) -> Row:
    unit = 1.0 if fit.family == "gaussian" else 100.0
    return {"effect": unit * effect.effect, "effect_low": unit * effect.low, "effect_high": unit * effect.high}


def _blank(fit: Fit, term: str, reference: str, variables: tuple[str, ...]) -> Row:
    numbers = dict.fromkeys(TERM_COLUMNS[2:10], np.nan)
    return {"term": term, "reference": reference, **numbers, "n_missing": count_missing(fit, variables), "note": ""}


def count_missing(fit: Fit, variables: tuple[str, ...]) -> int:
    """Return the number of facts that lack one of these features."""
    features = [name for name in variables if name in fit.design.means]
    if not features:
        return 0
    absent = ~np.isfinite(fit.rows[features].to_numpy(dtype=float)).all(axis=1)
    return int(fit.rows.loc[absent, "fact_id"].nunique())


def list_left_out(design: Design, line_names: set[str]) -> Iterator[Row]:
    """Yield a row per term that was left out, with the reason; levels of an absorbed factor together.

    Args:
        design: The design.
        line_names: Folded terms that have a row.
    """
    for name, reason in design.unknown.items():
        yield _left_out(name, reason)
    for name, levels in design.levels.items():
        if len(levels) == 1:
            yield _left_out(name, f"one level, {levels[0]}")
    names = {column.name: column for column in design.columns}
    term_names: set[str] = set()
    for name, reason in design.dropped.items():
        column = names[name]
        term = column.folded or name
        if MISSING not in name and term not in term_names and column.folded not in line_names:
            term_names.add(term)
            yield _left_out(term, reason)


def _left_out(term: str, reason: str) -> Row:
    numbers = dict.fromkeys(TERM_COLUMNS[2:10], np.nan)
    return {"term": term, "reference": "", **numbers, "n_missing": 0, "note": f"left out: {reason}"}
