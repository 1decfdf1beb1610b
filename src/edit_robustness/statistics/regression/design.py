"""Design of a regression: the columns that a formula's terms have in a table, also with one variable changed.

patsy decides how terms are coded: full rank, with treatment contrasts, the first level being the reference. Each factor
is encoded once, and a column is a product of factors. So the design with every fact's page views, or every prompt's
method, set to another value is made in milliseconds, which average marginal effects need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from patsy import EvalEnvironment
from patsy.build import design_matrix_builders
from patsy.categorical import categorical_to_int
from patsy.desc import Term
from patsy.eval import EvalFactor
from patsy.missing import NAAction

from edit_robustness.statistics.regression.formulas import Formula, is_spline, list_variables

INTERCEPT = "intercept"
MISSING = "missing_"
"""Beginning of the name of the indicator of rows without a feature."""

MOST_LEVELS = 15
"""A factor with more levels than this is one line in the table."""

ABSORBED = ("relation", "dataset", "subject", "fact_id")
"""Factors that are adjusted for, and are one line in the table whatever their number of levels."""

_INDEPENDENT = 1e-9
"""A column of whose variance others leave a smaller share is determined by them."""

_FUNCTIONS = {
    "np": np, "log": np.log, "log10": np.log10, "log1p": np.log1p, "sqrt": np.sqrt, "exp": np.exp, "abs": np.abs,
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One column of a design.

    Attributes:
        name: ``kind=cloze``, ``log_views``, ``log_views:method=rome``.
        term: Number of its term.
        variables: Columns of the table that it depends on.
        folded: Name of the term if the table has one line for all its columns; empty otherwise.
        reference: Reference level, for a column that is one level of one factor.
    """

    name: str
    term: int
    variables: tuple[str, ...]
    folded: str = ""
    reference: str = ""


@dataclass(frozen=True)
class Encoding:
    """Factors of a table's rows: level numbers (n,) or values (n, k) for each factor, and the design (n, p)."""

    factors: Mapping[str, np.ndarray]
    matrix: np.ndarray

    def take(self, places: np.ndarray) -> Encoding:
        """Return some rows, by their numbers."""
        return Encoding({code: values[places] for code, values in self.factors.items()}, self.matrix[places])


class Design:
    """Columns of a formula in a table."""

    def __init__(self, formula: Formula, rows: pd.DataFrame, indicators: bool = True) -> None:
        """Learn levels, knots and means from a table.

        Args:
            formula: The formula.
            rows: A row per observation. Factors are categorical; features are float, NaN if unknown.
            indicators: Whether a feature with missing values gets indicators of them.
        """
        self.formula = formula
        numeric = [name for name in formula.variables if not isinstance(rows[name].dtype, pd.CategoricalDtype)]
        known_masks = {name: np.isfinite(rows[name].to_numpy(dtype=float)) for name in numeric}
        missing_masks = {name: ~mask for name, mask in known_masks.items() if mask.any() and not mask.all()}
        self.missing = missing_masks if indicators else {}
        self.unknown = {name: "unknown for every fact" for name, mask in known_masks.items() if not mask.any()}
        self.means = {name: float(rows[name].to_numpy(dtype=float)[mask].mean()) for name, mask in known_masks.items()
                      if mask.any()}  # fmt: skip
        self.binary = {
            name
            for name, mask in known_masks.items()
            if set(np.unique(rows[name].to_numpy(dtype=float)[mask])) <= {0.0, 1.0}
        }
        terms = [term for term in formula.terms if not set(self.unknown) & set(_variables(term))]
        terms += _indicator_terms(terms, list(self.missing))
        data = self._fill(rows)
        environment = EvalEnvironment([_FUNCTIONS])
        (self._info,) = design_matrix_builders([terms], lambda: iter([data]), environment, NA_action=_KEEP)
        self.columns: list[Column] = []
        self._blocks: list[tuple[slice, list[Any], list[np.ndarray | None]]] = []
        for number, term in enumerate(self._info.terms):
            for subterm in self._info.term_codings[term]:
                self._add_block(number, term, subterm)
        self.full = self.encode(rows)
        self.kept, self.dropped = _independent(self.full.matrix, [column.name for column in self.columns])

    def _fill(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the table with means in the place of missing values, and with indicators."""
        data = rows.copy(deep=False)
        for name in self.missing:
            mask = np.isfinite(rows[name].to_numpy(dtype=float))
            data[name] = rows[name].astype(float).where(mask, self.means[name])
            data[MISSING + name] = 1.0 - mask
        return data

    def _add_block(self, number: int, term: Term, subterm: Any) -> None:
        factors = list(subterm.factors)
        names_of: list[list[str]] = []
        contrasts: list[np.ndarray | None] = []
        for factor in factors:
            info = self._info.factor_infos[factor]
            if info.type == "numerical":
                contrasts.append(None)
                code = factor.code
                names_of.append([code] if info.num_columns == 1 else [f"{code}[{i}]" for i in range(info.num_columns)])
            else:
                contrast = subterm.contrast_matrices[factor]
                contrasts.append(np.asarray(contrast.matrix, dtype=float))
                names_of.append([_level_name(factor.code, suffix) for suffix in contrast.column_suffixes])
        start = len(self.columns)
        variables = tuple(dict.fromkeys(name for factor in factors for name in list_variables(factor.code)))
        line_name = self._fold(term, factors)
        reference = self._reference(factors, contrasts)
        for parts in product(*names_of):
            name = ":".join(parts) if parts else INTERCEPT
            self.columns.append(Column(name, number, variables, line_name, reference))
        self._blocks.append((slice(start, len(self.columns)), factors, contrasts))

    def _fold(self, term: Term, factors: Sequence[EvalFactor]) -> str:
        for factor in factors:
            info = self._info.factor_infos[factor]
            has_many_levels = info.type == "categorical" and len(info.categories) > MOST_LEVELS
            if has_many_levels or set(list_variables(factor.code)) & set(ABSORBED) or is_spline(factor.code):
                return str(term.name())
        return ""

    def _reference(self, factors: Sequence[EvalFactor], contrasts: Sequence[np.ndarray | None]) -> str:
        if len(factors) != 1 or contrasts[0] is None:
            return ""
        empty = np.flatnonzero(~contrasts[0].any(axis=1))
        return str(self._info.factor_infos[factors[0]].categories[empty[0]]) if len(empty) == 1 else ""

    def encode(self, rows: pd.DataFrame) -> Encoding:
        """Return the design of a table's rows."""
        data = self._fill(rows)
        factors = {factor.code: self._evaluate(factor, data) for factor in self._info.factor_infos}
        matrix = np.empty((len(rows), len(self.columns)))
        for place, block_factors, contrasts in self._blocks:
            matrix[:, place] = _multiply([factors[f.code] for f in block_factors], contrasts, len(rows))
        return Encoding(factors, matrix)

    def change(self, encoding: Encoding, rows: pd.DataFrame, variable: str, value: Any) -> np.ndarray:
        """Return the design of these rows with one variable set to a value, or to a value per row; (n, p)."""
        data = self._fill(rows)
        old = rows[variable]
        if isinstance(old.dtype, pd.CategoricalDtype):
            data[variable] = pd.Categorical([value] * len(rows), dtype=old.dtype)
        else:
            data[variable] = value
        new_factors = {
            factor.code: self._evaluate(factor, data)
            for factor in self._info.factor_infos
            if variable in list_variables(factor.code)
        }
        factors = {**encoding.factors, **new_factors}
        matrix = encoding.matrix.copy()
        for place, block_factors, contrasts in self._blocks:
            if any(factor.code in new_factors for factor in block_factors):
                matrix[:, place] = _multiply([factors[f.code] for f in block_factors], contrasts, len(rows))
        return matrix

    def _evaluate(self, factor: EvalFactor, data: pd.DataFrame) -> np.ndarray:
        info = self._info.factor_infos[factor]
        values = factor.eval(info.state, data)
        if info.type == "categorical":
            return np.asarray(categorical_to_int(values, info.categories, _KEEP))
        numbers = np.asarray(values, dtype=float).reshape(len(data), -1)
        if factor.code in self.means and factor.code not in self.binary:
            # a bare column is centred, so that the other terms are those of an average fact
            return numbers - self.means[factor.code]
        return numbers

    @cached_property
    def levels(self) -> dict[str, list[str]]:
        """Return the levels of each factor that is one column of the table, reference first."""
        levels = {}
        for factor, info in self._info.factor_infos.items():
            names = list_variables(factor.code)
            if info.type == "categorical" and len(names) == 1:
                reference = next((c.reference for c in self.columns if c.variables == names and c.reference), None)
                order = sorted(info.categories, key=lambda level: level != reference)
                levels[names[0]] = [str(level) for level in order]
        return levels

    def codes(self, variable: str) -> list[str]:
        """Return the factors of the formula that use a variable."""
        return [factor.code for factor in self._info.factor_infos if variable in list_variables(factor.code)]

    @property
    def kept_columns(self) -> list[Column]:
        """Return the columns that no others determine."""
        return [self.columns[index] for index in self.kept]


_KEEP = NAAction(NA_types=[])


def _variables(term: Term) -> set[str]:
    return {name for factor in term.factors for name in list_variables(factor.code)}


def _indicator_terms(terms: Sequence[Term], is_missing: Sequence[str]) -> list[Term]:
    """Return each term of a feature with missing values, with an indicator of them in its place."""
    result: dict[Term, None] = {}
    for name, term in product(is_missing, terms):
        if name not in _variables(term):
            continue
        other_factors = [factor for factor in term.factors if name not in list_variables(factor.code)]
        result[Term([EvalFactor(MISSING + name), *other_factors])] = None
    return [term for term in result if term not in terms]


def _level_name(code: str, suffix: str) -> str:
    """Return ``relation=P36`` for the column ``[T.P36]`` of ``C(relation)``."""
    names = list_variables(code)
    level = suffix.removeprefix("[").removesuffix("]").removeprefix("T.")
    return f"{names[0] if len(names) == 1 else code}={level}"


def _multiply(factors: Sequence[np.ndarray], contrasts: Sequence[np.ndarray | None], n: int) -> np.ndarray:
    """Return the products of the factors' columns, the last factor's varying fastest; (n, k)."""
    block = np.ones((n, 1))
    for values, contrast in zip(factors, contrasts, strict=True):
        columns = values if contrast is None else contrast[values]
        block = (block[:, :, None] * columns[:, None, :]).reshape(n, -1)
    return block


def _independent(matrix: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, dict[str, str]]:
    """Return which columns those before them do not determine, and why the others are left out.

    A sweep over the columns' cross products, in their order, so that a later term gives way to an earlier one.
    """
    norms = np.sqrt((matrix**2).mean(axis=0))
    unit_columns = matrix / np.where(norms > 0, norms, 1.0)
    gram = unit_columns.T @ unit_columns / max(len(matrix), 1)
    indices, reasons = [], {}
    for index, name in enumerate(names):
        if gram[index, index] > _INDEPENDENT:
            indices.append(index)
            row = gram[index] / np.sqrt(gram[index, index])
            gram = gram - np.outer(row, row)
        elif norms[index] == 0:
            reasons[name] = "no prompts" if "=" in name else "one value for every fact"
        else:
            is_constant = np.ptp(matrix[:, index]) == 0
            reasons[name] = "one value for every fact" if is_constant else "collinear with the terms above"
    return np.array(indices, dtype=int), reasons
