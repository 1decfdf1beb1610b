"""Table of a conditional logistic regression, which compares the prompts of one group with each other only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from edit_robustness.statistics.regression.checks import CAUTION, FINE, Check
from edit_robustness.statistics.regression.conditional import ConditionalFit, bound_conditional, fit_conditional
from edit_robustness.statistics.regression.design import MISSING, Column
from edit_robustness.statistics.regression.fits import FEWEST_CLUSTERS, NotFitted, Regression
from edit_robustness.statistics.regression.table import TERM_COLUMNS, Row, list_left_out


def estimate_within_groups(regression: Regression, confidence: float) -> tuple[list[Row], int, list[Check]]:
    """Fit a conditional logistic regression; columns that do not differ within a group are left out.

    Returns:
        The rows of the terms, the number of groups whose prompts differ in their outcome, and the checks.

    Raises:
        NotFitted: If the data cannot support the regression.
    """
    rows, design, groups = regression.rows, regression.design, regression.groups
    y, labels = rows["value"].to_numpy(dtype=float), rows[groups].astype(str).to_numpy()
    if not np.isin(y, (0.0, 1.0)).all():
        raise NotFitted("a conditional regression needs outcomes 0 and 1")
    x = design.full.matrix[:, design.kept]
    codes = pd.factorize(labels)[0]
    n_varying = _count_informative(y, codes)
    if n_varying < FEWEST_CLUSTERS:
        raise NotFitted(
            f"the outcome differs within {n_varying} of {codes.max() + 1} groups ({groups}), at least "
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
    bounds = {
        index: _bound_conditional(fit, index, indices, x[:, columns], rows, groups, confidence) for index in signs
    }
    freedom = len(fit.groups) - len(columns) + fit.separation.basis.shape[1]
    terms = _conditional_rows(indices, fit, signs, bounds, confidence, freedom)
    left_out = [design.kept_columns[index] for index in constant]
    constant_names = {column.folded or column.name for column in left_out if MISSING not in column.name} - {"intercept"}
    blank = dict.fromkeys(TERM_COLUMNS[2:10], np.nan)
    reason = f"left out: the same for all prompts of one {groups}, or no prompts to compare"
    terms += [
        {"term": name, "reference": "", **blank, "n_missing": 0, "note": reason} for name in sorted(constant_names)
    ]
    terms += list(list_left_out(design, set()))
    total = codes.max() + 1
    n_inside = int(inside.sum())
    text = f"of {total} groups ({groups}); in the others all prompts succeed or all fail, which says nothing"
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


def _bound_conditional(
    fit: ConditionalFit,
    index: int,
    columns: Sequence[Column],
    x: np.ndarray,
    rows: pd.DataFrame,
    groups: str,
    confidence: float,
) -> float:
    """Bound an infinite column that is one level of a factor, in the rows of this level and of the reference."""
    sign, column = fit.separation.sign(np.eye(len(columns))[index]), columns[index]
    if not sign or not column.reference:
        return float("nan")
    values = rows[column.variables[0]].astype(str).to_numpy()
    mask = np.isin(values, [column.reference, column.name.partition("=")[2]])
    other_columns = [
        place for place, fit_column in enumerate(columns) if column.variables[0] not in fit_column.variables
    ]
    offset = x[mask][:, other_columns] @ fit.beta[other_columns]
    y, labels = rows["value"].to_numpy(dtype=float)[mask], rows[groups].astype(str).to_numpy()[mask]
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
    n_groups = len(fit.groups)
    errors = np.sqrt((fit.influences**2).sum(axis=0) * n_groups / (n_groups - 1))
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
