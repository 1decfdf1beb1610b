"""Formulas of regressions: what they may contain, and the terms that they consist of.

Formulas are those of statsmodels, whose engine is patsy: ``success ~ kind*method + bs(margin, 3) + C(relation)``. Only
the functions in `FUNCTIONS` may be called, so that a formula with a wrong name is refused before anything is run.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import dataclass

from patsy import ModelDesc, PatsyError
from patsy.desc import Term

from edit_robustness.text.closest import did_you_mean

FUNCTIONS = ("C", "bs", "cr", "cc", "I", "Treatment", "Sum", "Poly", "log", "log10", "log1p", "sqrt", "exp", "abs")
"""Functions that a formula may call: contrasts, splines, and elementwise functions (also as ``np.log``)."""

_CALLS = (ast.Name, ast.Attribute)
_ARITHMETIC = (
    ast.Expression, ast.Call, ast.Name, ast.Attribute, ast.Constant, ast.keyword, ast.BinOp, ast.UnaryOp, ast.Load,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd, ast.Tuple, ast.List,
)  # fmt: skip


@dataclass(frozen=True)
class Formula:
    """A formula that was parsed.

    Attributes:
        text: The formula as written.
        response: The name on its left.
        terms: Terms on its right, as patsy has them; the intercept is the term without factors.
    """

    text: str
    response: str
    terms: tuple[Term, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the names of the columns that the right side uses, in their order."""
        codes = [factor.code for term in self.terms for factor in term.factors]
        return tuple(dict.fromkeys(name for code in codes for name in list_variables(code)))


def parse_formula(text: str) -> Formula:
    """Parse a formula.

    Raises:
        ValueError: If it is not one response, a tilde and terms of columns, numbers and `FUNCTIONS`.
    """
    try:
        description = ModelDesc.from_formula(text)
    except PatsyError as error:
        raise ValueError(f"`{text}` is not a formula: {error.message}") from None
    sides = [[factor.code for term in side for factor in term.factors] for side in _sides(description)]
    if len(sides[0]) != 1 or not _is_outcome(text):
        raise ValueError(f"`{text}` needs one outcome on its left, as in `success ~ kind + method`")
    if not any(not term.factors for term in description.rhs_termlist):
        raise ValueError(f"`{text}` has no intercept; leave out `- 1` and `+ 0`")
    for code in sides[1]:
        list_variables(code)
    return Formula(text, text.partition("~")[0].strip(), tuple(description.rhs_termlist))


def _sides(description: ModelDesc) -> tuple[list[Term], list[Term]]:
    return description.lhs_termlist, description.rhs_termlist


def _is_outcome(text: str) -> bool:
    return text.partition("~")[0].strip().isidentifier()


def list_variables(code: str) -> tuple[str, ...]:
    """Return the columns that one factor of a formula uses.

    Args:
        code: The factor, ``bs(margin, 3)``.

    Raises:
        ValueError: If it calls a function that is not among `FUNCTIONS`, or is no arithmetic.
    """
    tree = ast.parse(code, mode="eval")
    called_names = set()
    for node in ast.walk(tree):
        if not isinstance(node, _ARITHMETIC):
            raise ValueError(f"`{code}` is more than columns, numbers, + - * / ** and functions")
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "np"):
            raise ValueError(f"`{code}`: only functions of `np` have a dot")
        if isinstance(node, ast.Call):
            name = _function_name(node.func)
            if name not in FUNCTIONS:
                raise ValueError(f"`{code}`: no function `{name}` in formulas; {did_you_mean(name, FUNCTIONS)}")
            called_names.add(id(node.func))
    return tuple(
        dict.fromkeys(
            node.id
            for node in ast.walk(tree)
            # a contrast can stand without parentheses: C(kind, Sum)
            if isinstance(node, ast.Name) and node.id not in ("np", *FUNCTIONS) and id(node) not in called_names
        )
    )


def _function_name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)


def is_spline(code: str) -> bool:
    """Return whether a factor is a curve of one variable rather than one slope."""
    return code.startswith(("bs(", "cr(", "cc("))


def check_columns(formula: Formula, names: Collection[str]) -> None:
    """Refuse a formula with a name that is no column.

    Raises:
        ValueError: Naming the column and the closest name.
    """
    for name in formula.variables:
        if name not in names:
            raise ValueError(f"`{formula.text}`: no column `{name}`; {did_you_mean(name, names)}")
