"""Tests of report.associations: correlations as the page shows them."""

import pandas as pd
import pytest

from edit_robustness.report.associations import list_correlations
from edit_robustness.statistics.associations import CORRELATION_COLUMNS


def make_row(**values):
    return {
        "model": "m", "family": "edit", "method": "rome", "protocol": "free", "outcome": "efficacy",
        "feature": "log_views", "primary": True, "rho": 0.5, "low": 0.2, "high": 0.7, "p": 0.001, "p_holm": 0.01,
        "n_facts": 40, "n_missing": 2, "n_cut": 3, "n_unknown": 4, "n_excluded": 5, "n_relations": 3,
        "detectable": 0.4, "note": "", **values,
    }  # fmt: skip


def list_groups(*rows, **settings):
    table = pd.DataFrame(rows).reindex(columns=CORRELATION_COLUMNS)
    return list(list_correlations(table, {"log_views": "Page views"}, **settings))


def test_correlations_are_grouped_by_model_and_feature():
    groups = list_groups(
        make_row(), make_row(outcome="generalization"), make_row(feature="recalled"), make_row(model="other")
    )
    assert [(group.model, group.feature, group.n_tests) for group in groups] == [
        ("m", "Page views", 2), ("m", "recalled", 1), ("other", "Page views", 1),
    ]  # fmt: skip
    assert [row["outcome"] for row in groups[0].rows] == ["efficacy", "generalization"]
    assert groups[0].rows[0]["n_left_out"] == 2 + 3 + 4 + 5


@pytest.mark.parametrize(
    ("values", "n_shown"),
    [
        ({"primary": False}, 0),
        ({"protocol": "teacher_forced"}, 0),
        ({"protocol": "teacher_forced", "family": "recall"}, 1),
        ({}, 1),
    ],
)
def test_only_primary_tests_of_recall_and_free_generation_are_shown(values, n_shown):
    assert sum(group.n_tests for group in list_groups(make_row(**values))) == n_shown


def test_correlations_without_an_estimate_are_counted_by_reason():
    no_value = {"rho": float("nan"), "p_holm": float("nan")}
    (group,) = list_groups(
        make_row(note="only 2 facts of the rarer value: fewer than 5 give no interval", **no_value),
        make_row(note="only 4 facts of the rarer value: fewer than 5 give no interval", **no_value),
        make_row(note="facts of the rarer value are of 3 subjects: fewer than 5 give no interval", **no_value),
        make_row(note="the outcome is the same for every fact", **no_value),
        make_row(note="only 3 facts: too few", **no_value),
    )
    assert group.rows == []
    assert (group.n_tests, group.n_significant) == (5, 0)
    assert group.reasons == {
        "too few facts of the rarer value": 2, "facts of the rarer value are of too few subjects": 1,
        "the outcome is the same for every fact": 1, "too few facts": 1,
    }  # fmt: skip


def test_significance_is_decided_by_the_corrected_p_value_at_the_level():
    rows = [make_row(p_holm=p) for p in (0.02, 0.06, 0.2, float("nan"))]
    assert list_groups(*rows)[0].n_significant == 1
    assert list_groups(*rows, confidence=0.9)[0].n_significant == 2
    assert list_groups(*rows, confidence=0.99)[0].n_significant == 0


def test_an_empty_table_has_no_groups():
    assert list_groups() == []
