"""Made-up outcomes of edits with known effects, from which regressions are fitted here and in R."""

from __future__ import annotations

import numpy as np
import pandas as pd

PROMPTS = ("statement", "paraphrase", "paraphrase", "cloze", "question", "doubt")
SLOPES = {"ft": -0.8, "rome": 0.8}
"""Slopes of page views that cancel over methods (the second simulation of what went wrong before)."""


def simulate(
    n_facts: int = 300,
    n_relations: int = 20,
    prompts: tuple[str, ...] = PROMPTS,
    methods: tuple[str, ...] = ("context", "ft", "rome", "memit"),
    slopes: dict[str, float] | float = 0.0,
    between: float = 0.0,
    luck: float = 0.6,
    seed: int = 0,
    **effects: float,
) -> pd.DataFrame:
    """Make outcomes as the pipelines hand them on.

    Args:
        n_facts: Facts, each with a subject of its own.
        n_relations: Relations, in turn.
        prompts: Kind of each prompt of a fact.
        methods: Methods; `context` is a baseline.
        slopes: Log odds ratio of a decade of page views within a relation, per method or for all.
        between: Log odds ratio of a decade of a relation's own mean page views, beyond `slopes`.
        luck: Standard deviation of what the prompts of a fact share.
        seed: Seed.
        **effects: Log odds ratios of kinds and methods, by name.
    """
    rng = np.random.default_rng(seed)
    relation = np.arange(n_facts) % n_relations
    level = rng.normal(0, 1, n_relations)[relation]
    facts = pd.DataFrame(
        {
            "model": "smollm2",
            "fact_id": [f"f{i}" for i in range(n_facts)],
            "subject": [f"s{i}" for i in range(n_facts)],
            "relation": [f"P{30 + i}" for i in relation],
            "log_views": 4 + level + rng.normal(0, 0.7, n_facts),
            "recalled": rng.integers(0, 2, n_facts).astype(float),
            "margin": rng.normal(0, 2, n_facts),
            "shared": rng.normal(0, luck, n_facts) + between * level,
        }
    )
    cells = [(kind, method, number) for method in methods for number, kind in enumerate(prompts)]
    rows = facts.merge(pd.DataFrame(cells, columns=["kind", "method", "number"]), how="cross")
    slope = rows["method"].map(slopes).fillna(0) if isinstance(slopes, dict) else slopes
    eta = 0.3 + rows["shared"] + slope * (rows["log_views"] - 4)
    for name, size in effects.items():
        eta = eta + size * ((rows["kind"] == name) | (rows["method"] == name))
    if "margin" in effects:
        eta = eta + effects["margin"] * rows["margin"]
    rows["value"] = (rng.random(len(rows)) < 1 / (1 + np.exp(-eta))).astype(float)
    rows["probe_id"] = rows["fact_id"] + "/" + rows["number"].astype(str)
    rows = rows.drop(columns=["shared", "number"])
    success = rows.assign(metric="success", protocol="free", family="edit", unit="share", decoding="greedy")
    old = (rows["value"] == 0) & (rng.random(len(rows)) < 0.5)
    return pd.concat([success, success.assign(metric="reversion", value=old.astype(float))], ignore_index=True)


def choose_edits(outcomes: pd.DataFrame, metric: str = "success") -> pd.DataFrame:
    """Return the rows that a regression of a metric is fitted to."""
    return outcomes[(outcomes["metric"] == metric) & (outcomes["method"] != "context")].reset_index(drop=True)
