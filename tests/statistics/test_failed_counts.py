import numpy as np
import pandas as pd

from edit_robustness.statistics.failures import failed_facts, with_failed

FAILED = pd.DataFrame(
    [
        ("m", "rome", "edit", "a"), ("m", "rome", "ask", "a"), ("m", "rome", "ask", "b"), ("m", "ft", "prepare", "a"),
        ("m", "ft", "talk", "b"), ("m", "ft", "abilities", "c"), ("m", "", "ask", "d"), ("n", "rome", "edit", "a"),
    ],
    columns=["model", "method", "stage", "fact_id"],
)  # fmt: skip


def test_a_fact_counts_once_whatever_failed_on_it():
    assert failed_facts(FAILED) == {("m", "rome"): 2, ("m", "ft"): 2, ("n", "rome"): 1}
    assert failed_facts(FAILED.head(0)) == {}


def test_a_method_that_failed_on_all_facts_has_rows_without_figures():
    columns = ["model", "method", "kind", "value", "low", "high", "n_probes", "n_facts", "n_missing"]
    table = pd.DataFrame(
        [("m", "none", kind, 0.5, 0.4, 0.6, 9, 3, 1) for kind in ("cloze", "statement")]
        + [("m", "rome", "cloze", 0.7, 0.6, 0.8, 6, 2, 0), ("n", "none", "cloze", 0.1, 0.0, 0.2, 9, 3, 0)],
        columns=columns,
    )
    full_table = with_failed(table, FAILED[FAILED["model"] == "m"])
    pd.testing.assert_frame_equal(full_table[columns].head(4), table)
    assert full_table["n_failed"].tolist() == [0, 0, 2, 0, 2, 2]
    lost_rows = full_table.tail(2)
    assert lost_rows[["model", "method", "kind"]].to_numpy().tolist() == [
        ["m", "ft", "cloze"],
        ["m", "ft", "statement"],
    ]
    assert np.isnan(lost_rows[["value", "low", "high"]]).all(axis=None)
    assert (lost_rows[["n_probes", "n_facts", "n_missing"]] == 0).all(axis=None)
