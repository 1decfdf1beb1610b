"""Every interval has the level that is asked for: a lower one is narrower."""

import numpy as np
import pandas as pd
import pytest
from fabricated_sequences import fabricate_sequences
from fabricated_tables import fabricate

from edit_robustness.statistics.abilities import abilities, ability_paths
from edit_robustness.statistics.ability_retention import ability_retention, ability_retention_paths
from edit_robustness.statistics.agreement import agreement
from edit_robustness.statistics.comparisons import compare_methods, weakest_kinds
from edit_robustness.statistics.difficulty import correlations
from edit_robustness.statistics.documents import measure_documents
from edit_robustness.statistics.edit_retention import (
    edit_retention,
    forgetting,
    frontier,
    knowledge_retention,
    select_shares,
)
from edit_robustness.statistics.fact_outcomes import fact_outcomes, probe_outcomes
from edit_robustness.statistics.gaps import protocol_gaps
from edit_robustness.statistics.intervals import rates
from edit_robustness.statistics.paired import compare
from edit_robustness.statistics.regression import RegressionModel, regress
from edit_robustness.statistics.survival import survival


@pytest.fixture(scope="module")
def single():
    tables = fabricate(n_facts=16, n_known=60, methods=("none", "context", "rome"))
    scores = probe_outcomes(
        tables.scores, tables.facts.assign(model="smollm2"), tables.features, tables.feature_summary
    )
    return tables, scores, scores[(scores["protocol"] == "free") & (scores["metric"] == "success")]


@pytest.fixture(scope="module")
def sequences():
    tables = fabricate_sequences("m", ("none", "rome"), (1, 20), orders=2, n=10)
    rows = measure_documents(tables.documents)
    estimates = abilities(rows, tables.benchmarks.assign(model="m"), bootstrap=50)
    tables.changes = compare(rows, bootstrap=50)
    return rows, tables, estimates, select_shares(tables.sequence_scores, tables.sequence_answers)


SINGLE = {
    "rates": lambda tables, scores, success, level: rates(success, ["method", "kind"], confidence=level),
    "protocol_gaps": lambda tables, scores, success, level: protocol_gaps(scores, level),
    "compare_methods": lambda tables, scores, success, level: compare_methods(
        fact_outcomes(scores, tables.facts.assign(model="smollm2"), tables.recall), level
    ),
    "weakest_kinds": lambda tables, scores, success, level: weakest_kinds(
        fact_outcomes(scores, tables.facts.assign(model="smollm2"), tables.recall), level
    ),
    "correlations": lambda tables, scores, success, level: correlations(
        fact_outcomes(scores, tables.facts.assign(model="smollm2"), tables.recall),
        tables.features, tables.feature_summary, tables.recall, confidence=level,
    )[0],
    "regress": lambda tables, scores, success, level: regress(
        scores, {"mine": RegressionModel("success ~ kind + method + log_views")}, confidence=level
    )[0],
    "agreement": lambda tables, scores, success, level: agreement(
        tables.recall.assign(rules=tables.recall["recalled"], judged=tables.recall["perplexity_true"] < 20),
        ["model"], first="rules", second="judged", confidence=level, bootstrap=100,
    ),
}  # fmt: skip

SEQUENCES = {
    "abilities": lambda rows, tables, estimates, shares, level: abilities(
        rows, tables.benchmarks.assign(model="m"), level, bootstrap=50
    ),
    "ability_retention": lambda rows, tables, estimates, shares, level: ability_retention(
        rows, estimates, level, bootstrap=50
    ),
    "compare": lambda rows, tables, estimates, shares, level: compare(rows, level, bootstrap=50),
    "ability_paths": lambda rows, tables, estimates, shares, level: ability_paths(estimates, tables.changes, level),
    "ability_retention_paths": lambda rows, tables, estimates, shares, level: ability_retention_paths(
        ability_retention(rows, estimates, bootstrap=50), level
    ),
    "edit_retention": lambda rows, tables, estimates, shares, level: edit_retention(shares, level),
    "knowledge_retention": lambda rows, tables, estimates, shares, level: knowledge_retention(shares, level),
    "frontier": lambda rows, tables, estimates, shares, level: frontier(
        edit_retention(shares), knowledge_retention(shares), level
    ),
    "forgetting": lambda rows, tables, estimates, shares, level: forgetting(shares, level),
    "survival": lambda rows, tables, estimates, shares, level: survival(
        pd.DataFrame({"model": "m", "method": "rome", "edits": [1, 2, 3, 4], "lost": [True, True, False, True]}), level
    ),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_lower_level_narrows_the_intervals_of_single_edits(single, name):
    compare_levels(lambda level: SINGLE[name](*single, level))


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_lower_level_narrows_the_intervals_of_sequences(sequences, name):
    compare_levels(lambda level: SEQUENCES[name](*sequences, level))


def compare_levels(estimate):
    wide, narrow = estimate(0.95), estimate(0.5)
    columns = [name for name in wide if name.endswith("low") and not name.startswith("sample")]
    assert columns
    for low in columns:
        high = low.removesuffix("low") + "high"
        # bounds that stay inside [0, 1] and intervals of nothing may be equal
        assert (narrow[low] >= wide[low] - 1e-12)[wide[low].notna()].all(), low
        assert (narrow[high] <= wide[high] + 1e-12)[wide[high].notna()].all(), high
        widths = [np.nansum((table[high] - table[low]).to_numpy(dtype=float)) for table in (wide, narrow)]
        assert widths[1] < 0.8 * widths[0] or widths[0] == 0, low
