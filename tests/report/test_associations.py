"""Tests of report.associations: correlations as the page shows them."""

import pandas as pd
import pytest

from edit_robustness.report.associations import list_correlations
from edit_robustness.report.page import environment
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
    assert (group.n_tests, group.result) == (5, "no correlation could be estimated")
    assert group.reasons == {
        "too few facts of the rarer value": 2, "facts of the rarer value are of too few subjects": 1,
        "the outcome is the same for every fact": 1, "too few facts": 1,
    }  # fmt: skip


def test_a_feature_without_values_is_not_measured_and_counts_no_failures():
    no_estimate = {"rho": float("nan"), "p_holm": float("nan"), "note": "only 0 facts: too few"}
    no_value_group, estimate_group, small_group = list_groups(
        make_row(n_facts=0, feature="connection", **no_estimate),
        make_row(outcome="generalization", n_facts=0, feature="connection", **no_estimate),
        make_row(),
        make_row(feature="recalled", **no_estimate | {"note": "only 3 facts: too few", "n_facts": 3}),
    )
    assert [group.result for group in (no_value_group, estimate_group, small_group)] == [
        "not measured", "1 of 1 correlations with outcomes of edits significant", "no correlation could be estimated",
    ]  # fmt: skip
    template = environment().from_string(
        '{% from "_tables.html.j2" import correlations %}{{ correlations(groups, false) }}'
    )
    page = template.render(groups=[no_value_group, estimate_group])
    assert "<p>connection: not measured, because no fact has a value of this feature.</p>" in page
    assert page.count("<details>") == 1
    assert "0 of 2" not in page


def test_significance_is_decided_by_the_corrected_p_value_at_the_level():
    rows = [make_row(p_holm=p) for p in (0.02, 0.06, 0.2, float("nan"))]
    for confidence, number in ((0.95, 1), (0.9, 2), (0.99, 0)):
        assert list_groups(*rows, confidence=confidence)[0].result.startswith(f"{number} of 4 correlations")


def test_tests_of_recall_are_counted_apart_from_those_of_edits():
    (group,) = list_groups(make_row(p_holm=0.2), make_row(family="recall"), make_row(family="recall", p_holm=0.2))
    assert group.result == (
        "0 of 1 correlations with outcomes of edits significant, 1 of 2 correlations with recall significant"
    )


def test_an_empty_table_has_no_groups():
    assert list_groups() == []
