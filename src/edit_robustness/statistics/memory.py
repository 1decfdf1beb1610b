"""How well a model knows facts before any edit, as outcomes, and their correlation with the subject's popularity."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from edit_robustness.records import UNEDITED
from edit_robustness.statistics.associations import RELATION_COLUMNS, Sample, associate, correct
from edit_robustness.statistics.multiplicity import benjamini_hochberg, holm

LOG_PROBABILITIES: Mapping[str, tuple[str, ...]] = {
    "log_probability_true": ("perplexity_true",),
    "log_probability_new": ("perplexity_new",),
    "preference_true": ("perplexity_true", "perplexity_new"),
}
"""Outcomes that follow from perplexities, and the columns that each needs."""

SUMMARY_COLUMNS = [
    *("model", "outcome", "n_relations", "median", "n_positive", "n_above", "n_below", "n_above_bh", "n_below_bh")
]


def log_probabilities(table: pd.DataFrame) -> pd.DataFrame:
    """Compute the log-probability per token of each object, in nats, and the preference for the old object.

    Args:
        table: perplexity_true and, if known, perplexity_new.

    Returns:
        The columns of `LOG_PROBABILITIES`, with the index of `table`; NaN if a perplexity is missing.
    """
    perplexities = {
        name: table[name].astype(float) if name in table else pd.Series(np.nan, table.index)
        for name in ("perplexity_true", "perplexity_new")
    }
    # an infinite perplexity is a log-probability of minus infinity, which is a rank and not missing
    true, new = (pd.Series(-np.log(values), table.index) for values in perplexities.values())
    both_infinite = np.isinf(true) & np.isinf(new)
    preference = true.mask(both_infinite, 0) - new.mask(both_infinite, 0)
    return pd.DataFrame({"log_probability_true": true, "log_probability_new": new, "preference_true": preference})


def popularity_correlations(
    facts: pd.DataFrame, confidence: float = 0.95, power: float = 0.8
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Correlate page views with the probabilities of both objects, over all facts and within relations.

    Args:
        facts: model, subject, relation (empty: unknown), log_views, perplexity_true and perplexity_new of each fact.
        confidence: Level of intervals; tests are at 1 - confidence.
        power: Power of the reported detectable correlations.

    Returns:
        The correlations (`associations.CORRELATION_COLUMNS`; all are primary, one family per model), those within
        relations (`associations.RELATION_COLUMNS`, with p_holm and q_bh over the relations of an outcome), and the
        summary: for each model and outcome n_relations, the median, n_positive, and how many relations are above and
        below 0 after Holm's correction (n_above, n_below) and after Benjamini and Hochberg's (n_above_bh, n_below_bh).
    """
    rows, parts = [], []
    for model, table in facts.groupby("model", sort=False):
        outcomes = log_probabilities(table)
        for outcome, sources in LOG_PROBABILITIES.items():
            if table[list(sources)].isna().all().any():
                continue
            keys = {
                "model": str(model), "family": "recall", "method": UNEDITED, "protocol": "teacher_forced",
                "outcome": outcome, "feature": "log_views",
            }  # fmt: skip
            sample = Sample.of(outcomes[outcome], table)
            estimate, by_relation = associate(table["log_views"], sample, confidence=confidence)
            rows.append({**keys, "primary": True, **estimate})
            parts.append(
                by_relation.assign(**keys, p_holm=holm(by_relation["p"]), q_bh=benjamini_hochberg(by_relation["p"]))
            )
    columns = [*RELATION_COLUMNS[:-1], "p_holm", "q_bh", "n_facts"]
    relations = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    relations = relations.reindex(columns=columns)
    return correct(rows, confidence, power), relations, summarise_relations(relations, 1 - confidence)


def summarise_relations(relations: pd.DataFrame, alpha: float = 0.05) -> pd.DataFrame:
    """Count the relations by the sign of their correlation, before and after the corrections."""
    rows = []
    for (model, outcome), group in relations.groupby(["model", "outcome"], sort=False):
        is_positive = group["rho"] > 0
        survivors = {"": group["p_holm"] < alpha, "_bh": group["q_bh"] < alpha}
        counts = {
            f"{name}{ending}": int((survives & (is_positive if name == "n_above" else ~is_positive)).sum())
            for ending, survives in survivors.items()
            for name in ("n_above", "n_below")
        }
        rows.append(
            {"model": model, "outcome": outcome, "n_relations": len(group), "median": float(group["rho"].median()),
             "n_positive": int(is_positive.sum()), **counts}
        )  # fmt: skip
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)
