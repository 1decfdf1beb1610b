"""Difficulty of facts: scores joined with the prior knowledge of each fact, and their correlations.

There are two families of tests. Recall needs no edit, so every fact of the table counts. Edit outcomes exist only
for the edited facts. Each family has its own correction for multiplicity, and each row has the smallest correlation
that its number of facts could detect.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import numpy as np
import pandas as pd

from edit_robustness.records import UNEDITED
from edit_robustness.statistics.correlation import (
    detectable,
    holm,
    n_to_detect,
    pool_relations,
    spearman,
    within_relations,
)
from edit_robustness.statistics.intervals import refuse_mixed
from edit_robustness.statistics.popularity import log_views, recall_known

RECALL_OUTCOMES = (
    "recalled",
    "recalled_teacher_forced",
    "log_probability_true",
    "log_probability_new",
    "preference_true",
)
EDITED = ("success", "reversion")
"""Metrics of free generation that are outcomes of an edit, averaged over all kinds of prompt."""

UNTOUCHED = "specificity"
"""Metric that is a separate outcome for each kind of prompt, because each kind probes other facts."""

UNTOUCHED_ALL = "specificity_all"
"""The same metric over all prompts, known to the unedited model or not."""

FIRST = ["model", "family", "method", "protocol", "outcome"]


def correlations(
    outcomes: pd.DataFrame,
    recall: pd.DataFrame,
    *,
    confidence: float = 0.95,
    bootstrap: int = 2000,
    power: float = 0.8,
    seed: int = 0,
) -> pd.DataFrame:
    """Correlate page views with recall (all facts) and with edit outcomes (edited facts), by Spearman's rho.

    Returns:
        model, family ("recall" or "edit"), method, protocol, outcome, rho, low, high, p, p_holm (within the
        family), n_facts, n_missing (page views unknown), n_cut (facts left out because the token limit cut their
        answers before they named an object, or because these could not be scored), n_unknown (facts left out because
        the unedited model knows none of their prompts), within_rho, within_low, within_high, n_relations (pooled over
        relations by random effects), detectable (the smallest correlation that n_facts detect with this power), note
        (the reason if there is no estimate).
    """
    rows = []
    for labels, table in [*_yield_recall_outcomes(recall), *_yield_edit_outcomes(outcomes)]:
        views = table["log_views"]
        correlation = spearman(
            views, table["value"], table["subject"], confidence=confidence, bootstrap=bootstrap, seed=seed
        )
        within = pool_relations(within_relations(views, table["value"], table["relation"]), confidence)
        smallest = detectable(len(views.dropna()), 1 - confidence, power)
        left_out = {name: table.attrs.get(name, 0) for name in ("n_cut", "n_unknown")}
        counts = {"detectable": smallest, **left_out}
        rows.append({**labels, **correlation, **within, **counts})
    result = pd.DataFrame(rows)
    if result.empty:
        return result
    for _, tests in result.groupby("family"):
        result.loc[tests.index, "p_holm"] = holm(tests["p"].to_numpy())
    last = ["detectable", "note"]
    numbers = ["rho", "low", "high", "p", "p_holm", "n_facts", "n_missing", "n_cut", "n_unknown"]
    return result[[*FIRST, *numbers, "within_rho", "within_low", "within_high", "n_relations", *last]]


def _yield_recall_outcomes(recall: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    per_token = {target: -np.log(recall[f"perplexity_{target}"].astype(float)) for target in ("true", "new")}
    table = recall.assign(
        log_views=log_views(recall["page_views"]),
        log_probability_true=per_token["true"],
        log_probability_new=per_token["new"],
        preference_true=per_token["true"] - per_token["new"],
    )
    for model, rows in table.groupby("model", sort=False):
        for outcome in RECALL_OUTCOMES:
            protocol = "free" if outcome == "recalled" else "teacher_forced"
            # recall is unknown if the token limit cut the answer
            known_rows = recall_known(rows) if outcome == "recalled" else rows
            outcome_rows = known_rows.assign(value=known_rows[outcome].astype(float))
            outcome_rows.attrs["n_cut"] = len(rows) - len(known_rows)
            yield _labels(model, "recall", UNEDITED, protocol, outcome), outcome_rows


def _yield_edit_outcomes(outcomes: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Yield for each outcome the mean of each fact's probes, with equal weights for kinds of prompt."""
    free = outcomes[(outcomes["protocol"] == "free") & (outcomes["method"] != UNEDITED)]
    for (model, method), rows in free.groupby(["model", "method"], sort=False, observed=True):
        kinds = rows.loc[rows["metric"] == UNTOUCHED, "kind"].unique()
        outcomes_of = [(metric, rows["metric"] == metric) for metric in EDITED]
        outcomes_of += [(str(kind), (rows["metric"] == UNTOUCHED) & (rows["kind"] == kind)) for kind in kinds]
        for outcome, mask in outcomes_of:
            outcome_rows = rows[mask]
            refuse_mixed(outcome_rows, [])
            by_kind = outcome_rows.groupby(["fact_id", "kind"], observed=True)["value"].mean()
            facts = outcome_rows.drop_duplicates("fact_id").set_index("fact_id")[["subject", "relation", "log_views"]]
            table = facts.assign(value=by_kind.groupby("fact_id").mean())
            complete_rows = table.dropna(subset=["value"])
            n_asked = rows.loc[(rows["metric"] == UNTOUCHED_ALL) & (rows["kind"] == outcome), "fact_id"].nunique()
            complete_rows.attrs |= {"n_cut": len(table) - len(complete_rows), "n_unknown": max(n_asked - len(table), 0)}
            yield _labels(model, "edit", method, "free", outcome), complete_rows


def _labels(*values: Hashable) -> dict[str, str]:
    return {name: str(value) for name, value in zip(FIRST, values, strict=True)}


def power_table(facts: pd.DataFrame, confidence: float = 0.95, power: float = 0.8, rho: float = 0.1) -> pd.DataFrame:
    """Compute the correlations that each model's edited facts can detect.

    Returns:
        model, n_facts, detectable (the smallest correlation at this power), rho, n_needed (facts to detect `rho`),
        power.
    """
    n_needed = n_to_detect(rho, 1 - confidence, power)
    usable = facts[log_views(facts["page_views"]).notna()]
    counts = usable.groupby("model", sort=False)["id"].nunique().reindex(facts["model"].unique(), fill_value=0)
    smallest = [detectable(n, 1 - confidence, power) for n in counts]
    return pd.DataFrame(
        {"model": counts.index, "n_facts": counts.to_numpy(), "detectable": smallest, "rho": rho, "n_needed": n_needed,
         "power": power}
    )  # fmt: skip
