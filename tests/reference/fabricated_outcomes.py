"""Outcomes of a made-up study: facts with features, and probes whose success depends on them in a known way."""

from __future__ import annotations

import numpy as np
import pandas as pd

FEATURES = ("log_views", "recalled", "log_perplexity_true", "log_perplexity_new", "margin")
METHODS = ("ft", "rome")
KINDS = {"statement": "edit", "cloze": "edit", "neighbourhood": "specificity"}
METRICS = {"edit": "success", "specificity": "specificity"}


def fabricate_outcomes(
    n_facts: int = 150,
    *,
    signal: float = 1.5,
    relation_sd: float = 0.0,
    luck_sd: float = 0.5,
    n_relations: int = 20,
    features=FEATURES,
    methods=METHODS,
    kinds=KINDS,
    datasets=("counterfact",),
    model: str = "tiny",
    seed: int = 0,
) -> pd.DataFrame:
    """Return a table `outcomes` in which the perplexity of the new object and page views decide.

    Args:
        n_facts: Number of facts, each of a subject of its own.
        signal: Log odds per standard deviation of the perplexity of the new object; half of it for page views.
        relation_sd: Standard deviation of what is common to a relation.
        luck_sd: Standard deviation of what is common to a fact and not in a feature.
        n_relations: Number of relations.
        features: Names of the features.
        methods: Methods that edit, of different strength.
        kinds: Kinds of prompt with their families; the features have no effect on specificity.
        datasets: Data sets that facts are from.
        model: Name of the model.
        seed: Seed of everything.
    """
    rng = np.random.default_rng(seed)
    facts = pd.DataFrame(rng.normal(size=(n_facts, len(features))), columns=list(features))
    relation = rng.integers(0, n_relations, n_facts)
    facts = facts.assign(
        fact_id=[f"f{i}" for i in range(n_facts)],
        subject=[f"Subject {i}" for i in range(n_facts)],
        relation=[f"P{number}" for number in relation],
        dataset=rng.choice(list(datasets), n_facts),
        weight=1.0,
        odds=rng.normal(0, relation_sd, n_relations)[relation] + rng.normal(0, luck_sd, n_facts),
    )
    if "recalled" in facts:
        facts["recalled"] = (facts["recalled"] > 0).astype(float)
    for name, share in (("log_perplexity_new", -1.0), ("log_views", 0.5)):
        if name in facts:
            facts["odds"] += signal * share * facts[name]
    cells = pd.DataFrame(
        [
            (method, kind, family, 0.6 * number - 0.4 * (kind != "statement"))
            for number, method in enumerate(methods)
            for kind, family in kinds.items()
        ],
        columns=["method", "kind", "family", "base"],
    )
    rows = facts.merge(cells, how="cross")
    odds = rows["base"] + rows["odds"].where(rows["family"] == "edit", 0.0)
    return rows.assign(
        model=model,
        value=(rng.random(len(rows)) < 1 / (1 + np.exp(-odds))).astype(float),
        probe_id=rows["fact_id"] + "/" + rows["kind"],
        protocol="free",
        metric=rows["family"].map(METRICS),
        decoding="greedy",
        unit="share",
    ).drop(columns=["odds", "base"])


def summarise(features=FEATURES, model: str = "tiny") -> pd.DataFrame:
    """Return a table `feature_summary` of these features."""
    return pd.DataFrame({"model": model, "feature": list(features), "label": [f"Label of {name}" for name in features]})


def record_run(model: str = "tiny", methods=METHODS, fingerprint: str = "abc") -> dict:
    """Return the record of a run of the study."""
    return {
        "models": {model: {"fingerprint": fingerprint}},
        "methods": {model: {method: {"layer": 1, "lr": 0.5} for method in methods}},
    }
