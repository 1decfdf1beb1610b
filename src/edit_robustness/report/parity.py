"""The page of parity: this project's methods beside EasyEdit's, in their edits, in what the model says, and in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from edit_robustness.report.page import environment, script, style
from edit_robustness.report.rows import records
from edit_robustness.report.terminal import COLUMNS

OURS, EASYEDIT = SIDES = ("ours", "easyedit")
"""The two codes, as in the ends of columns."""

SCORES: Mapping[str, tuple[str, str]] = {name: (kind, metrics[0]) for name, (kind, metrics) in COLUMNS.items()}
"""For each score the kind of prompt and the metric under free generation."""

_KEYS = ["model", "method", "easyedit_method"]


def summarise(facts: pd.DataFrame) -> pd.DataFrame:
    """Return a row per model and method.

    Args:
        facts: A row per model, method and fact, with the columns of both codes.

    Returns:
        Numbers of facts and of failed edits, scores as means over facts, the differences of the edits as median and
        worst value, and mean CPU seconds per edit. A mean is over the facts that have a value.
    """
    rows = [
        {**dict(zip(_KEYS, keys, strict=True)), **_summary(rows)}
        for keys, rows in facts.groupby(_KEYS, sort=False, dropna=False)
    ]
    return pd.DataFrame(rows, columns=[*_KEYS, *_summary(facts)])


def _summary(rows: pd.DataFrame) -> dict[str, Any]:
    means = [f"{name}_{side}" for name in (*SCORES, "cpu_seconds") for side in SIDES]
    return {
        "n_facts": len(rows),
        "n_compared": int(rows["cosine"].notna().sum()),
        **{f"n_failed_{side}": int(rows[f"failure_{side}"].ne("").sum()) for side in SIDES},
        "cosine_median": rows["cosine"].median(),
        "cosine_lowest": rows["cosine"].min(),
        "relative_median": rows["relative"].median(),
        "relative_highest": rows["relative"].max(),
        **{name: rows[name].mean() for name in means},
    }


def render_parity(
    facts: pd.DataFrame, summary: pd.DataFrame, pairs: Mapping[str, Mapping[str, Any]], *, share: bool
) -> str:
    """Render the page as one self-contained HTML document; all texts are escaped.

    Args:
        facts: A row per model, method and fact.
        summary: `summarise` of it.
        pairs: For each model and method EasyEdit's method, its file, and the hyperparameters that were set here.
        share: Whether EasyEdit got this project's second moments and contexts.
    """
    template = environment().get_template("parity.html.j2")
    return template.render(
        style=Markup(style()),
        script=Markup(script()),
        scores=list(SCORES),
        sides=SIDES,
        summary=records(summary),
        facts=records(facts),
        pairs=pairs,
        share=share,
    )
