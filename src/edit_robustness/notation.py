"""How p-values are written: one form on every page, in figures and in tables of checks.

All numbers have a digit before the point, p-values too, so that a reader never meets two forms of one number.
"""

from __future__ import annotations

from math import isnan

SMALLEST_P = 0.001
"""Smaller p-values are not told apart."""


def format_p(value: float) -> str:
    """Return a p-value as it stands in a column of p-values."""
    return "–" if isnan(value) else f"< {SMALLEST_P}" if value < SMALLEST_P else f"{value:.3f}"


def write_p(value: float) -> str:
    """Return a p-value as it stands in a sentence, after the letter p."""
    text = format_p(value)
    return "p unknown" if isnan(value) else f"p {text}" if text.startswith("<") else f"p = {text}"
